"""The native engine: the compiled kernels behind the Engine interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows
from anyfm.core.threads import available_threads
from anyfm.engines import attention, field_factors, kernel, perceptron
from anyfm.engines.base import Engine, State
from anyfm.engines.recipe import PriorGuess, Recipe, recipe
from anyfm.models import BaseModel

# Where the sums of squared gradients start: of the linear weights, of the factors.
_ACCUMULATOR_START = np.array([1.0, 0.1], np.float32)
# Into how many parts an epoch is cut to let its steps fall.
_ANNEALING_STEPS = 16


class NativeEngine(Engine):
    """Trains every model with block-wise Adagrad on several threads, and Adam for AFM's and DeepFM's networks.

    Parameters
    ----------
    model : BaseModel
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process. The result does not depend on it.
    """

    def __init__(self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0) -> None:
        self.model = model = model.for_fields(n_fields)
        self.n_features = n_features
        self.n_fields = n_fields
        self._native = kernel.make(
            model,
            n_features=n_features,
            n_fields=n_fields,
            training=True,
            n_threads=n_threads or available_threads(),
        )
        self._columns = {name: slice(first, first + n) for name, (first, n) in self._native.columns}
        self._network = _network(self._native, model, n_fields)
        self._bound: tuple[Rows, Any] | None = None
        self._recipe: Recipe | None = None
        self._precisions: list[list[float]] = []  # λ of each field: of the linear weights, of the factors
        self._field_precision: list[float] = []  # FFM: λ of each pair of fields
        self._noise = 1.0  # variance of the target's noise in the loss's units, when penalties were last set
        self._seen = np.zeros(2)  # since the last estimate: summed loss and summed weight, in the loss's own units
        self._done = 0  # rows since the epoch began
        self._epoch = 1

    def _column(self, name: str) -> NDArray[np.float32]:
        table: NDArray[np.float32] = self._native.table
        return table[:, self._columns[name]]

    def prepare(self, train: Rows, *, seed: int) -> None:
        config = self.model.settings
        self._recipe = made = recipe(
            train,
            n_features=self.n_features,
            n_fields=self.n_fields,
            task=config.task,
            normalize=getattr(config, "normalize", False),
        )
        self._bound = None
        self._seen[:] = 0
        self._done = 0
        self._epoch = 1
        self._native.table[:] = 0
        self._column("count")[:, 0] = made.counts
        self._column("accumulators")[:] = _ACCUMULATOR_START[: self._column("accumulators").shape[1]]
        has_bias = self.model.name != "ffm" or config.linear
        self._native.bias[:] = made.centre / made.scale if has_bias else 0.0, 1.0
        self._precisions = [
            [prior.start if fixed is None else fixed] * self.n_fields for prior, fixed in self._priors()
        ]
        if self.model.name == "ffm":
            self._field_precision = field_factors.start_precision(self.model, made, n_fields=self.n_fields)
        self._set_penalties(estimate=False)
        if self.model.name == "ffm":
            field_factors.draw_start(self._native, self.model, made, train, seed=seed)
            return
        rng = np.random.default_rng(seed)
        for name, spec in self.model.parameter_specs(self.n_features, self.n_fields).items():
            if spec.per_feature and name != "linear":
                target = self._column(name)
                start = rng.standard_normal(target.shape, dtype=np.float32)
                start *= np.float32(config.init_scale * made.factor_deviation(config.n_factors))
                start[made.counts == 0] = 0  # a feature never trained contributes nothing
                target[:] = start
        if self._network is not None:
            self._network.start(train, made, seed=seed, rng=rng)

    def _priors(self) -> list[tuple[PriorGuess, float | None]]:
        """Of each penalty group (linear weights, factors): its guess, and the setting that fixes it."""
        assert self._recipe is not None
        config = self.model.settings
        groups = [(self._recipe.linear_prior, config.l2_linear)]
        return (
            groups
            if self.model.name not in ("fm", "afm", "deepfm")
            else [*groups, (self._recipe.factor_prior(config.n_factors), config.l2_factors)]
        )

    def _set_penalties(self, *, estimate: bool, epochs: int = 0) -> None:
        assert self._recipe is not None
        squared_loss = self.model.settings.task == "regression"
        noise = 2 * self._seen[0] / self._seen[1] if squared_loss and self._seen[1] > 0 else 1.0
        self._noise = max(noise, 1e-6)
        priors = self._priors()
        self._precisions = self._native.penalties(
            field_of=self._recipe.field_of,
            precisions=self._precisions,
            guesses=[prior.hyper for prior, _ in priors],
            strengths=[prior.strength if fixed is None else np.inf for prior, fixed in priors],
            bounds=[(prior.lowest, prior.highest) for prior, _ in priors],
            shares=[prior.share for prior, _ in priors],
            noise=self._noise,
            crowding=self._crowding,
            estimate=estimate,
        )
        if self.model.name == "ffm":
            self._set_field_penalties(estimate=estimate, epochs=epochs)

    def _set_field_penalties(self, *, estimate: bool, epochs: int = 0) -> None:
        assert self._recipe is not None
        self._field_precision = field_factors.set_penalties(
            self._native,
            self.model,
            self._recipe,
            self._field_precision,
            estimate=estimate,
            noise=self._noise,
            epochs=epochs,
        )

    @property
    def _crowding(self) -> float:
        """Of a feature with one occurrence: how often it is expected in a block, over what does no harm there."""
        assert self._recipe is not None
        harmless = 2 if self.model.settings.task == "regression" else 8  # the squared loss's gradient is not bounded
        return self._block_rows / (harmless * self._recipe.total_weight)

    @property
    def _block_rows(self) -> int:
        """Rows of one step of the features."""
        assert self._recipe is not None
        if self.model.name == "deepfm":
            return perceptron.block_rows(self.model, self._recipe)
        block_rows: int = kernels.block_rows(self._recipe.n_rows)
        return block_rows

    def begin_epoch(self, epoch: int) -> None:
        if epoch > 1:
            self._set_penalties(estimate=True, epochs=epoch - 1)
        if self._network is not None:
            self._network.begin_epoch(epoch)
        self._epoch = epoch
        self._seen[:] = 0
        self._done = 0

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        if self._recipe is None:
            raise SettingError("an engine must be prepared before its first step")
        bound = self._bind(rows)
        step_size = self._recipe.step_size(self.model.settings.learning_rate)
        loss = 0.0
        for first, last, share in self._annealed(len(order)):
            if self._network is not None:
                self._network.set_step(share)
            loss += self._native.step(
                bound,
                order[first:last],
                range=self._recipe.target_range,
                learning_rate=step_size * share,
                crowding=self._crowding,
            )
        self._seen += loss, len(order) if rows.weight is None else float(rows.weight[order].sum())
        return loss * self._recipe.scale**2

    def _annealed(self, n_rows: int) -> Iterator[tuple[int, int, float]]:
        """Cut the next `n_rows` rows where the step size changes: first, last, share of the full step size.

        Each epoch takes full steps for its first half and then steps that fall to nothing, so that validation sees
        parameters without the noise of the last few rows; libffm's rule knows only full steps. DeepFM's steps rise over
        the first half of the first epoch, for the reason in engines/torch.py. The cuts lie on a grid of the epoch,
        wherever the calls do.
        """
        assert self._recipe is not None
        total = self._recipe.n_rows
        block = self._block_rows
        grid = -(-total // (_ANNEALING_STEPS * block)) * block
        full = getattr(self.model.settings, "optimizer", "") == "libffm"
        rises = self.model.name == "deepfm" and self._epoch == 1
        first = 0
        while first < n_rows:
            at = self._done % max(total, 1)
            last = min(n_rows, first + grid - at % grid, first + total - at)
            progress = (at - at % grid) / total
            share = 1.0 if full else min(1.0, 2 * (1 - progress))
            if rises:
                share = min(share, 2 * (progress + grid / total))
            yield first, last, share
            self._done += last - first
            first = last

    def logits(self, rows: Rows) -> Floats:
        logits = kernel.logits(self._native, rows, self.n_features)
        return logits * np.float32(self._scale) if self._scale != 1 else logits

    @property
    def _scale(self) -> float:
        return 1.0 if self._recipe is None else self._recipe.scale

    def _bind(self, rows: Rows) -> Any:
        """The bound form of the training rows, kept from one step to the next."""
        if self._bound is None or self._bound[0] is not rows:
            scaled = rows
            if self._scale != 1 and rows.y is not None:
                scaled = rows.labelled(rows.y / np.float32(self._scale), rows.weight)
            bound = kernel.bind(
                scaled, n_features=self.n_features, n_owners=self._native.n_threads, n_fields=self._native.n_fields
            )
            self._bound = (rows, bound)
        return self._bound[1]

    def parameters(self) -> State:
        specs = self.model.parameter_specs(self.n_features, self.n_fields)
        state: State = {"bias": self._native.bias[:1].copy()}
        state |= {name: _parameter(self._native, name, spec.shape) for name, spec in specs.items() if spec.per_feature}
        kept = {"factors": 1.0} if self.model.name == "afm" else {}  # there the projection takes the scale
        state = {name: _scaled(name, array, kept.get(name, self._scale)) for name, array in state.items()}
        return state if self._network is None else state | self._network.parameters(scale=self._scale)

    def state(self) -> State:
        state: State = {
            "table": self._native.table.copy(),
            "bias": self._native.bias.copy(),
            "precisions": np.array(self._precisions),
            "seen": self._seen.copy(),
            "target": np.array([0.0, 1.0] if self._recipe is None else [self._recipe.centre, self._recipe.scale]),
        }
        if self.model.name == "ffm":
            state["sections"] = self._native.sections.copy()
            state["field_precision"] = np.array(self._field_precision)
            state["noise"] = np.array([self._noise])
        if self._network is not None:
            state |= self._network.state()
        return state

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        held = {"table": self._native.table, "bias": self._native.bias, "seen": self._seen}
        if self.model.name == "ffm":
            held["sections"] = self._native.sections
        for name, target in held.items():
            if state[name].shape != target.shape:
                came = state[name].shape
                raise SettingError(got(f"the state's {name} must have shape {target.shape}", shape=came))
            target[:] = state[name]
        self._precisions = state["precisions"].tolist()
        if self._recipe is not None:
            centre, scale = state["target"].tolist()
            self._recipe = replace(self._recipe, centre=centre, scale=scale)
            self._bound = None
        if self.model.name == "ffm" and self._recipe is not None:
            self._field_precision, self._noise = state["field_precision"].tolist(), float(state["noise"][0])
            self._set_field_penalties(estimate=False)
        if self._network is not None:
            self._network.load_state(state)


def _network(native: Any, model: BaseModel, n_fields: int) -> attention.AttentionNetwork | perceptron.Perceptron | None:
    """What is trained beside the features, if anything."""
    if model.name == "afm":
        return attention.AttentionNetwork(native, model)
    if model.name == "deepfm" and model.settings.hidden_layer_sizes:
        return perceptron.Perceptron(native, model, n_fields)
    return None


def _parameter(native: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One parameter of all features, out of the kernel's table."""
    if name == "field_factors":
        factors = np.empty(shape, np.float32)
        native.read_factors(factors)
        return factors
    first, n = dict(native.columns)[name]
    column: NDArray[np.float32] = native.table[:, first : first + n]
    return column.reshape(shape)


def _scaled(name: str, array: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Parameters for a target that training saw divided by `scale`: pairs of factors take its root each."""
    if scale == 1:
        return np.ascontiguousarray(array)
    scaled: NDArray[np.float32] = array * np.float32(scale if name in ("bias", "linear") else np.sqrt(scale))
    return scaled
