"""The native engine: the compiled kernels behind the Engine interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Rows
from anyfm.engines import kernel
from anyfm.engines.base import GradientEngine, State
from anyfm.models import BaseModel
from anyfm.optim.optimizers import Adam
from anyfm.optim.statistics import TrainingStatistics

_DENSE_STATE = ("values", "first_moments", "second_moments")


class NativeEngine(GradientEngine):
    """Trains with block-wise Adagrad on several threads, and Adam for the parameters that every row uses.

    The result does not depend on the number of threads. Parameters as for `GradientEngine`.
    """

    def __init__(self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0) -> None:
        super().__init__(model, n_features=n_features, n_fields=n_fields, n_threads=n_threads)
        self._native = kernel.make(
            self.model, n_features=n_features, n_fields=n_fields, training=True, n_threads=self._n_threads
        )
        self._dense = {name: spec for name, spec in self._specs.items() if isinstance(spec.optimizer, Adam)}
        self._bound: tuple[Rows, Any] | None = None
        self._seed = 0

    @property
    def _block_rows(self) -> int:
        rows: int = self._native.block_rows(self._training.n_rows)
        return rows

    def _feature_parameters(self) -> list[str]:
        return [name for name, _, _ in self._native.parameters]

    def _reset(self, statistics: TrainingStatistics, accumulators: list[float], *, seed: int) -> None:
        self._bound = None
        self._seed = seed
        self._native.reset(statistics.counts, accumulators)
        self._native.set_dropout(self.model.dropout, seed, 0)

    def _write_features(self, name: str, values: Floats, first: int) -> None:
        self._native.write(name, values.reshape(len(values), -1), first)

    def _read_features(self, name: str) -> Floats:
        spec = self._specs[name]
        values = np.empty((self.n_features, spec.width), np.float32)
        self._native.read(name, values)
        return values.reshape(spec.shape)

    def _write_dense(self, values: Mapping[str, Floats], units: Mapping[str, float]) -> None:
        if not self._dense:
            return

        def flat(value_of: Callable[[str, Adam], float]) -> Floats:
            return np.concatenate(
                [np.full(spec.size, value_of(name, spec.optimizer), np.float32) for name, spec in self._dense.items()]  # type: ignore[arg-type]
            )

        self._native.set_dense_optimizer(
            units=flat(lambda name, _: units[name]),
            l2=flat(lambda _, adam: adam.l2),
            decay=flat(lambda _, adam: adam.weight_decay),
        )
        start = np.concatenate([values[name].reshape(-1) for name in self._dense])
        for line in range(len(_DENSE_STATE)):
            self._native.write_dense(line, start if line == 0 else np.zeros_like(start))
        self._native.dense_steps = 0

    def _read_dense(self) -> dict[str, Floats]:
        if not self._dense:
            return {}
        flat, first, found = self._dense_line(0), 0, {}
        for name, spec in self._dense.items():
            found[name] = flat[first : first + spec.size].reshape(spec.shape).copy()
            first += spec.size
        return found

    def _dense_line(self, line: int) -> Floats:
        values = np.empty(self._native.n_dense, np.float32)
        self._native.read_dense(line, values)
        return values

    def _set_bias(self, value: float) -> None:
        self._native.bias[0] = value

    def _bias_value(self) -> float:
        return float(self._native.bias[0])

    def _set_priors(self, *, dispersion: float, estimate: bool, n_epochs: int) -> None:
        self._native.set_priors(
            field_of=self._training.field_of,
            priors=self._priors,
            dispersion=dispersion,
            crowding=self._crowding,
            estimate=estimate,
            n_epochs=n_epochs,
        )

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        self._native.set_dropout(self.model.dropout, self._seed, epoch)

    def _train(self, rows: Rows, order: NDArray[np.int64]) -> float:
        bound, loss = self._bind(rows), 0.0
        clip, crowding = self._clip, self._crowding
        learning_rate, dense_learning_rate = self._learning_rate, self._dense_learning_rate
        intervals = self._schedule.intervals(self._epoch, self._n_done, len(order), block=self._block_rows)
        for first, last, multiplier in intervals:
            loss += self._native.step(
                bound,
                order[first:last],
                range=clip,
                learning_rate=learning_rate * multiplier,
                crowding=crowding,
                dense_learning_rate=dense_learning_rate * multiplier,
            )
        self._n_done += len(order)
        return loss

    def _bind(self, rows: Rows) -> Any:
        """The bound form of the training rows, kept from one step to the next."""
        if self._bound is None or self._bound[0] is not rows:
            assert rows.y is not None
            bound = kernel.bind(
                rows.labelled(self._scaled(rows.y), rows.weight),
                n_features=self.n_features,
                n_owners=self._native.n_threads,
                n_fields=self._native.n_fields,
            )
            self._bound = (rows, bound)
        return self._bound[1]

    def _score(self, rows: Rows) -> Floats:
        return kernel.logits(self._native, rows, self.n_features)

    def _arrays(self) -> State:
        state: State = {f"table_{number}": table for number, table in enumerate(self._native.tables)}
        if self._dense:
            state |= {f"dense_{name}": self._dense_line(line) for line, name in enumerate(_DENSE_STATE)}
        steps = np.array([self._native.dense_steps if self._dense else 0], np.int64)
        return {**state, "bias": self._native.bias, "dense_steps": steps, "seed": np.array([self._seed], np.uint64)}

    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for number, table in enumerate(self._native.tables):
            table[...] = state[f"table_{number}"]
        self._native.bias[:] = state["bias"]
        if self._dense:
            for line, name in enumerate(_DENSE_STATE):
                self._native.write_dense(line, np.ascontiguousarray(state[f"dense_{name}"]))
            self._native.dense_steps = int(state["dense_steps"][0])
        self._seed = int(state["seed"][0])
        self._bound = None
