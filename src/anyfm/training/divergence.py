"""Training that diverges: found early, with advice on which setting to change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import DivergenceError
from anyfm.core.rows import Rows
from anyfm.engines.base import Engine
from anyfm.models import BaseModel

MAX_LOSS_RATIO = 10
SAMPLE_SIZE = 4096
LARGE_VALUE = 10.0
LARGE_TARGET = 1000.0


class DivergenceGuard:
    """Checks the training loss and the parameters.

    Training has diverged when a loss or a parameter is not finite, or when an epoch's mean loss is more than ten times
    that of the initial model and more than ten times that of predicting logit 0 (for regression, the mean target) for
    every row: such a model has learned nothing, and its parameters are about to overflow.
    """

    def __init__(self, engine: Engine, train: Rows) -> None:
        self._engine = engine
        self._train = train
        # Rows from all over the table, since tables often come sorted.
        sample = train.take(np.linspace(0, train.n_rows - 1, min(train.n_rows, SAMPLE_SIZE)).astype(np.int64))
        initial = engine.logits(sample)
        if not np.isfinite(initial).all():
            raise self.error("the initial parameters give logits that are not finite")
        self._limit = MAX_LOSS_RATIO * max(self._mean_loss(initial, sample), self._base_loss())

    def check_loss(self, loss: float, *, epoch: int) -> None:
        """Raise DivergenceError unless the loss summed over rows of an epoch is a finite number."""
        if not math.isfinite(loss):
            raise self.error(f"the training loss became {loss} in epoch {epoch}")

    def check_epoch(self, train_loss: float, *, epoch: int) -> None:
        """Raise DivergenceError if an epoch's mean loss is above the limit."""
        if train_loss > self._limit:
            raise self.error(
                f"the training loss of epoch {epoch} is {train_loss:.4g}, more than {MAX_LOSS_RATIO} times that of a "
                "model that has learned nothing"
            )

    def check_parameters(self) -> None:
        """Raise DivergenceError if a parameter is not finite: no loss shows what the last update did."""
        for name, array in self._engine.parameters().items():
            if not np.isfinite(array).all():
                raise self.error(f"training left parameters {name!r} that are not finite numbers")

    def error(self, problem: str) -> DivergenceError:
        """An error of this problem, with the advice."""
        return DivergenceError(f"{problem}. {advice(self._engine.model, self._train)}")

    def _base_loss(self) -> float:
        """The mean loss of logit 0; of a regression that of the mean target, in units of which it is trained."""
        rows, task = self._train, self._engine.model.task
        if task.is_classification or rows.y is None:
            return self._mean_loss(np.zeros(1), rows)
        weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight.astype(np.float64)
        return task.statistics(rows.y.astype(np.float64), weight).scale ** 2 / 2

    def _mean_loss(self, logits: ArrayLike, rows: Rows) -> float:
        assert rows.y is not None
        losses = self._engine.model.task.loss(np.asarray(logits, np.float64), rows.y)
        return float(np.average(losses, weights=rows.weight))


def advice(model: BaseModel, rows: Rows) -> str:
    """What to change when training diverged, as sentences that name the settings and their present values."""
    settings = model.settings.to_dict()
    rates = {name: value for name, value in settings.items() if name.endswith("learning_rate") and value}
    lower = (f"{name} (now {rate:g}), for example to {rate / 5:g}" for name, rate in rates.items())
    hints = ["Lower " + " or ".join(lower)]
    largest = 1.0 if rows.values is None else _largest(rows.values)
    if largest > LARGE_VALUE:
        normalize = ", or turn normalize on" if settings.get("normalize") is False else ""
        hints.append(f"Feature values reach {largest:.4g}: scale or bin that numeric field{normalize}")
    if not model.task.is_classification and rows.y is not None and _largest(rows.y) > LARGE_TARGET:
        hints.append(f"Targets reach {_largest(rows.y):.4g}: train on a scaled target or its logarithm")
    if settings.get("init_scale", 0) > 1:
        hints.append(f"Lower init_scale (now {settings['init_scale']:g})")
    return ". ".join(hints)


def _largest(array: NDArray[Any]) -> float:
    """The largest absolute value, 0 if there is none, without a copy of the array."""
    return max(float(array.max(initial=0)), -float(array.min(initial=0)))
