"""The torch engine: trains any model through autograd of its own expression, on the CPU or on CUDA.

Per-feature parameters follow the native engine's recipe (start, steps, priors by field, falling steps: recipe.py,
native/evidence.hpp) with one step a batch; the parameters that every row uses follow Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.rows import Floats, Rows
from anyfm.core.threads import available_threads
from anyfm.engines import field_factors
from anyfm.engines.base import Engine, State
from anyfm.engines.recipe import PriorGuess, Recipe, recipe
from anyfm.engines.torch_batch import BatchTensors, TrainingNoise, batch_of
from anyfm.engines.torch_dense import DenseParameters, target_power, units
from anyfm.engines.torch_device import threads_of_torch, usable
from anyfm.engines.torch_ops import FactorStart, FeatureStore, Gradients, Group
from anyfm.models import BaseModel

Tensor = torch.Tensor
_BATCH_ROWS = 4096  # at most, where the model has no setting of its own
_SCORED_ROWS = 8192
_FLOATS = 1 << 24  # of the pairs of one piece of a batch: what bounds the memory of AFM and FFM
_THREADED = 30_000_000  # rows times numbers from which on a batch pays for more than one thread
_MIXED_WEIGHTS = 100_000  # of the perceptron from which on bfloat16 pays


class TorchEngine(Engine):
    """Trains any model with torch, mini-batch by mini-batch.

    Two trainings with the same number of threads on the same CPU give the same bytes; on CUDA sums may be added up in
    another order each time.

    Parameters
    ----------
    model : BaseModel
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process.
    device : str
        "cpu", "cuda", or "cuda:1" and so on.

    Raises
    ------
    SettingError
        torch cannot use the device, or the model has a setting that only the native engine knows.
    """

    def __init__(
        self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0, device: str = "cpu"
    ) -> None:
        if getattr(model.settings, "optimizer", "adagrad") != "adagrad":
            raise SettingError(got("libffm's rule is the native engine's alone", adagrad=model.settings.optimizer))
        self.model = model = model.for_fields(n_fields)
        self.n_features = n_features
        self.n_fields = n_fields
        self._device = usable(device)
        self._n_threads = n_threads or available_threads()
        specs = model.parameter_specs(n_features, n_fields)
        self._store = FeatureStore(specs, n_features=n_features, device=self._device, n_threads=self._n_threads)
        self._dense = DenseParameters(model, specs, device=self._device)
        self._bias = torch.zeros(2, device=self._device)  # and its accumulator
        self._recipe: Recipe | None = None
        self._checked: Rows | None = None
        self._precisions: list[list[float]] = []  # λ of each field, for every vector of a record
        self._noise = 1.0
        self._seen = np.zeros(2)  # since the last estimate: summed loss and summed weight, in the loss's own units
        self._done = 0  # rows since the epoch began
        self._epoch = 1
        self._draws = np.zeros(2, np.int64)  # the seed of dropout, and how many batches have drawn from it
        self._mixed = _mixed(self._device, self._dense, model)
        self._short_bias = self._mixed and not model.settings.batch_norm

    # ---- before training

    def prepare(self, train: Rows, *, seed: int) -> None:
        config = self.model.settings
        self._recipe = made = recipe(
            train,
            n_features=self.n_features,
            n_fields=self.n_fields,
            task=config.task,
            normalize=getattr(config, "normalize", False),
        )
        self._checked = None
        self._seen[:] = 0
        self._done = 0
        self._epoch = 1
        self._draws[:] = seed, 0
        self._store.start(made.counts, {group.name: 1.0 if group.name == "linear" else 0.1 for group in self._groups})
        self._bias[0] = made.centre / made.scale if self._has_linear else 0.0
        self._bias[1] = 1.0
        self._precisions = [
            [prior.start if fixed is None else fixed] * self.n_fields for prior, fixed in self._priors()
        ]
        self._set_penalties(estimate=False)
        rng = np.random.default_rng(seed)
        for group in self._groups:
            if group.name == "factors":
                start = rng.standard_normal((self.n_features, group.width), dtype=np.float32)
                start *= np.float32(config.init_scale * made.factor_deviation(config.n_factors))
                start[made.counts == 0] = 0  # a feature never trained contributes nothing
                self._store.weights(group).copy_(torch.from_numpy(start))
            elif group.name == "field_factors":
                into = FactorStart(self._store, group, self.n_fields)
                field_factors.draw_start(into, self.model, made, train, seed=seed)
        self._dense.start(units(self.model, made, train), rng)

    @property
    def _groups(self) -> list[Group]:
        return self._store.groups

    @property
    def _has_linear(self) -> bool:
        return bool(getattr(self.model.settings, "linear", True))

    def _priors(self) -> list[tuple[PriorGuess, float | None]]:
        """Of each vector of a record: its guess, and the setting that fixes its precision."""
        assert self._recipe is not None
        config, found = self.model.settings, []
        for group in self._groups:
            if group.name == "linear":
                found.append((self._recipe.linear_prior, config.l2_linear))
            elif group.name == "factors":
                found.append((self._recipe.factor_prior(config.n_factors), config.l2_factors))
            else:
                found += [(field_factors.prior_guess(self._recipe), config.l2_factors)] * group.n_vectors
        return found

    def _set_penalties(self, *, estimate: bool) -> None:
        assert self._recipe is not None
        squared_loss = self.model.settings.task == "regression"
        noise = 2 * self._seen[0] / self._seen[1] if squared_loss and self._seen[1] > 0 else 1.0
        self._noise = max(noise, 1e-6)
        self._precisions = self._store.set_penalties(
            self._recipe.field_of,
            self._precisions,
            self._priors(),
            noise=self._noise,
            crowding=self._crowding,
            estimate=estimate,
        )

    # ---- training

    @property
    def _batch_rows(self) -> int:
        assert self._recipe is not None
        most: int = getattr(self.model.settings, "batch_size", _BATCH_ROWS)
        return self._recipe.batch_rows(most)

    @property
    def _harmless(self) -> int:
        """How often a feature may occur in a batch before it is slowed down."""
        return 2 if self.model.settings.task == "regression" else 8  # the squared loss's gradient is not bounded

    @property
    def _crowding(self) -> float:
        """Of a feature with one occurrence: how often it is expected in a batch, over what does no harm there."""
        assert self._recipe is not None
        return self._batch_rows / (self._harmless * self._recipe.total_weight)

    def begin_epoch(self, epoch: int) -> None:
        if epoch > 1:
            self._set_penalties(estimate=True)
        self._seen[:] = 0
        self._done = 0
        self._epoch = epoch

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        if self._recipe is None:
            raise SettingError("an engine must be prepared before its first step")
        if rows.y is None:
            raise SettingError("training needs rows with a target")
        self._check(rows)
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        n_batches = -(-len(order) // self._batch_rows)
        with threads_of_torch(self._useful_threads(self._batch_rows)):
            for index in np.array_split(order, n_batches) if n_batches else []:
                share = self._share(len(index))
                self._done += len(index)
                if rows.weight is not None:
                    index = index[rows.weight[index] > 0]
                if len(index) > 0:
                    loss += self._train(rows, index, share=share)
        total = float(loss)
        self._seen += total, len(order) if rows.weight is None else float(rows.weight[order].sum())
        return total * self._recipe.scale**2

    def _share(self, n_rows: int) -> float:
        """What share of the full step sizes the next batch, of so many rows, takes.

        Steps fall to nothing over the second half of every epoch, as the native engine's do. Over the first half of the
        first epoch they rise: a batch is one step of hundreds of rows, and before Adagrad's sums have grown, the steps
        of many features in one direction have thrown logits far off and swollen those sums for good.
        """
        assert self._recipe is not None
        done = self._done % self._recipe.n_rows
        share = min(1.0, 2 * (1 - done / self._recipe.n_rows))
        return min(share, 2 * (done + n_rows) / self._recipe.n_rows) if self._epoch == 1 else share

    def _train(self, rows: Rows, index: NDArray[np.int64], *, share: float) -> Tensor:
        """One step on the rows at `index`, with that share of the full step sizes. Returns the summed loss."""
        assert self._recipe is not None
        assert rows.y is not None
        config = self.model.settings
        batch = batch_of(rows, index, normalize=getattr(config, "normalize", False), device=self._device)
        y = torch.from_numpy(rows.y[index] / np.float32(self._recipe.scale)).to(self._device)
        weight = None if rows.weight is None else torch.from_numpy(rows.weight[index]).to(self._device)
        if getattr(config, "shrinkage", 0.0) > 0 and self._dense:
            counts = self._store.counts(batch.ids)
            batch = replace(batch, deep_share=counts / (counts + config.shrinkage))
        self._draws[1] += 1
        noise = TrainingNoise(self._dense.kept, self._draws.tolist())
        gradients: Gradients = {}
        losses, slopes = [], []
        for first in range(0, len(index), self._piece_rows(batch)):
            piece = slice(first, first + self._piece_rows(batch))
            z = self._forward(batch.slice(piece.start, piece.stop), gradients, noise)
            loss, slope = self._loss(z.detach(), y[piece], None if weight is None else weight[piece])
            z.backward(slope)
            losses.append(loss)
            slopes.append(slope)
        step_size = share * self._recipe.step_size(config.learning_rate)
        found = {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in gradients.items()}
        if not self._has_linear:
            found.pop("linear", None)
        self._store.step(batch.ids, found, weight, learning_rate=step_size, crowding=self._crowding)
        if self._has_linear:
            self._step_bias(torch.cat(slopes), step_size)
        if self._dense:
            total = float(len(index)) if weight is None else float(weight.sum())
            rate, l2 = self._dense_settings
            self._dense.step(total, learning_rate=share * rate, l2=l2)
        return torch.stack(losses).sum()

    @property
    def _dense_settings(self) -> tuple[float, float]:
        """Adam's learning rate, and the L2 penalty."""
        config = self.model.settings
        if self.model.name == "afm":
            return config.attention_learning_rate, config.l2_attention
        return config.mlp_learning_rate, config.weight_decay

    def _useful_threads(self, n_rows: int) -> int:
        """Of torch's own operations: one where a batch is so small that waking the others would cost more."""
        width = sum(group.width for group in self._groups) * self.n_fields
        return self._n_threads if n_rows * (width + self._dense.flat.numel()) >= _THREADED else 1

    def _piece_rows(self, batch: BatchTensors) -> int:
        """How many rows go through the model at a time: all, unless it lays out the pairs of a row."""
        n_slots, config = batch.ids.shape[1], self.model.settings
        if self.model.name == "afm":
            floats = n_slots * n_slots * (2 * config.n_factors + 2 * config.attention_factors)
        elif self.model.name == "ffm":
            floats = n_slots * n_slots * 4 * config.n_factors + 2 * n_slots * self.n_fields * config.n_factors
        else:
            return max(len(batch.ids), 1)
        return int(max(1, _FLOATS // max(floats, 1)))

    def _forward(self, batch: BatchTensors, gradients: Gradients | None, noise: TrainingNoise | None) -> Tensor:
        """The logits of a batch, float32 of shape (B,), for a target divided by its scale."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed and noise is not None):
            dense = self._dense.tensors(short_bias=self._short_bias and noise is not None)
            parameters = {**self._store.gather(batch.ids, gradients), **dense, "bias": self._bias[:1]}
            logits: Tensor = self.model.logits(batch.gathered(parameters, noise))
        return logits.float()

    def _loss(self, z: Tensor, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """The summed loss in float64, and its derivative by each logit; as native/adagrad.hpp has them."""
        assert self._recipe is not None
        if self._recipe.target_range is None:
            slope = torch.sigmoid(z) - y
            loss = z.clamp(min=0) + torch.log1p(torch.exp(-z.abs())) - y * z
        else:
            slope = z.clamp(*self._recipe.target_range) - y
            loss = (z - y).square() / 2
        if weight is not None:
            loss, slope = loss * weight, slope * weight
        return loss.sum(dtype=torch.float64), slope

    def _step_bias(self, slopes: Tensor, step_size: float) -> None:
        crowd = max(1.0, self._batch_rows / self._harmless)
        self._bias[1] += slopes.square().sum() * crowd
        self._bias[0] -= step_size * slopes.sum() / self._bias[1].sqrt()

    # ---- scoring

    def logits(self, rows: Rows) -> Floats:
        self._check(rows)
        normalize = getattr(self.model.settings, "normalize", False)
        parts = [np.empty(0, np.float32)]
        with torch.no_grad(), threads_of_torch(self._useful_threads(min(rows.n_rows, _SCORED_ROWS))):
            for first in range(0, rows.n_rows, _SCORED_ROWS):
                index = slice(first, min(first + _SCORED_ROWS, rows.n_rows))
                batch = batch_of(rows, index, normalize=normalize, device=self._device)
                piece = self._piece_rows(batch)
                for start in range(0, len(batch.ids), piece):
                    parts.append(self._forward(batch.slice(start, start + piece), None, None).cpu().numpy())
        logits: Floats = np.concatenate(parts)
        return logits * np.float32(self._scale) if self._scale != 1 else logits

    @property
    def _scale(self) -> float:
        return 1.0 if self._recipe is None else self._recipe.scale

    def _check(self, rows: Rows) -> None:
        """Raise InputError or SettingError unless the rows fit the model; the training rows are looked at once."""
        if rows is self._checked:
            return
        rows.check_bounds(self.n_features)
        if self.model.needs_fields:
            field_factors.check_fields(rows, self.n_fields)
        if rows.y is not None:
            self._checked = rows

    # ---- state

    def parameters(self) -> State:
        state: State = {"bias": self._bias[:1].cpu().numpy().copy()}
        for group in self._groups:
            state[group.name] = self._store.weights(group).cpu().numpy().reshape(self.n_features, *group.shape).copy()
        state |= self._dense.arrays()
        specs = self.model.parameter_specs(self.n_features, self.n_fields)
        return {name: _scaled(state[name], self._scale ** target_power(name)) for name in specs}

    def state(self) -> State:
        return {
            "records": self._store.records.cpu().numpy().copy(),
            "bias": self._bias.cpu().numpy().copy(),
            "precisions": np.array(self._precisions),
            "seen": self._seen.copy(),
            "draws": self._draws.copy(),
            "target": np.array([0.0, 1.0] if self._recipe is None else [self._recipe.centre, self._recipe.scale]),
            **self._dense.state(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        held = {"records": self._store.records, "bias": self._bias, "dense_flat": self._dense.flat}
        for name, tensor in held.items():
            if name not in state or state[name].shape != tuple(tensor.shape):
                came = state[name].shape if name in state else None
                raise SettingError(got(f"the state's {name} must have shape {tuple(tensor.shape)}", shape=came))
        self._store.records.copy_(torch.from_numpy(np.array(state["records"])))
        self._bias.copy_(torch.from_numpy(np.array(state["bias"])))
        self._dense.load_state(state)
        self._precisions = state["precisions"].tolist()
        self._seen[:] = state["seen"]
        self._draws[:] = state["draws"]
        if self._recipe is not None:
            centre, scale = state["target"].tolist()
            self._recipe = replace(self._recipe, centre=centre, scale=scale)


def _scaled(array: NDArray[np.float32], by: float) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = array if by == 1 else array * np.float32(by)
    return scaled


def _mixed(device: torch.device, dense: DenseParameters, model: BaseModel) -> bool:
    """Whether matrix products of the perceptron are taken in bfloat16: where there are such, and they are large."""
    if model.name != "deepfm" or dense.flat.numel() < _MIXED_WEIGHTS:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and has is not None and bool(has())
