"""What is predicted: the loss, its derivative, the link, the range and the metrics of each task, as one object.

All functions take numpy arrays or torch tensors alike.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError, got, located

Array = Any  # a numpy array or a torch tensor


@dataclass(frozen=True)
class TargetStatistics:
    """What training takes from the target.

    Parameters
    ----------
    base_logit : float
        The logit of the weighted mean target: where the bias starts.
    offset, scale : float
        Training sees (target − offset) / scale.
    clip : tuple of float, optional
        The range of logits, in units of the target, outside of which the loss's derivative does not grow.
    """

    base_logit: float
    offset: float = 0.0
    scale: float = 1.0
    clip: tuple[float, float] | None = None


class Task(ABC):
    """A kind of target. Stateless; subclasses are final and registered in `TASKS`.

    Attributes
    ----------
    name : str
    metrics : tuple of str
        The metrics that are reported, in this order.
    loss_metric : str
        The one of them that falls and rises with the mean loss.
    is_classification : bool
        Whether predictions are probabilities of a positive class.
    has_squared_loss : bool
        Whether the loss is that of a target with normal noise.
    loss_title : str
        What the reported loss is called.
    loss_metric_power : int
        The loss metric to this power is the mean reported loss.
    logit_is_prediction : bool
        Whether the link is the identity, so that logits are in units of the target.
    least_target : float
        Of a task that predicts a number.
    native_loss : str
        What native/optim/loss.hpp calls the loss.
    log_factor_std : float
        How far the log of the factor that calibrates standard deviations of logits may go from 0. Squared residuals
        show how far logits are off. Of a click, nothing but the mean of its probability is seen, hence little.
    n_safe_occurrences : int
        How often a feature may occur among the rows of one optimizer step before its learning rate is lowered.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    loss_metric: ClassVar[str]
    is_classification: ClassVar[bool]
    has_squared_loss: ClassVar[bool] = False
    loss_title: ClassVar[str]
    loss_metric_power: ClassVar[int] = 1
    logit_is_prediction: ClassVar[bool] = False
    least_target: ClassVar[float] = -np.inf
    native_loss: ClassVar[str]
    log_factor_std: ClassVar[float] = 0.1
    n_safe_occurrences: ClassVar[int]

    @abstractmethod
    def loss(self, logits: Array, y: Array) -> Array:
        """The loss of each row that training minimizes, of the shape of `logits`."""

    def reported_loss(self, logits: Array, y: Array) -> Array:
        """The loss of each row as reports and explanations show it, of the shape of `logits`."""
        return self.loss(logits, y)

    @abstractmethod
    def gradient(self, logits: Array, y: Array, clip: tuple[float, float] | None) -> Array:
        """The derivative of the loss by the logit of each row, the logits held within `clip`."""

    @abstractmethod
    def curvature(self, logits: Array) -> Array:
        """The second derivative of the loss by the logit of each row."""

    def predictive_loss(self, logits: Array, std: Array, y: Array, dispersion: float = 1.0) -> NDArray[np.float64]:
        r"""Minus the log of the predictive density of each target, float64 of shape (n_rows,).

        :math:`-\ln \int p(y \mid z)\, N(z; \text{logit}, \text{std}^2)\, dz`, with p(y | z) = exp(−`loss`), up to a
        constant of y, by Gauss-Hermite quadrature with 20 nodes.

        Parameters
        ----------
        logits, std, y : array of shape (n_rows,)
        dispersion : float
            The variance of the target given the logit, in units of the loss.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(20)
        z = np.asarray(logits, np.float64)[:, None] + np.asarray(std, np.float64)[:, None] * nodes
        losses = self.loss(z, np.asarray(y, np.float64)[:, None])
        least = losses.min(1, keepdims=True)
        return np.asarray(least[:, 0] - np.log(np.exp(least - losses) @ (weights / weights.sum())))

    def residual_dispersion(
        self, logits: NDArray[Any], y: NDArray[Any], std: NDArray[Any], weight: NDArray[Any]
    ) -> float:
        """The dispersion of `predictive_loss` that rows show whose logits have a standard deviation; all (n_rows,)."""
        return 1.0

    @abstractmethod
    def predictions(self, logits: Array) -> Array:
        """The inverse link: what a logit predicts."""

    def logit_range(self, low: float, high: float) -> tuple[float, float] | None:
        """The logits that predict the numbers `low` and `high`: predictions are clipped to those of training.

        None for a classification, whose link bounds the prediction.
        """
        return None

    @abstractmethod
    def check_target(self, y: NDArray[Any], present: NDArray[np.bool_]) -> None:
        """Raise InputError, naming the row, for the first target that breaks the task's rule where `present`."""

    @abstractmethod
    def statistics(self, y: NDArray[np.float64], weight: NDArray[np.float64]) -> TargetStatistics:
        """The statistics of training targets y with row weights, both of shape (n_rows,)."""

    @abstractmethod
    def dispersion(self, mean_loss: float) -> float:
        """The variance of the target given the logit, in units of the scaled target's loss; 1 for a likelihood."""


