"""The torch engine: trains any model through autograd of its own formula, on the CPU or on CUDA.

It carries out the same declarations as the native engine, with one step a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.rows import Floats, Rows
from anyfm.engines.base import GradientEngine, State
from anyfm.engines.torch_batch import RowTensors, TorchTraining, row_tensors
from anyfm.engines.torch_dense import DenseParameters
from anyfm.engines.torch_features import FeatureStore, Gradients, Group
from anyfm.models import BaseModel
from anyfm.optim.statistics import TrainingStatistics

Tensor = torch.Tensor
_SCORED_ROWS = 8192
_PAIR_FLOATS = 1 << 24  # values that a formula lays out for the pairs of a part of a batch: bounds its memory
_THREADED = 30_000_000  # rows times values from which on a batch is worth more than one thread
_MIXED_WEIGHTS = 100_000  # dense parameters from which on bfloat16 is faster


class TorchEngine(GradientEngine):
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
        torch cannot use the device.
    """

    def __init__(
        self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0, device: str = "cpu"
    ) -> None:
        super().__init__(model, n_features=n_features, n_fields=n_fields, n_threads=n_threads)
        self._device = usable_device(device)
        self._store = FeatureStore(self._specs, n_features=n_features, device=self._device, n_threads=self._n_threads)
        self._dense = DenseParameters(self._specs, device=self._device)
        self._bias = torch.zeros(2, device=self._device)  # and its accumulator
        self._checked: Rows | None = None
        self._draws = np.zeros(2, np.int64)  # the seed of dropout, and how many batches have drawn from it
        self._mixed = _has_bfloat16(self._device) and self._dense.flat.numel() >= _MIXED_WEIGHTS
        self._short_vectors = self._mixed and not self._dense.running
        self._untrained = {name for name, spec in self._specs.items() if spec.optimizer is None}

    # ---- parameters

    @property
    def _groups(self) -> list[Group]:
        return self._store.groups

    def _group(self, name: str) -> Group:
        return next(group for group in self._groups if group.name == name)

    def _feature_parameters(self) -> list[str]:
        return [group.name for group in self._groups]

    def _reset(self, statistics: TrainingStatistics, accumulators: list[float], *, seed: int) -> None:
        self._checked = None
        self._draws[:] = seed, 0
        self._store.start(statistics.counts, dict(zip(self._feature_parameters(), accumulators, strict=True)))
        self._bias[:] = torch.tensor([0.0, 1.0])

    def _write_features(self, name: str, values: Floats, first: int) -> None:
        flat = torch.from_numpy(values.reshape(len(values), -1))
        self._store.weights(self._group(name))[first : first + len(values)] = flat.to(self._device)

    def _read_features(self, name: str) -> Floats:
        values: Floats = self._store.weights(self._group(name)).cpu().numpy().reshape(self._specs[name].shape).copy()
        return values

    def _write_dense(self, values: Mapping[str, Floats], units: Mapping[str, float]) -> None:
        self._dense.write(values, units)

    def _read_dense(self) -> dict[str, Floats]:
        return self._dense.read()

    def _set_bias(self, value: float) -> None:
        self._bias[0] = value

    def _bias_value(self) -> float:
        return float(self._bias[0])

    def _set_priors(self, *, dispersion: float, estimate: bool, n_epochs: int) -> None:
        self._store.set_priors(
            self._training.field_of,
            self._priors,
            dispersion=dispersion,
            crowding=self._crowding,
            estimate=estimate,
            n_epochs=n_epochs,
        )

    # ---- training

    @property
    def _block_rows(self) -> int:
        return self._training.batch_size(self.model.batch_size)

    @property
    def _warms_up(self) -> bool:
        return True  # a batch is one step of hundreds of rows

    def _train(self, rows: Rows, order: NDArray[np.int64]) -> float:
        self._check(rows)
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        n_batches = -(-len(order) // self._block_rows)
        with _torch_threads(self._useful_threads(self._block_rows)):
            for index in np.array_split(order, n_batches) if n_batches else []:
                first = self._n_done % max(self._training.n_rows, 1)
                multiplier = self._schedule.multiplier(self._epoch, first, first + len(index))
                self._n_done += len(index)
                if rows.weight is not None:
                    index = index[rows.weight[index] > 0]
                if len(index) > 0:
                    loss += self._train_batch(rows, index, multiplier=multiplier)
        return float(loss)

    def _train_batch(self, rows: Rows, index: NDArray[np.int64], *, multiplier: float) -> Tensor:
        """One optimizer step on the rows at `index`, with this multiplier of the learning rates; the summed loss."""
        assert rows.y is not None
        tensors = row_tensors(rows, index, normalize=self.model.normalize, device=self._device)
        y = torch.from_numpy(self._scaled(rows.y[index])).to(self._device)
        weight = None if rows.weight is None else torch.from_numpy(rows.weight[index]).to(self._device)
        self._draws[1] += 1
        training = TorchTraining(self._dense.running, self._draws.tolist(), self._store.counts)
        gradients: Gradients = {}
        losses, grad_logits = [], []
        size = self._part_rows(tensors)
        for first in range(0, len(index), size):
            part = slice(first, first + size)
            z = self._forward(tensors.slice(part.start, part.stop), gradients, training)
            loss, gradient = self._loss(z.detach(), y[part], None if weight is None else weight[part])
            z.backward(gradient)
            losses.append(loss)
            grad_logits.append(gradient)
        learning_rate = multiplier * self._learning_rate
        trained = {
            name: parts[0] if len(parts) == 1 else torch.cat(parts)
            for name, parts in gradients.items()
            if name not in self._untrained
        }
        self._store.step(tensors.ids, trained, weight, learning_rate=learning_rate, crowding=self._crowding)
        if "bias" not in self._untrained:
            self._step_bias(torch.cat(grad_logits), learning_rate)
        if self._dense:
            total = float(len(index)) if weight is None else float(weight.sum())
            self._dense.step(total, learning_rate=multiplier * self._dense_learning_rate)
        return torch.stack(losses).sum()

    def _useful_threads(self, n_rows: int) -> int:
        """Of torch's own operations: one where a batch is so small that waking the others would cost more."""
        width = sum(group.width for group in self._groups) * self.n_fields
        return self._n_threads if n_rows * (width + self._dense.flat.numel()) >= _THREADED else 1

    def _part_rows(self, tensors: RowTensors) -> int:
        """How many rows go through the formula at a time: all, unless it lays out the pairs of a row."""
        floats = self.model.floats_per_row(tensors.ids.shape[1], self.n_fields)
        return max(1, _PAIR_FLOATS // floats) if floats else max(len(tensors.ids), 1)

    def _forward(self, tensors: RowTensors, gradients: Gradients | None, training: TorchTraining | None) -> Tensor:
        """The logits of a batch, float32 of shape (B,), for the scaled target."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed and training is not None):
            dense = self._dense.tensors(short_vectors=self._short_vectors and training is not None)
            parameters = {**self._store.gather(tensors.ids, gradients), **dense, "bias": self._bias[:1]}
            logits: Tensor = self.model.logits(tensors.batch(parameters, training))
        return logits.float()

    def _loss(self, z: Tensor, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """The summed loss in float64, and its derivative by each logit."""
        task = self.model.task
        loss, gradient = task.loss(z, y), task.gradient(z, y, self._clip)
        if weight is not None:
            loss, gradient = loss * weight, gradient * weight
        return loss.sum(dtype=torch.float64), gradient

    def _step_bias(self, grad_logits: Tensor, learning_rate: float) -> None:
        crowd = max(1.0, self._block_rows / self.model.task.n_safe_occurrences)
        self._bias[1] += grad_logits.square().sum() * crowd
        self._bias[0] -= learning_rate * grad_logits.sum() / self._bias[1].sqrt()

    # ---- scoring

    def _score(self, rows: Rows) -> Floats:
        self._check(rows)
        parts = [np.empty(0, np.float32)]
        with torch.no_grad(), _torch_threads(self._useful_threads(min(rows.n_rows, _SCORED_ROWS))):
            for first in range(0, rows.n_rows, _SCORED_ROWS):
                index = slice(first, min(first + _SCORED_ROWS, rows.n_rows))
                tensors = row_tensors(rows, index, normalize=self.model.normalize, device=self._device)
                size = self._part_rows(tensors)
                for start in range(0, len(tensors.ids), size):
                    parts.append(self._forward(tensors.slice(start, start + size), None, None).cpu().numpy())
        logits: Floats = np.concatenate(parts)
        return logits

    def _check(self, rows: Rows) -> None:
        """Raise InputError or SettingError unless the rows fit the model; the training rows are checked once."""
        if rows is self._checked:
            return
        rows.check_bounds(self.n_features)
        if self.model.needs_fields:
            rows.check_fields(self.n_fields)
        if rows.y is not None:
            self._checked = rows

    # ---- state

    def _tensors(self) -> dict[str, Tensor]:
        dense = {f"dense_{name}": tensor for name, tensor in self._dense.arrays().items()}
        return {"records": self._store.records, "bias": self._bias, **dense}

    def _arrays(self) -> State:
        state: State = {name: tensor.cpu().numpy() for name, tensor in self._tensors().items()}
        return {**state, "draws": self._draws, "dense_steps": np.array([self._dense.n_steps], np.int64)}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(np.array(state[name])))
        self._draws[:] = state["draws"]
        self._dense.n_steps = int(state["dense_steps"][0])


def usable_device(device: str) -> torch.device:
    """The device, tried; SettingError if torch cannot use it."""
    try:
        made = torch.device(device)
        torch.zeros(1, device=made)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(got("device must be one that torch can use here", device=device, reason=reason)) from None
    return made


@contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    """torch's own threads: `n` inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())
