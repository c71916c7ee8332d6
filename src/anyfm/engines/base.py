"""What an engine is, and the policy of training that all engines share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows, Targets
from anyfm.core.threads import thread_count
from anyfm.models import BaseModel, ParameterSpec
from anyfm.optim.optimizers import Adam
from anyfm.optim.priors import Prior
from anyfm.optim.schedule import Schedule
from anyfm.optim.statistics import TrainingStatistics, training_statistics

State = dict[str, NDArray[Any]]


class Engine(ABC):
    """Holds the parameters of one model, computes its logits and trains it. The loop in training/ calls these methods.

    Attributes
    ----------
    model : BaseModel
        With every setting decided that depends on the number of fields.
    n_features, n_fields : int
    """

    model: BaseModel
    n_features: int
    n_fields: int

    @abstractmethod
    def prepare(self, train: Rows, *, seed: int) -> None:
        """Draw the initial parameters from `seed`, and take from `train` the statistics that the optimizer needs."""

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - an engine may have nothing to do
        """Called by the loop before each epoch, counted from 1."""

    @abstractmethod
    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        """Train on the rows at `order` (int64, shape (n,)), in that order.

        Returns the weighted sum of the losses of those rows, each computed before its own update.
        """

    @abstractmethod
    def logits(self, rows: Rows) -> Targets:
        """The logit of every row, float32 of shape (n_rows,); float64 for regression."""

    @abstractmethod
    def parameters(self) -> State:
        """A copy of the parameters by name, shapes as in `BaseModel.parameter_specs`, float32.

        The bias of a regression is float64, since it holds the mean of the target.
        """

    @abstractmethod
    def state(self) -> State:
        """A copy of everything training continues from: parameters and optimizer state, by name."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `state` returned; later steps are then the same bit for bit."""