class Binary(Task):
    r"""Two classes: logistic loss :math:`\ln(1 + e^z) - y z`; a logit z predicts :math:`1 / (1 + e^{-z})`."""

    name = "binary"
    metrics = ("logloss", "auc", "normalized_entropy", "calibration_error", "calibration_ratio")
    loss_metric = "logloss"
    is_classification = True
    loss_title = "logloss"
    native_loss = "logistic"
    n_safe_occurrences = 8

    def loss(self, logits: Array, y: Array) -> Array:
        numbers = library(logits)
        # In this order a small loss keeps its digits: for y = 1 and a large logit the first term is exactly 0.
        return (logits.clip(0) - y * logits) + numbers.log1p(numbers.exp(-abs(logits)))

    def gradient(self, logits: Array, y: Array, clip: tuple[float, float] | None) -> Array:
        return self.predictions(logits) - y

    def curvature(self, logits: Array) -> Array:
        probability = self.predictions(logits)
        return probability * (1 - probability)

    def predictions(self, logits: Array) -> Array:
        numbers = library(logits)
        small = numbers.exp(-abs(logits))
        return numbers.where(logits >= 0, 1.0, small) / (1.0 + small)

    def check_target(self, y: NDArray[Any], present: NDArray[np.bool_]) -> None:
        refuse_rows(present & (y != 0) & (y != 1), y, "the target of a binary task must be 0 or 1")

    def statistics(self, y: NDArray[np.float64], weight: NDArray[np.float64]) -> TargetStatistics:
        rate = min(max(float(y @ weight) / max(weight.sum(), 1e-30), 1e-6), 1 - 1e-6)
        return TargetStatistics(base_logit=float(np.log(rate / (1 - rate))))

    def dispersion(self, mean_loss: float) -> float:
        return 1.0


class Regression(Task):
    r"""A number: squared loss :math:`(z - y)^2 / 2`; the logit is the prediction.

    The derivative is taken at a logit held within the range of the training targets and a margin: a fitted model never
    leaves it, and one that does in its first steps returns instead of diverging.
    """

    name = "regression"
    metrics = ("rmse", "mae", "r2")
    loss_metric = "rmse"
    is_classification = False
    has_squared_loss = True
    loss_title = "squared error"
    loss_metric_power = 2
    logit_is_prediction = True
    native_loss = "squared"
    log_factor_std = 0.5
    n_safe_occurrences = 2  # the derivative is not bounded

    def loss(self, logits: Array, y: Array) -> Array:
        return (logits - y) ** 2 / 2

    def reported_loss(self, logits: Array, y: Array) -> Array:
        return (logits - y) ** 2

    def gradient(self, logits: Array, y: Array, clip: tuple[float, float] | None) -> Array:
        return (logits if clip is None else logits.clip(*clip)) - y

    def curvature(self, logits: Array) -> Array:
        return library(logits).ones_like(logits)

    def predictive_loss(self, logits: Array, std: Array, y: Array, dispersion: float = 1.0) -> NDArray[np.float64]:
        variance = dispersion + np.asarray(std, np.float64) ** 2
        residual = np.asarray(logits, np.float64) - np.asarray(y, np.float64)
        return np.asarray((np.log(2 * np.pi * variance) + residual**2 / variance) / 2)

    def residual_dispersion(
        self, logits: NDArray[Any], y: NDArray[Any], std: NDArray[Any], weight: NDArray[Any]
    ) -> float:
        error = float(np.average((logits - y) ** 2, weights=weight))
        return max(error - float(np.average(std**2, weights=weight)), 0.01 * error, 1e-12)

    def predictions(self, logits: Array) -> Array:
        return logits

    def logit_range(self, low: float, high: float) -> tuple[float, float]:
        return low, high

    def check_target(self, y: NDArray[Any], present: NDArray[np.bool_]) -> None:
        refuse_rows(present & ~np.isfinite(y), y, "the target of a regression must be a finite number")

    def statistics(self, y: NDArray[np.float64], weight: NDArray[np.float64]) -> TargetStatistics:
        total = max(weight.sum(), 1e-30)
        mean = float(y @ weight) / total
        deviation = float(np.sqrt((y - mean) ** 2 @ weight / total))
        scale = deviation if deviation > 0 else max(abs(mean), 1.0)
        return TargetStatistics(mean, mean, scale, (float(y.min()) - scale, float(y.max()) + scale))

    def dispersion(self, mean_loss: float) -> float:
        return max(2 * mean_loss, 1e-6)


