"""Calibration: the reliability table, predicted against observed in bins of predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.task import Task, get_task
from anyfm.metrics.scored_rows import Doubles, ScoredRows, Ties

Z_95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins by rising prediction; every array has shape (n_bins,), without empty bins.

    Parameters
    ----------
    n_rows : int64 array
        Rows of positive weight in the bin.
    weight : float64 array
        Their total weight.
    lowest, highest, mean_predicted : float64 array
        The range and the weighted mean of the predictions (probabilities, or numbers for regression).
    mean_observed : float64 array
        The weighted mean target.
    lower, upper : float64 array
        The 95 % confidence interval of `mean_observed`, a unit of weight counted as an independent row.
    """

    n_rows: NDArray[np.int64]
    weight: Doubles
    lowest: Doubles
    highest: Doubles
    mean_predicted: Doubles
    mean_observed: Doubles
    lower: Doubles
    upper: Doubles


def reliability(
    y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None, *, task: Task | None = None, n_bins: int = 10
) -> Reliability:
    """Group rows by prediction into at most `n_bins` bins of about equal weight; compare predicted with observed.

    Equal logits share a bin: the b-th n_bins-th of the total weight in which the middle of their own weight lies. So
    the table depends neither on the order of rows nor on whether rows are repeated or weighted.

    Parameters
    ----------
    y, logits, weight : array of shape (n_rows,)
        As for the metrics.
    task : Task, optional
        By default binary. Intervals of classification are Wilson's score interval (1927), others the mean ± 1.96
        standard errors.
    """
    return calibration_table(ScoredRows.of(task or get_task("binary"), y, logits, weight), n_bins)


def calibration_table(rows: ScoredRows, n_bins: int) -> Reliability:
    """`reliability` of checked rows."""
    if n_bins < 1:
        raise SettingError(got("n_bins must be an integer of at least 1", n_bins=n_bins))
    ties = rows.ties
    predicted = rows.task.predictions(ties.logits)
    starts = _bin_starts(ties, n_bins)
    weight = np.add.reduceat(ties.weight, starts)
    mean_observed = np.add.reduceat(ties.positive, starts) / weight
    if rows.task.is_classification:
        lower, upper = _wilson(mean_observed, weight)
    else:
        half = Z_95 * np.sqrt(_variance(rows, ties.logits[starts], mean_observed, weight) / weight)
        lower, upper = mean_observed - half, mean_observed + half
    return Reliability(
        n_rows=np.add.reduceat(ties.n_rows, starts),
        weight=weight,
        lowest=predicted[starts],
        highest=predicted[np.append(starts[1:], len(predicted)) - 1],
        mean_predicted=np.add.reduceat(ties.weight * predicted, starts) / weight,
        mean_observed=mean_observed,
        lower=lower,
        upper=upper,
    )


def _bin_starts(ties: Ties, n_bins: int) -> NDArray[np.int64]:
    """The first tied group of each bin that is not empty."""
    ends = np.cumsum(ties.weight)
    middles = ends - 0.5 * ties.weight
    bins = np.minimum(np.floor(n_bins * middles / ends[-1]), n_bins - 1)
    return np.flatnonzero(np.concatenate([[True], bins[1:] != bins[:-1]]))


def _wilson(rate: Doubles, n: Doubles) -> tuple[Doubles, Doubles]:
    center = (rate + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * np.sqrt(rate * (1 - rate) / n + Z_95**2 / (4 * n**2))
    return np.clip(center - half, 0.0, rate), np.clip(center + half, rate, 1.0)


def _variance(rows: ScoredRows, first_logits: Doubles, mean_observed: Doubles, weight: Doubles) -> Doubles:
    """The weighted variance of the target in each bin; in two passes, since one loses digits."""
    bins = np.searchsorted(first_logits, rows.logits, side="right") - 1
    squares = rows.weight * (rows.y - mean_observed[bins]) ** 2
    return np.bincount(bins, weights=squares, minlength=len(weight)) / weight
