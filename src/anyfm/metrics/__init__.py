"""Metrics of predictions, and calibration."""

from __future__ import annotations

from anyfm.metrics.calibration import Reliability, reliability
from anyfm.metrics.ranking_metrics import GroupedRows, evaluate_groups
from anyfm.metrics.row_metrics import (
    METRICS,
    Metric,
    UndefinedMetricError,
    auc,
    calibration_error,
    calibration_ratio,
    evaluate,
    logloss,
    mae,
    mean_loss,
    normalized_entropy,
    poisson_deviance,
    r2,
    rmse,
)
from anyfm.metrics.scored_rows import ScoredRows, Ties, present_rows, probability

__all__ = [
    "METRICS",
    "GroupedRows",
    "Metric",
    "Reliability",
    "ScoredRows",
    "Ties",
    "UndefinedMetricError",
    "auc",
    "calibration_error",
    "calibration_ratio",
    "evaluate",
    "evaluate_groups",
    "logloss",
    "mae",
    "mean_loss",
    "normalized_entropy",
    "poisson_deviance",
    "present_rows",
    "probability",
    "r2",
    "reliability",
    "rmse",
]