class GradientEngine(Engine):
    """An engine that carries out a model's declarations: initial values, priors, schedule, the target's scale.

    A subclass stores the parameters and computes. Training sees the target less its offset, divided by its scale (in
    regression its mean and standard deviation, in float64), and dense parameters in units of training; both are undone
    where parameters and logits leave the engine.

    Parameters
    ----------
    model : BaseModel
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process.
    """

    def __init__(self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0) -> None:
        self.model = model = model.resolve(n_fields)
        self.n_features = n_features
        self.n_fields = n_fields
        self._n_threads = thread_count(n_threads)
        self._specs = model.parameter_specs(n_features, n_fields)
        self._statistics: TrainingStatistics | None = None
        self._priors: list[Any] = []  # kernels.Prior of each vector of a feature, with λ of each field
        self._dispersion = 1.0  # of the target given the logit, when priors were last set
        self._loss_and_weight = np.zeros(2)  # summed since the epoch began, in units of the scaled target
        self._n_done = 0  # rows since the epoch began
        self._epoch = 1
        self._schedule = Schedule(0)

    # ---- what a subclass computes

    @property
    @abstractmethod
    def _block_rows(self) -> int:
        """Rows of one optimizer step of the features."""

    @abstractmethod
    def _feature_parameters(self) -> list[str]:
        """The names of the per-feature parameters, in the order of the priors."""

    @abstractmethod
    def _reset(self, statistics: TrainingStatistics, accumulators: list[float], *, seed: int) -> None:
        """Zero all parameters and optimizer state; set the counts and the start of the accumulators."""

    @abstractmethod
    def _write_features(self, name: str, values: Floats, first: int) -> None:
        """Write a per-feature parameter of features first, first + 1, …"""

    @abstractmethod
    def _read_features(self, name: str) -> Floats:
        """A copy of a per-feature parameter."""

    @abstractmethod
    def _write_dense(self, values: Mapping[str, Floats], units: Mapping[str, float]) -> None:
        """Write the dense parameters, in units of training, and what one unit is."""

    @abstractmethod
    def _read_dense(self) -> dict[str, Floats]:
        """A copy of the dense parameters, in units of training."""

    @abstractmethod
    def _set_bias(self, value: float) -> None: ...

    @abstractmethod
    def _bias_value(self) -> float: ...

    @abstractmethod
    def _set_priors(self, *, dispersion: float, estimate: bool, n_epochs: int) -> None:
        """Set the penalties from `self._priors`, whose λ are estimated first if asked for."""

    @abstractmethod
    def _train(self, rows: Rows, order: NDArray[np.int64]) -> float:
        """Train on these rows; the summed loss in units of the scaled target."""

    @abstractmethod
    def _score(self, rows: Rows) -> Floats:
        """The logits for the scaled target."""

    @abstractmethod
    def _arrays(self) -> State:
        """The parameters and the optimizer state, by name."""

    @abstractmethod
    def _restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Write back what `_arrays` returned; shapes are checked."""

    # ---- policy

    @property
    def _training(self) -> TrainingStatistics:
        if self._statistics is None:
            raise SettingError("an engine must be prepared before its first step")
        return self._statistics

    @property
    def _scale(self) -> float:
        return 1.0 if self._statistics is None else self._statistics.target.scale

    @property
    def _offset(self) -> float:
        """What is taken off the target; 0 for a model without a bias to hold it."""
        trained = self._statistics is not None and self._specs["bias"].optimizer is not None
        return self._training.target.offset if trained else 0.0

    @property
    def _clip(self) -> tuple[float, float] | None:
        """The range of the target's statistics for the scaled target."""
        clip = self._training.target.clip
        if clip is None:
            return None
        low, high = ((end - self._offset) / self._scale for end in clip)
        return low, high

    def _scaled(self, y: Targets) -> Floats:
        """What training sees of the target."""
        if self._offset == 0 and self._scale == 1:
            return y.astype(np.float32, copy=False)
        return ((y.astype(np.float64) - self._offset) / self._scale).astype(np.float32)

    def prepare(self, train: Rows, *, seed: int) -> None:
        statistics = training_statistics(
            train,
            n_features=self.n_features,
            n_fields=self.n_fields,
            task=self.model.task,
            normalize=self.model.normalize,
        )
        self._statistics = statistics
        self._loss_and_weight[:] = 0
        self._n_done = 0
        self._epoch = 1
        specs = [self._specs[name] for name in self._feature_parameters()]
        starts = [1.0 if spec.optimizer is None else spec.optimizer.accumulator for spec in specs]  # type: ignore[union-attr]
        self._reset(statistics, starts, seed=seed)
        self._schedule = Schedule(statistics.n_rows, warmup=self._warms_up, decay=self.model.decays_learning_rate)
        target = statistics.target
        self._set_bias(
            0.0 if self._specs["bias"].optimizer is None else (target.base_logit - self._offset) / target.scale
        )
        self._priors = [self._prior(spec, statistics) for spec in specs for _ in range(spec.n_vectors)]
        self._dispersion = 1.0
        self._set_priors(dispersion=1.0, estimate=False, n_epochs=0)
        rng = np.random.default_rng(seed)
        for name, spec in self._specs.items():
            if spec.per_feature:
                for first, values in spec.initial.chunks(spec.shape, statistics, rng, seed=seed):
                    self._write_features(name, values, first)
        dense = {name: spec for name, spec in self._specs.items() if not spec.per_feature and name != "bias"}
        self._write_dense(
            {name: spec.initial.draw(spec.shape, statistics, rng) for name, spec in dense.items()},
            {name: 1.0 if spec.unit is None else spec.unit(statistics) for name, spec in dense.items()},
        )

    def _prior(self, spec: ParameterSpec, statistics: TrainingStatistics) -> Any:
        assert spec.prior is not None
        prior: Prior = spec.prior(statistics)
        precision, fixed = [prior.start] * self.n_fields, False
        if spec.l2 is not None:
            precision, fixed = [spec.l2] * self.n_fields, True
        elif spec.l2_per_occurrence is not None:
            precision, fixed = (spec.l2_per_occurrence * statistics.mean_counts(self.n_fields)).tolist(), True
        return kernels.Prior(
            precision=precision,
            expected=prior.expected,
            strength=np.inf if fixed else prior.strength,
            lower=prior.lower,
            upper=prior.upper,
            fraction=prior.fraction,
        )

    def _priors_by_name(self) -> dict[str, list[Any]]:
        """The priors of the vectors of each per-feature parameter."""
        priors = iter(self._priors)
        return {name: [next(priors) for _ in range(self._specs[name].n_vectors)] for name in self._feature_parameters()}

    @property
    def _warms_up(self) -> bool:
        return self.model.warmup

    @property
    def _learning_rate(self) -> float:
        return self._training.learning_rate(self.model.settings.learning_rate)

    @property
    def _dense_learning_rate(self) -> float:
        """Adam's learning rate, the same for all dense parameters."""
        rates = {spec.optimizer.learning_rate for spec in self._specs.values() if isinstance(spec.optimizer, Adam)}
        if len(rates) > 1:
            raise SettingError(got("all dense parameters of a model must have one learning rate", came=sorted(rates)))
        return rates.pop() if rates else 0.0

    @property
    def _crowding(self) -> float:
        """Of a feature with one occurrence: how often it is expected in a block, over how often is safe there.

        A feature that occurs in many rows of a block takes as many steps on the same, outdated logits.
        """
        return self._block_rows / (self.model.task.n_safe_occurrences * self._training.total_weight)

    def begin_epoch(self, epoch: int) -> None:
        if epoch > 1:
            loss, weight = self._loss_and_weight
            self._dispersion = self.model.task.dispersion(loss / weight) if weight > 0 else 1.0
            self._set_priors(dispersion=self._dispersion, estimate=True, n_epochs=epoch - 1)
        self._epoch = epoch
        self._loss_and_weight[:] = 0
        self._n_done = 0

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        if rows.y is None:
            raise SettingError("training needs rows with a target")
        scale = self._training.target.scale
        loss = self._train(rows, order)
        weight = len(order) if rows.weight is None else float(rows.weight[order].sum())
        self._loss_and_weight += loss, weight
        return loss * scale**2

    def logits(self, rows: Rows) -> Targets:
        logits = self._score(rows)
        if self.model.task.is_classification:
            return logits
        return logits.astype(np.float64) * self._scale + self._offset

    def parameters(self) -> State:
        dense, state = self._read_dense(), {}
        for name, spec in self._specs.items():
            if name == "bias":
                state[name] = self._whole_bias()
                continue
            values = self._read_features(name) if spec.per_feature else dense[name]
            factor = self._parameter_factor(spec)
            state[name] = values if factor == 1 else values * np.float32(factor)
        return state

    def _whole_bias(self) -> Targets:
        if self.model.task.is_classification:
            return np.array([self._bias_value()], np.float32)
        return np.array([self._bias_value() * self._scale + self._offset])

    def _parameter_factor(self, spec: ParameterSpec) -> float:
        """What a parameter in units of training is multiplied by."""
        factor = float(self._scale**spec.target_power)
        if spec.unit is not None and self._statistics is not None:
            factor *= spec.unit(self._statistics)
        return factor

    def state(self) -> State:
        target = None if self._statistics is None else self._statistics.target
        return {
            **{name: np.array(array) for name, array in self._arrays().items()},
            "precision": np.array([prior.precision for prior in self._priors]),
            "dispersion": np.array(self._dispersion),
            "loss_and_weight": self._loss_and_weight.copy(),
            "target": np.array([0.0, 0.0, 1.0] if target is None else [target.base_logit, target.offset, target.scale]),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, array in self._arrays().items():
            if name not in state or state[name].shape != array.shape:
                came = state[name].shape if name in state else None
                raise SettingError(got(f"the state's {name} must have shape {array.shape}", shape=came))
        self._loss_and_weight[:] = state["loss_and_weight"]
        self._dispersion = float(state["dispersion"])
        for prior, precision in zip(self._priors, state["precision"].tolist(), strict=True):
            prior.precision = precision
        if self._statistics is not None:  # penalties; the accumulators that this notes are restored next
            self._set_priors(dispersion=self._dispersion, estimate=False, n_epochs=0)
        self._restore(state)
        if self._statistics is not None:
            base_logit, offset, scale = state["target"].tolist()
            target = replace(self._statistics.target, base_logit=base_logit, offset=offset, scale=scale)
            self._statistics = replace(self._statistics, target=target)
