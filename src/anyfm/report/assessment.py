"""How well one model does on a table, in numbers: what the report draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.core.task import get_task
from anyfm.explain.contributions import field_names
from anyfm.explain.value_pairs import Z_95, value_name
from anyfm.metrics import ScoredRows, evaluate, probability
from anyfm.models.pairs import Doubles

N_POINTS = 200
N_RESAMPLES = 200
_RESAMPLED_ROWS = 20_000
# Resampling itself adds to this one, so that its interval would not hold the estimate.
_WITHOUT_INTERVAL = ("calibration_error",)


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval, and for all but the first model the difference to the first."""

    value: float
    lower: float | None = None
    upper: float | None = None
    difference: tuple[float, float, float] | None = None  # value, lower, upper


def estimates(
    task: str, y: Doubles, logits: Sequence[Doubles], weight: Doubles | None, *, seed: int = 0
) -> list[dict[str, Estimate]]:
    """The metrics of several models on the same rows, with intervals by the bootstrap (Efron 1979).

    All models see the same resamples, so that differences between them are paired. Of more than 20,000 rows, 20,000
    are resampled, and the spread is scaled by the square root of the share.
    """
    n_rows = len(y)
    full = [evaluate(get_task(task), y, one, weight) for one in logits]
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(n_rows)[:_RESAMPLED_ROWS]
    ones = np.ones(n_rows) if weight is None else weight
    shrink = np.sqrt(len(chosen) / n_rows)
    sampled = [evaluate(get_task(task), y[chosen], one[chosen], ones[chosen]) for one in logits]
    spread: list[dict[str, list[float]]] = [{name: [] for name in metrics_of} for metrics_of in full]
    for _ in range(N_RESAMPLES):
        copies = rng.multinomial(len(chosen), np.full(len(chosen), 1.0 / len(chosen)))
        resampled_weight = ones[chosen] * copies
        if not (resampled_weight > 0).any():
            continue
        for model, one in enumerate(logits):
            values = evaluate(get_task(task), y[chosen], one[chosen], resampled_weight)
            for name, found in spread[model].items():
                found.append(values.get(name, np.nan) - sampled[model].get(name, np.nan))
    moves = [{name: np.array(found) * shrink for name, found in of.items()} for of in spread]
    return [_with_intervals(full, moves, model) for model in range(len(logits))]


def _with_intervals(full: list[dict[str, float]], moves: list[dict[str, Doubles]], model: int) -> dict[str, Estimate]:
    found = {}
    for name, value in full[model].items():
        if name in _WITHOUT_INTERVAL:
            found[name] = Estimate(value)
            continue
        low, high = _quantiles(moves[model][name])
        difference = None
        if model > 0 and name in full[0]:
            gap = value - full[0][name]
            gap_low, gap_high = _quantiles(moves[model][name] - moves[0][name])
            difference = (gap, gap - gap_high, gap - gap_low)
        found[name] = Estimate(value, value - high, value - low, difference)
    return found


def _quantiles(moves: Doubles) -> tuple[float, float]:
    kept = moves[np.isfinite(moves)]
    if len(kept) == 0:
        return 0.0, 0.0
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve, arrays of shape (n_points,)."""

    x: Doubles
    y: Doubles


def binary_curves(y: Doubles, logits: Doubles, weight: Doubles | None) -> dict[str, Curve]:
    """ROC (false and true positive rate), precision by recall, and gain (share of positives by share of rows taken).

    Empty where only one class is present.
    """
    ties = ScoredRows.of(get_task("binary"), y, logits, weight).ties
    positive = np.concatenate([[0.0], np.cumsum(ties.positive[::-1])])
    taken = np.concatenate([[0.0], np.cumsum(ties.weight[::-1])])
    if not 0 < positive[-1] < taken[-1]:
        return {}
    negative = taken - positive
    recall, precision = positive / positive[-1], positive[1:] / taken[1:]
    return {
        "roc": _thinned(negative / negative[-1], recall),
        "pr": _thinned(recall[1:], precision),
        "gain": _thinned(taken / taken[-1], recall),
    }


def _thinned(x: Doubles, y: Doubles) -> Curve:
    """About N_POINTS of the points, evenly along both axes, the ends among them."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0.0, length[-1], N_POINTS)
    kept = np.unique(np.concatenate([[0], np.clip(np.searchsorted(length, wanted), 0, len(x) - 1), [len(x) - 1]]))
    return Curve(x[kept], y[kept])


@dataclass(frozen=True, eq=False)
class Histogram:
    """Shares of the rows' weight between `edges`, by group; every group sums to 1."""

    edges: Doubles
    shares: Mapping[str, Doubles]


def score_histogram(task: str, y: Doubles, logits: Doubles, weight: Doubles | None, *, n_bins: int = 40) -> Histogram:
    """Binary: the probabilities of each class; regression: the errors, predicted minus observed."""
    mass = np.ones(len(y)) if weight is None else weight
    if task == "binary":
        values, groups = probability(logits), {"positive rows": y == 1, "negative rows": y == 0}
        low, high = 0.0, 1.0
    else:
        values, groups = logits - y, {"errors": np.ones(len(y), bool)}
        low, high = (float(value) for value in np.quantile(values, [0.002, 0.998]))
        high = high if high > low else low + 1.0
    edges = np.linspace(low, high, n_bins + 1)
    shares = {}
    for name, member in groups.items():
        counted, _ = np.histogram(np.clip(values[member], low, high), bins=edges, weights=mass[member])
        if counted.sum() > 0:
            shares[name] = counted / counted.sum()
    return Histogram(edges, shares)