class Poisson(Task):
    r"""A count, or another number of at least 0, whose mean is a product of effects: a logit z predicts :math:`e^z`.

    The loss is half the Poisson deviance, :math:`e^z - y - y (z - \ln y)` (McCullagh and Nelder, "Generalized Linear
    Models", 1989, section 2.3), 0 where the prediction is the target. The derivative is taken at a
    logit of at most that of the largest training target and a margin, since it has no bound.
    """

    name = "poisson"
    metrics = ("poisson_deviance", "mae", "rmse")
    loss_metric = "poisson_deviance"
    is_classification = False
    loss_title = "Poisson deviance"
    least_target = 0.0
    native_loss = "poisson"
    n_safe_occurrences = 2  # the derivative is not bounded

    def loss(self, logits: Array, y: Array) -> Array:
        numbers = library(logits)
        return numbers.exp(logits) - y - y * (logits - numbers.log(numbers.where(y > 0, y, numbers.ones_like(y))))

    def reported_loss(self, logits: Array, y: Array) -> Array:
        return 2 * self.loss(logits, y)

    def gradient(self, logits: Array, y: Array, clip: tuple[float, float] | None) -> Array:
        return self.predictions(logits if clip is None else logits.clip(*clip)) - y

    def curvature(self, logits: Array) -> Array:
        return self.predictions(logits)

    def predictions(self, logits: Array) -> Array:
        return library(logits).exp(logits)

    def logit_range(self, low: float, high: float) -> tuple[float, float]:
        return float(np.log(low)) if low > 0 else -np.inf, float(np.log(high)) if high > 0 else -np.inf

    def check_target(self, y: NDArray[Any], present: NDArray[np.bool_]) -> None:
        good = np.isfinite(y) & (y >= 0)
        refuse_rows(present & ~good, y, "the target of a Poisson task must be a finite number of at least 0")

    def statistics(self, y: NDArray[np.float64], weight: NDArray[np.float64]) -> TargetStatistics:
        mean = max(float(y @ weight) / max(weight.sum(), 1e-30), 1e-6)
        return TargetStatistics(float(np.log(mean)), clip=(-np.inf, float(np.log(max(y.max(), mean))) + 1))

    def dispersion(self, mean_loss: float) -> float:
        return 1.0


TASKS: Mapping[str, Task] = {task.name: task for task in (Binary(), Regression(), Poisson())}
MONITORED_METRICS = tuple(
    dict.fromkeys(name for task in TASKS.values() for name in task.metrics if name != "calibration_ratio")
)
"""The metrics that early stopping can monitor: of a calibration ratio, neither more nor less is better."""


def get_task(name: str) -> Task:
    """The task of this name; SettingError for an unknown one."""
    if name not in TASKS:
        raise SettingError(got(f"task must be one of {', '.join(TASKS)}", task=name))
    return TASKS[name]


def library(array: Array) -> Any:
    """numpy or torch, whichever made the array; torch is loaded already if it did."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def refuse_rows(bad: NDArray[np.bool_], values: NDArray[Any], rule: str) -> None:
    """Raise InputError for the first row where `bad`, naming its number and value."""
    rows = np.flatnonzero(bad)
    if len(rows):
        row = int(rows[0])
        raise InputError(located(f"{rule}, but {len(rows)} rows break this", row=row + 1, value=values[row].item()))
