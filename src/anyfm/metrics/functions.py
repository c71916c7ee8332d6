"""How good predictions are: exact, weighted, in logit space and float64.

Every metric takes ``(y, logits, weight=None)``, arrays of shape (n_rows,). Weight w counts as w copies of the row
and weight 0 as none. For regression the logits are the predictions themselves. A logit that is not finite is a
DivergenceError, a target or weight that breaks its rule an InputError: no metric is ever NaN. A metric that the rows
leave undefined (the AUC of one class, say) is an InputError too; `evaluate` leaves such a metric out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from anyfm.core.errors import InputError, SettingError, got
from anyfm.metrics.calibration import expected_calibration_error
from anyfm.metrics.scored import Scored, probability

N_CALIBRATION_BINS = 15


def logloss(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    r"""Weighted mean logloss in nats: :math:`\ln(1 + e^{-z})` where y = 1, :math:`\ln(1 + e^{z})` where y = 0."""
    return _logloss(Scored.of(y, logits, weight))


def auc(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The exact area under the ROC curve, ties counted half, in O(n log n).

    This is the chance that a positive row scores above a negative one (Hanley and McNeil 1982), rows drawn by weight.

    Raises
    ------
    InputError
        Only one class has positive weight.
    """
    return _auc(_both_classes("the AUC", Scored.of(y, logits, weight)))


def normalised_entropy(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Logloss divided by the entropy of the base rate: below 1 is better than always predicting the base rate.

    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 3.

    Raises
    ------
    InputError
        Only one class has positive weight, so that the base rate has no entropy.
    """
    return _normalised_entropy(_both_classes("the normalised entropy", Scored.of(y, logits, weight)))


def calibration_error(
    y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None, *, n_bins: int = N_CALIBRATION_BINS
) -> float:
    """Expected calibration error: the mean of |mean predicted − mean observed| over quantile bins, weighted by bin.

    Bins of equal weight rather than of equal width (Nixon et al., "Measuring Calibration in Deep Learning", 2019),
    since rare events crowd all predictions near 0. Equal logits share a bin; see `calibration.reliability`.
    """
    return expected_calibration_error(Scored.of(y, logits, weight), n_bins)


def calibration_ratio(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean predicted probability divided by the mean observed: above 1 the model promises too much.

    Raises
    ------
    InputError
        No positive row has positive weight.
    """
    scored = Scored.of(y, logits, weight)
    if scored.mean_target == 0:
        raise InputError(got("the calibration ratio needs a positive row", mean_target=0.0))
    return _calibration_ratio(scored)


def rmse(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The root of the weighted mean squared error, in units of the target."""
    return _rmse(Scored.of(y, logits, weight, task="regression"))


def mae(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The weighted mean absolute error, in units of the target."""
    return _mae(Scored.of(y, logits, weight, task="regression"))


def r2(y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The share of the target's variance that is explained: 1 − mean squared error / variance.

    Raises
    ------
    InputError
        The target has no variance.
    """
    scored = Scored.of(y, logits, weight, task="regression")
    if not _varies(scored):
        raise InputError(got("r2 needs a target that varies", y=float(scored.y[0])))
    return _r2(scored)


def evaluate(task: str, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> dict[str, float]:
    """All metrics of a task by name.

    Parameters
    ----------
    task : {"binary", "regression"}

    Returns
    -------
    dict of str to float
        Binary: logloss, auc, normalised_entropy, calibration_error, calibration_ratio. Regression: rmse, mae, r2.
        A metric that the rows leave undefined is left out: auc and normalised_entropy where only one class is
        present, calibration_ratio without positives, r2 without variance.
    """
    if task not in _DEFINED:
        raise SettingError(got(f"task must be one of {', '.join(_DEFINED)}", task=task))
    scored = Scored.of(y, logits, weight, task=task)
    return {name: metric(scored) for name, metric in _DEFINED[task](scored).items()}


def mean_loss(task: str, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The weighted mean of what training lowers: logloss, or the squared error (z − y)² without a factor of ½."""
    scored = Scored.of(y, logits, weight, task=task)
    return _logloss(scored) if task == "binary" else _mse(scored)


def _logloss(scored: Scored) -> float:
    margin = np.where(scored.y == 1, scored.logits, -scored.logits)
    return scored.mean(np.logaddexp(0.0, -margin))


def _auc(scored: Scored) -> float:
    ties = scored.ties
    negative = ties.weight - ties.positive
    negative_below = np.cumsum(negative) - negative
    won = float((ties.positive * (negative_below + 0.5 * negative)).sum())
    # Fractional weights round; an area past 1 would be a rounding error and nothing else.
    return min(1.0, won / (float(ties.positive.sum()) * float(negative.sum())))


def _normalised_entropy(scored: Scored) -> float:
    rate = scored.mean_target
    return _logloss(scored) / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def _calibration_error(scored: Scored) -> float:
    return expected_calibration_error(scored, N_CALIBRATION_BINS)


def _calibration_ratio(scored: Scored) -> float:
    return scored.mean(probability(scored.logits)) / scored.mean_target


def _mse(scored: Scored) -> float:
    return scored.mean((scored.logits - scored.y) ** 2)


def _rmse(scored: Scored) -> float:
    return math.sqrt(_mse(scored))


def _mae(scored: Scored) -> float:
    return scored.mean(np.abs(scored.logits - scored.y))


def _r2(scored: Scored) -> float:
    return 1.0 - _mse(scored) / scored.mean((scored.y - scored.mean_target) ** 2)


def _varies(scored: Scored) -> bool:
    return bool(scored.y.min() != scored.y.max())


def _both_classes(what: str, scored: Scored) -> Scored:
    if not _varies(scored):
        raise InputError(got(f"{what} needs rows of both classes", only_class=int(scored.y[0])))
    return scored


Metric = Callable[[Scored], float]


def _binary_metrics(scored: Scored) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"logloss": _logloss}
    if _varies(scored):
        metrics |= {"auc": _auc, "normalised_entropy": _normalised_entropy}
    metrics["calibration_error"] = _calibration_error
    if scored.mean_target > 0:
        metrics["calibration_ratio"] = _calibration_ratio
    return metrics


def _regression_metrics(scored: Scored) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"rmse": _rmse, "mae": _mae}
    return metrics | {"r2": _r2} if _varies(scored) else metrics


_DEFINED: dict[str, Callable[[Scored], dict[str, Metric]]] = {
    "binary": _binary_metrics,
    "regression": _regression_metrics,
}
