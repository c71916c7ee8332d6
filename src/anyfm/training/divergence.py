"""Training that leaves the finite numbers, or runs away from the data: found early, and told what to lower."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np

from anyfm.core.errors import DivergenceError
from anyfm.core.rows import Rows
from anyfm.engines.base import Engine
from anyfm.metrics.functions import mean_loss
from anyfm.models import BaseModel

RUNAWAY_FACTOR = 10
SAMPLE_ROWS = 4096
LARGE_VALUE = 10.0


class DivergenceGuard:
    """Watches the training loss and the parameters.

    A loss that is not finite is divergence at once. So is an epoch whose mean loss is more than ten times what the
    model started from and more than ten times the loss of predicting 0 for every row: such a model has learned
    nothing and is on its way to overflow.
    """

    def __init__(self, engine: Engine, train: Rows) -> None:
        self._engine = engine
        self._train = train
        # Spread over all rows, since tables often come sorted.
        sample = train.take(np.linspace(0, train.n_rows - 1, min(train.n_rows, SAMPLE_ROWS)).astype(np.int64))
        start = engine.logits(sample)
        if not np.isfinite(start).all():
            raise DivergenceError(
                f"the parameters that training starts from give logits that are not finite. {self._advice}"
            )
        assert sample.y is not None
        at_start = mean_loss(engine.model.settings.task, sample.y, start, sample.weight)
        self._limit = RUNAWAY_FACTOR * max(at_start, _loss_at_zero(engine.model.settings.task, train))

    @property
    def _advice(self) -> str:
        return advice(self._engine.model, self._train)

    def check_loss(self, loss: float, *, epoch: int, n_rows: int) -> None:
        """Raise DivergenceError unless the loss summed over an epoch's first `n_rows` rows is a finite number."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the training loss became {loss} in epoch {epoch}, by row {n_rows:,}. {self._advice}"
            )

    def check_epoch(self, train_loss: float, *, epoch: int) -> None:
        """Raise DivergenceError if an epoch's mean loss has run away."""
        if train_loss > self._limit:
            raise DivergenceError(
                f"the training loss of epoch {epoch} is {train_loss:.4g}, over {RUNAWAY_FACTOR} times what predicting "
                f"nothing costs. {self._advice}"
            )

    def check_parameters(self) -> None:
        """Raise DivergenceError if a parameter is not finite: the last steps may break one that no loss has shown."""
        for name, array in self._engine.parameters().items():
            if not np.isfinite(array).all():
                raise DivergenceError(f"training left parameters {name!r} that are not finite numbers. {self._advice}")

    def explain(self, error: DivergenceError, *, epoch: int) -> DivergenceError:
        """The same error, with the epoch and the advice."""
        return DivergenceError(f"validation after epoch {epoch}: {error}. {self._advice}")


def advice(model: BaseModel, rows: Rows) -> str:
    """What to change when training diverged, as sentences that name the settings and their present values."""
    names = {item.name for item in fields(model.settings)}
    hints = []
    if "learning_rate" in names:
        rate = model.settings.learning_rate
        hints.append(f"Lower learning_rate (now {rate:g}), for example to {rate / 5:g}")
    else:
        hints.append("Lower the step size of the model's optimiser")
    largest = _largest_value(rows)
    if largest > LARGE_VALUE:
        normalize = ", or set normalize=true" if getattr(model.settings, "normalize", None) is False else ""
        hints.append(f"Feature values reach {largest:.4g}: scale or bin that numeric field{normalize}")
    if model.settings.task == "regression" and rows.y is not None and float(np.abs(rows.y).max()) > 1000:
        hints.append(f"Targets reach {float(np.abs(rows.y).max()):.4g}: train on a scaled target or its logarithm")
    if "init_scale" in names and model.settings.init_scale > 1:
        hints.append(f"Lower init_scale (now {model.settings.init_scale:g})")
    return ". ".join(hints)


def _loss_at_zero(task: str, rows: Rows) -> float:
    """The mean loss of predicting 0 for every row."""
    assert rows.y is not None
    if task == "binary":
        return math.log(2)
    return float(np.average(np.square(rows.y, dtype=np.float64), weights=rows.weight))


def _largest_value(rows: Rows) -> float:
    if rows.values is None or rows.values.size == 0:
        return 1.0
    return max(float(rows.values.max()), -float(rows.values.min()))  # np.abs would copy them all
