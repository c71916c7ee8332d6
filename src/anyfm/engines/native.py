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
                loss=self.model.task.native_loss,
                range=clip,
                learning_rate=learning_rate * multiplier,
                crowding=crowding,
                dense_learning_rate=dense_learning_rate * multiplier,
            )
        self._n_done += len(order)
        return loss

    def deviations(
        self, rows: Rows, field_of: NDArray[np.int32] | None = None, unseen: NDArray[np.int64] | None = None
    ) -> State:
        """The standard deviation of the parameters of every feature given the training rows, in the parameters' units.

        That of each value of a vector is (λ + H / σ²)^−½, the diagonal Laplace approximation (MacKay, "The evidence
        framework applied to classification networks", 1992): λ is the prior precision of its field, σ² the dispersion,
        and H the sum over the rows of their weight times the loss's second derivative by the logit times the mean
        square of the logit's derivatives by the values of the vector. One pass over the rows sums H up, after which
        the engine must be prepared again.

        Parameters
        ----------
        rows : Rows
            The training rows.
        field_of : int32 array of shape (n_features,), optional
            The field of each feature, also of those that do not occur; by default that of the training statistics.
        unseen : int array of shape (n,), optional
            Features that stand for any new value. What is known of them in training, the mean over rare values, is
            not known of one value: H counts as 0.

        Returns
        -------
        dict of str to float32 array
            Shape (n_features,) for one value per feature, otherwise (n_features, n_vectors). 0 for a parameter that is
            not trained.
        """
        information, priors = self._information(rows), self._priors_by_name()
        field_of = self._training.field_of if field_of is None else field_of
        deviations = {}
        for name in self._feature_parameters():
            spec = self._specs[name]
            precision = np.stack([np.maximum(prior.precision, prior.lower) for prior in priors[name]], axis=1)[field_of]
            information[name][unseen if unseen is not None else []] = 0
            std = 1 / np.sqrt(precision + information[name] / self._dispersion)  # (n_features, n_vectors)
            factor = 0.0 if spec.optimizer is None else self._parameter_factor(spec)
            deviations[name] = (std[:, 0] if len(spec.shape) == 1 else std).astype(np.float32) * np.float32(factor)
        return deviations

    def _information(self, rows: Rows) -> State:
        """H of `deviations` by parameter, float64 of shape (n_features, n_vectors), in units of training.

        A pass with a learning rate of 0 whose "losses" have the derivatives √(weight × curvature): Adagrad's sums of
        squared gradients are then H.
        """
        start = 1e-6  # of the sums; 0 would divide by 0
        curvature = np.asarray(self.model.task.curvature(self._score(rows).astype(np.float64)))
        weight = 1.0 if rows.weight is None else rows.weight
        derivatives = np.sqrt(weight * curvature).astype(np.float32)
        names = self._feature_parameters()
        values, bias = {name: self._read_features(name) for name in names}, self._bias_value()
        dense = self._dense_line(0) if self._dense else None
        self._bound = None
        self._native.reset(self._training.counts, [start] * len(names))
        for name in names:
            self._write_features(name, values.pop(name), 0)
        if dense is not None:
            self._native.write_dense(0, dense)
        self._native.set_dropout(0.0, self._seed, 0)
        self._set_bias(bias)
        bound = kernel.bind(
            rows.labelled(derivatives),
            n_features=self.n_features,
            n_owners=self._native.n_threads,
            n_fields=self._native.n_fields,
        )
        order = np.arange(rows.n_rows, dtype=np.int64)
        rates = {"learning_rate": 0.0, "crowding": 0.0, "dense_learning_rate": 0.0}
        self._native.step(bound, order, loss="linear", range=None, **rates)
        information = {}
        for name in names:
            sums = np.empty((self.n_features, self._specs[name].n_vectors), np.float32)
            self._native.read_accumulators(name, sums)
            information[name] = np.maximum(sums.astype(np.float64) - start, 0)
        return information

    def adopt(self, other: GradientEngine, rows: Rows) -> None:
        """Take over what another engine of the same model has learned from these rows."""
        self.prepare(rows, seed=0)
        for name in self._feature_parameters():
            self._write_features(name, other._read_features(name), 0)
        units = {name: 1.0 if spec.unit is None else spec.unit(self._training) for name, spec in self._dense.items()}
        self._write_dense(other._read_dense(), units)
        self._set_bias(other._bias_value())
        priors = other._priors_by_name()
        self._priors = [prior for name in self._feature_parameters() for prior in priors[name]]
        self._dispersion = other._dispersion

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