@dataclass(frozen=True)
class ErrorOfValue:
    """How well the rows with one value are predicted.

    Parameters
    ----------
    name : str
        "field=value".
    n_rows : int
    loss, loss_lower, loss_upper : float
        Mean logloss (or squared error) with its 95 % interval.
    predicted, observed : float
        Means of the predictions and of the target.
    gap, gap_lower, gap_upper : float
        Observed minus predicted, with its 95 % interval.
    """

    name: str
    n_rows: int
    loss: float
    loss_lower: float
    loss_upper: float
    predicted: float
    observed: float
    gap: float
    gap_lower: float
    gap_upper: float


def errors_by_value(artifact: Artifact, rows: Rows, logits: Doubles) -> tuple[float, list[ErrorOfValue]]:
    """The mean loss over all rows, and the errors of every value in at least 30 rows and 0.1 % of them.

    Raises
    ------
    AssertionError
        The rows have no target.
    """
    assert rows.y is not None
    y, binary = rows.y.astype(np.float64), artifact.model.settings.task == "binary"
    weight = np.ones(len(y)) if rows.weight is None else rows.weight.astype(np.float64)
    predicted = probability(logits) if binary else logits
    loss = np.logaddexp(0.0, np.where(y == 1, -logits, logits)) if binary else (logits - y) ** 2
    row, ids, fields = _entries(rows)
    once = np.unique(np.stack([row, ids]), axis=1, return_index=True)[1] if rows.is_ragged else slice(None)
    row, ids, fields = row[once], ids[once], fields[once]

    def mean(of_rows: Doubles) -> Doubles:
        total = np.bincount(ids, weights=(weight * of_rows)[row], minlength=artifact.n_features)
        return total / np.maximum(mass, 1e-300)

    counts = np.bincount(ids, minlength=artifact.n_features)
    mass = np.bincount(ids, weights=weight[row], minlength=artifact.n_features)
    field_of = np.zeros(artifact.n_features, np.int64)
    field_of[ids] = fields
    gap = y - predicted
    mean_loss, mean_predicted, mean_observed, mean_gap = mean(loss), mean(predicted), mean(y), mean(gap)
    loss_half = Z_95 * np.sqrt(np.maximum(mean(loss**2) - mean_loss**2, 0.0) / np.maximum(mass, 1e-300))
    variance = mean(predicted * (1 - predicted)) if binary else np.maximum(mean(gap**2) - mean_gap**2, 0.0)
    gap_half = Z_95 * np.sqrt(variance / np.maximum(mass, 1e-300))
    names = field_names(artifact)
    enough = np.flatnonzero((counts >= max(30, rows.n_rows / 1000)) & (mass > 0)).tolist()
    found = [
        ErrorOfValue(
            name=f"{names[field_of[i]]}={value_name(artifact, i)}",
            n_rows=int(counts[i]),
            loss=float(mean_loss[i]),
            loss_lower=float(mean_loss[i] - loss_half[i]),
            loss_upper=float(mean_loss[i] + loss_half[i]),
            predicted=float(mean_predicted[i]),
            observed=float(mean_observed[i]),
            gap=float(mean_gap[i]),
            gap_lower=float(mean_gap[i] - gap_half[i]),
            gap_upper=float(mean_gap[i] + gap_half[i]),
        )
        for i in enough
    ]
    return float(np.average(loss, weights=weight)), found


def _entries(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, id and field of each entry."""
    if rows.offsets is not None:
        row = np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets))
        fields = np.zeros(len(rows.ids), np.int64) if rows.fields is None else rows.fields.astype(np.int64)
        return row, rows.ids.astype(np.int64), fields
    n_slots = rows.ids.shape[1]
    slots = np.arange(n_slots) if rows.fields is None else rows.fields.astype(np.int64)
    row = np.repeat(np.arange(rows.n_rows), n_slots)
    return row, rows.ids.reshape(-1).astype(np.int64), np.tile(slots, rows.n_rows)


def example_rows(task: str, y: Doubles, logits: Doubles, *, seed: int = 0) -> list[tuple[int, str]]:
    """Rows worth looking at, and why: the highest and lowest scores, the worst misses, and some at random."""
    loss = np.logaddexp(0.0, np.where(y == 1, -logits, logits)) if task == "binary" else (logits - y) ** 2
    by_score, by_loss = np.argsort(logits, kind="stable"), np.argsort(-loss, kind="stable")
    wanted = [
        *((int(row), "highest score") for row in by_score[::-1][:2]),
        *((int(row), "lowest score") for row in by_score[:2]),
        *((int(row), "worst miss") for row in by_loss[:4]),
        *((int(row), "at random") for row in np.random.default_rng(seed).permutation(len(y))[:4]),
    ]
    found: dict[int, str] = {}
    for row, why in wanted:
        found.setdefault(row, why)
    return list(found.items())
