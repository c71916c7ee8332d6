"""How certain a trained model is: the deviations of its parameters, calibrated on held-out rows."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Rows
from anyfm.core.task import Task
from anyfm.engines.base import Engine, GradientEngine
from anyfm.engines.memory import MemoryLimitError
from anyfm.engines.posterior import Posterior

N_ROWS, N_DRAWS = 4000, 32
"""Held-out rows that the factor is chosen on, at most, and draws of each."""
FACTORS = np.exp(np.linspace(np.log(0.25), np.log(4.0), 33))

logger = logging.getLogger("anyfm.training")


def parameter_deviations(
    engine: Engine,
    train: Rows,
    *,
    field_of: NDArray[np.int32] | None,
    unseen: NDArray[np.int64] | None,
    n_threads: int = 0,
) -> dict[str, Floats]:
    """The deviations that `NativeEngine.deviations` finds, whatever engine trained; empty for a model without a kernel.

    Afterwards a native engine must be prepared again.
    """
    from anyfm.engines.native import NativeEngine

    if "native" not in engine.model.engines or not isinstance(engine, GradientEngine):
        return {}
    native = engine
    if not isinstance(native, NativeEngine):
        try:
            sizes = {"n_features": engine.n_features, "n_fields": engine.n_fields, "n_threads": n_threads}
            native = NativeEngine(engine.model, **sizes)
        except MemoryLimitError as error:
            logger.warning("standard deviations are left out: %s", error)
            return {}
        native.adopt(engine, train)
    return native.deviations(train, field_of, unseen)


def calibration_factor(posterior: Posterior, task: Task, logits: NDArray[Any], valid: Rows, *, seed: int) -> float:
    """What all standard deviations are multiplied by: the factor under which held-out targets are most probable.

    On at most 4000 rows, drawn by `seed`. The log of the factor has a normal prior around 0, whose standard deviation
    is the task's `log_factor_std`. The noise of the targets of a regression is estimated beside it: their mean squared
    error less the mean variance of the logits.
    """
    assert valid.y is not None
    chosen = np.arange(valid.n_rows)
    if valid.n_rows > N_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(valid.n_rows, N_ROWS, replace=False))
    rows = valid.take(chosen)
    assert rows.y is not None
    z, y = logits[chosen].astype(np.float64), rows.y.astype(np.float64)
    weight = np.ones(len(y)) if rows.weight is None else rows.weight.astype(np.float64)
    std = posterior.std(rows, n_draws=N_DRAWS)
    scores = []  # minus the log of the posterior density of each factor
    for factor in FACTORS:
        dispersion = task.residual_dispersion(z, y, factor * std, weight)
        loss = weight @ task.predictive_loss(z, factor * std, y, dispersion)
        scores.append(loss + np.log(factor) ** 2 / (2 * task.log_factor_std**2))
    return float(FACTORS[np.argmin(scores)])
