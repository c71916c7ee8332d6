"""The native engine: the compiled kernels behind the Engine interface, and the scorer of saved parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm._native import kernels
from anyfm.engines.base import Engine, State
from anyfm.errors import InputError, SettingError, however
from anyfm.models import Model
from anyfm.rows import Floats, Ids, Rows

# Rows below which scoring stays on the calling thread: waking the others would cost more.
_THREADED_ROWS = 4096


def available_threads() -> int:
    """How many threads this process may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make(model: Model, *, n_features: int, training: bool, n_threads: int) -> Any:
    normalize = model.config.normalize
    if model.name == "linear":
        return kernels.linear(n_features, normalize=normalize, training=training, n_threads=n_threads)
    if model.name == "fm":
        return kernels.fm(
            n_features, n_factors=model.config.n_factors, normalize=normalize, training=training, n_threads=n_threads
        )
    raise SettingError(however("the native engine computes linear and fm", model=model.name))


def _bind(rows: Rows, *, n_features: int, n_owners: int) -> Any:
    """Check `rows` once and hand their arrays to the kernels."""
    try:
        return kernels.BoundRows.make(
            rows.ids.reshape(-1),
            rows.n_rows,
            rows.offsets,
            rows.values if rows.values is None else rows.values.reshape(-1),
            rows.fields,
            rows.y,
            rows.weight,
            n_features=n_features,
            n_owners=n_owners,
        )
    except IndexError:
        rows.check_bounds(n_features)
        raise


class NativeEngine(Engine):
    """Trains linear and FM with block-wise Adagrad on several threads.

    Parameters
    ----------
    model : Model
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process. The result does not depend on it.
    """

    def __init__(self, model: Model, *, n_features: int, n_fields: int, n_threads: int = 0) -> None:
        self.model = model
        self.n_features = n_features
        self.n_fields = n_fields
        self._native = _make(model, n_features=n_features, training=True, n_threads=n_threads or available_threads())
        self._columns = {name: slice(first, first + n) for name, (first, n) in self._native.columns}
        self._bound: list[tuple[Rows, Any]] = []

    def _column(self, name: str) -> NDArray[np.float32]:
        table: NDArray[np.float32] = self._native.table
        return table[:, self._columns[name]]

    def prepare(self, train: Rows, *, seed: int) -> None:
        if train.y is None:
            raise SettingError("training needs rows with a target")
        rng = np.random.default_rng(seed)
        counts = train.feature_counts(self.n_features)
        table, bias = self._native.table, self._native.bias
        table[:] = 0
        for name, spec in self.model.parameter_specs(self.n_features, self.n_fields).items():
            if spec.init_std > 0:
                start = rng.standard_normal(spec.shape, dtype=np.float32) * np.float32(spec.init_std)
                start[counts == 0] = 0  # a feature never trained contributes nothing
                self._column(name)[:] = start
        self._column("accumulators")[:] = 1e-6
        config = self.model.config
        self._column("penalty_linear")[:] = config.l2_linear
        if "penalty_factors" in self._columns:
            self._column("penalty_factors")[:] = config.l2_factors
        bias[:] = _best_constant(train, self.model.config.task), 1.0

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        return float(
            self._native.step(
                self._bind(rows),
                order,
                logistic=self.model.config.task == "binary",
                learning_rate=self.model.config.learning_rate,
            )
        )

    def logits(self, rows: Rows) -> Floats:
        out = np.empty(rows.n_rows, np.float32)
        self._native.logits(self._bind(rows), out, threaded=rows.n_rows >= _THREADED_ROWS)
        return out

    def _bind(self, rows: Rows) -> Any:
        """The bound form of `rows`, kept for the last two (training and validation)."""
        for known, bound in self._bound:
            if known is rows:
                return bound
        bound = _bind(rows, n_features=self.n_features, n_owners=self._native.n_threads)
        self._bound = [*self._bound[-1:], (rows, bound)]
        return bound

    def parameters(self) -> State:
        state: State = {"bias": self._native.bias[:1].copy()}
        for name, spec in self.model.parameter_specs(self.n_features, self.n_fields).items():
            if spec.per_feature:
                state[name] = self._column(name).reshape(spec.shape).copy()
        return state

    def state(self) -> State:
        return {"table": self._native.table.copy(), "bias": self._native.bias.copy()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, target in (("table", self._native.table), ("bias", self._native.bias)):
            if state[name].shape != target.shape:
                raise SettingError(
                    however(f"the state's {name} must have shape {target.shape}", shape=state[name].shape)
                )
            target[:] = state[name]


class NativeScorer:
    """Scores rows with given parameters. Safe to call from many threads at once.

    Parameters
    ----------
    model : Model
    parameters : mapping of str to float32 array
        As `Engine.parameters` gives them.
    n_fields : int
    n_threads : int
        0 means all cores of this process.
    """

    def __init__(
        self, model: Model, parameters: Mapping[str, NDArray[Any]], *, n_fields: int, n_threads: int = 0
    ) -> None:
        self.model = model
        self.n_features = len(parameters["linear"])
        self.n_fields = n_fields
        self._native = _make(
            model, n_features=self.n_features, training=False, n_threads=n_threads or available_threads()
        )
        table = self._native.table
        for name, (first, n) in self._native.columns:
            if name in parameters:
                table[:, first : first + n] = parameters[name].reshape(self.n_features, n)
        self._native.bias[0] = parameters["bias"][0]

    def logits(self, rows: Rows) -> Floats:
        """The logit of every row, float32 of shape (n_rows,)."""
        bound = _bind(rows, n_features=self.n_features, n_owners=1)
        out = np.empty(rows.n_rows, np.float32)
        self._native.logits(bound, out, threaded=rows.n_rows >= _THREADED_ROWS)
        return out

    def logit(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        """The logit of one row: ids int32 of shape (n,), values float32 and fields int32 of the same shape."""
        try:
            return float(self._native.logit(ids, values, fields))
        except IndexError:
            raise InputError(
                however(f"a feature id must lie in 0 … {self.n_features - 1}", ids=[int(i) for i in ids])
            ) from None


def _best_constant(rows: Rows, task: str) -> float:
    """The logit of the best constant prediction: the log odds of the base rate, or the mean target."""
    assert rows.y is not None
    mean = float(np.average(rows.y.astype(np.float64), weights=rows.weight))
    if task == "regression":
        return mean
    share = min(max(mean, 1e-6), 1 - 1e-6)
    return float(np.log(share / (1 - share)))
