r"""Metrics of predictions: exact, weighted, in float64.

Call a metric with ``(y, logits, weight=None)``, arrays of shape (n_rows,). A row of weight w counts as w copies of it,
and one of weight 0 as absent. For regression the logits are the predictions themselves. No metric is ever NaN: a
logit that is not finite is a DivergenceError, a target or weight that breaks its rule an InputError, and rows for
which a metric is not defined (one class for the AUC) an UndefinedMetricError.

They are not scikit-learn's. Importing `sklearn.metrics` takes more than half a second, its AUC of 10 million rows takes
as long as ours (3 to 5 s), and its logloss takes probabilities, which lose the digits of large logits, and eight times
as long.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from anyfm.core.errors import InputError, got
from anyfm.core.task import Task, get_task
from anyfm.metrics.calibration import calibration_table
from anyfm.metrics.scored_rows import ScoredRows


class UndefinedMetricError(InputError):
    """The rows leave a metric undefined."""


class Metric:
    """A function of targets, logits and weights, registered by name in `METRICS`.

    Attributes
    ----------
    greater_is_better : bool or None
        None where neither is: the best value lies between.
    """

    __name__: str

    def __init__(self, compute: Callable[..., float], task: Task, greater_is_better: bool | None) -> None:
        functools.update_wrapper(self, compute)
        self.compute = compute
        self.task = task
        self.greater_is_better = greater_is_better

    def __call__(self, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None, **options: Any) -> float:
        return self.compute(ScoredRows.of(self.task, y, logits, weight), **options)

    def __repr__(self) -> str:
        return f"<metric {self.__name__}>"


METRICS: dict[str, Metric] = {}
"""All metrics by name."""


def metric(task: str, *, greater_is_better: bool | None) -> Callable[[Callable[..., float]], Metric]:
    """Register a function of `ScoredRows` as a metric of targets that obey the rule of this task."""

    def register(compute: Callable[..., float]) -> Metric:
        METRICS[compute.__name__] = Metric(compute, get_task(task), greater_is_better)
        return METRICS[compute.__name__]

    return register


def evaluate(task: Task, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> dict[str, float]:
    """The metrics of a task by name, without those that the rows leave undefined."""
    rows = ScoredRows.of(task, y, logits, weight)
    scores = {}
    for name in task.metrics:
        try:
            scores[name] = METRICS[name].compute(rows)
        except UndefinedMetricError:
            continue
    return scores


def mean_loss(task: Task, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The weighted mean of the task's reported loss: logloss, or the squared error."""
    return ScoredRows.of(task, y, logits, weight).mean_loss


@metric("binary", greater_is_better=False)
def logloss(rows: ScoredRows) -> float:
    r"""Weighted mean logloss in nats: :math:`\ln(1 + e^{-z})` where y = 1, :math:`\ln(1 + e^{z})` where y = 0."""
    return rows.mean_loss


@metric("binary", greater_is_better=True)
def auc(rows: ScoredRows) -> float:
    """The exact area under the ROC curve, ties counted half, in O(n log n).

    It is the probability that a positive row scores above a negative one (Hanley and McNeil 1982), rows drawn by
    weight. Undefined for one class.
    """
    _need_both_classes(rows, "the AUC")
    positive, negative = rows.ties.positive, rows.ties.weight - rows.ties.positive
    negative_below = negative.cumsum() - negative
    won = float((positive * (negative_below + 0.5 * negative)).sum())
    # Rounding of fractional weights may give a little more than 1.
    return min(1.0, won / (float(positive.sum()) * float(negative.sum())))


@metric("binary", greater_is_better=False)
def normalized_entropy(rows: ScoredRows) -> float:
    """Logloss divided by the entropy of the base rate: below 1 is better than always predicting the base rate.

    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 3. Undefined for one
    class, whose base rate has no entropy.
    """
    _need_both_classes(rows, "the normalized entropy")
    rate = rows.mean_target
    return rows.mean_loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


@metric("binary", greater_is_better=False)
def calibration_error(rows: ScoredRows, *, n_bins: int = 15) -> float:
    """Expected calibration error: the weighted mean over quantile bins of |mean predicted − mean observed|, in [0, 1].

    Bins of equal weight rather than of equal width (Nixon et al., "Measuring Calibration in Deep Learning", 2019),
    since the predictions of rare events are all near 0. Equal logits share a bin; see `calibration.reliability`.
    """
    table = calibration_table(rows, n_bins)
    return float((table.weight * abs(table.mean_predicted - table.mean_observed)).sum() / table.weight.sum())


@metric("binary", greater_is_better=None)
def calibration_ratio(rows: ScoredRows) -> float:
    """Mean predicted probability divided by the mean observed one: above 1 predictions are too high.

    Undefined without positive rows.
    """
    if rows.mean_target == 0:
        raise UndefinedMetricError(got("the calibration ratio needs a positive row", mean_target=0.0))
    return rows.mean(rows.predictions) / rows.mean_target


@metric("regression", greater_is_better=False)
def rmse(rows: ScoredRows) -> float:
    """The root of the weighted mean squared error, in units of the target."""
    return math.sqrt(_mean_squared_error(rows))


@metric("regression", greater_is_better=False)
def mae(rows: ScoredRows) -> float:
    """The weighted mean absolute error, in units of the target."""
    return rows.mean(abs(rows.predictions - rows.y))


@metric("regression", greater_is_better=True)
def r2(rows: ScoredRows) -> float:
    """The fraction of the target's variance that is explained: 1 − mean squared error / variance.

    Undefined where all targets are equal.
    """
    if _is_constant(rows):
        raise UndefinedMetricError(got("r2 needs a target that varies", y=float(rows.y[0])))
    return 1.0 - _mean_squared_error(rows) / rows.mean((rows.y - rows.mean_target) ** 2)


@metric("poisson", greater_is_better=False)
def poisson_deviance(rows: ScoredRows) -> float:
    """The weighted mean of 2 (y ln(y / μ) − (y − μ)) with the predicted mean μ, the exponential of the logit."""
    return rows.mean_loss


def _mean_squared_error(rows: ScoredRows) -> float:
    return rows.mean((rows.predictions - rows.y) ** 2)


def _is_constant(rows: ScoredRows) -> bool:
    return bool(rows.y.min() == rows.y.max())


def _need_both_classes(rows: ScoredRows, name: str) -> None:
    if _is_constant(rows):
        raise UndefinedMetricError(got(f"{name} needs rows of both classes", only_class=int(rows.y[0])))
