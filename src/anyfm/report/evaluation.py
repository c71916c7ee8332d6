"""How well models predict the rows of a table: metrics with confidence intervals, curves, errors by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.core.task import Task, get_task
from anyfm.explain.names import field_names, value_name
from anyfm.metrics import ScoredRows, evaluate
from anyfm.metrics.calibration import Z_95
from anyfm.models.pairs import Doubles

N_POINTS = 200
N_RESAMPLES = 200
_MAX_RESAMPLED_ROWS = 20_000
# Resampling by itself increases this one, so that its interval would not contain the estimate.
_WITHOUT_INTERVAL = ("calibration_error",)
_MIN_ROWS, _MIN_FRACTION = 30, 0.001
_TINY = 1e-300


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval, and for all but the first model the difference to the first."""

    value: float
    lower: float | None = None
    upper: float | None = None
    difference: tuple[float, float, float] | None = None  # value, lower, upper


def bootstrap_estimates(
    task: Task, y: Doubles, logits: Sequence[Doubles], weight: Doubles | None, *, seed: int = 0
) -> list[dict[str, Estimate]]:
    """The metrics of several models on the same rows, with intervals by the bootstrap (Efron 1979).

    All models are evaluated on the same resamples, so that differences between them are paired. Of more than 20,000
    rows, 20,000 are resampled, and the spread is multiplied by the square root of their fraction.
    """
    n_rows = len(y)
    full = [evaluate(task, y, one, weight) for one in logits]
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(n_rows)[:_MAX_RESAMPLED_ROWS]
    weights = np.ones(len(chosen)) if weight is None else weight[chosen]
    scale = np.sqrt(len(chosen) / n_rows)
    center = [evaluate(task, y[chosen], one[chosen], weights) for one in logits]
    deviations: list[dict[str, list[float]]] = [{name: [] for name in metrics} for metrics in full]
    for _ in range(N_RESAMPLES):
        resampled = weights * rng.multinomial(len(chosen), np.full(len(chosen), 1.0 / len(chosen)))
        if not (resampled > 0).any():
            continue
        for model, one in enumerate(logits):
            values = evaluate(task, y[chosen], one[chosen], resampled)
            for name, of_metric in deviations[model].items():
                of_metric.append(scale * (values.get(name, np.nan) - center[model].get(name, np.nan)))
    found: list[dict[str, Estimate]] = [{} for _ in logits]
    for model, metrics in enumerate(full):
        for name, value in metrics.items():
            if name in _WITHOUT_INTERVAL:
                found[model][name] = Estimate(value)
                continue
            own, difference = np.array(deviations[model][name]), None
            if model > 0 and name in full[0]:
                gap = value - full[0][name]
                difference = (gap, *_interval(gap, own - np.array(deviations[0][name])))
            found[model][name] = Estimate(value, *_interval(value, own), difference)
    return found


def _interval(value: float, deviations: Doubles) -> tuple[float, float]:
    """The basic bootstrap interval."""
    finite = deviations[np.isfinite(deviations)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (0.0, 0.0)
    return float(value - high), float(value - low)


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve, arrays of shape (n_points,)."""

    x: Doubles
    y: Doubles


def classification_curves(y: Doubles, logits: Doubles, weight: Doubles | None) -> dict[str, Curve]:
    """ROC (false and true positive rate), precision by recall, and gain (fraction of positives by fraction of rows).

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
    """About N_POINTS of the points, evenly along the curve, both ends included."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    nearest = np.searchsorted(length, np.linspace(0.0, length[-1], N_POINTS))
    chosen = np.unique(np.concatenate([[0], np.clip(nearest, 0, len(x) - 1), [len(x) - 1]]))
    return Curve(x[chosen], y[chosen])


@dataclass(frozen=True, eq=False)
class Histogram:
    """Fractions of the rows' weight between `edges`, by group; those of a group sum to 1."""

    edges: Doubles
    fractions: Mapping[str, Doubles]


def score_histogram(task: Task, y: Doubles, logits: Doubles, weight: Doubles | None, *, n_bins: int = 40) -> Histogram:
    """Classification: the probabilities of each class; regression: the errors, predicted minus observed."""
    if task.is_classification:
        values, groups = task.predictions(logits), {"positive rows": y == 1, "negative rows": y == 0}
        low, high = 0.0, 1.0
    else:
        values, groups = task.predictions(logits) - y, {"errors": np.ones(len(y), bool)}
        low, high = (float(value) for value in np.quantile(values, [0.002, 0.998]))
        high = high if high > low else low + 1.0
    weights = np.ones(len(y)) if weight is None else weight
    edges = np.linspace(low, high, n_bins + 1)
    fractions = {}
    for name, member in groups.items():
        counts, _ = np.histogram(np.clip(values[member], low, high), bins=edges, weights=weights[member])
        if counts.sum() > 0:
            fractions[name] = counts / counts.sum()
    return Histogram(edges, fractions)


@dataclass(frozen=True, eq=False)
class ErrorsByValue:
    """How well the rows with each value are predicted. Arrays of shape (n_values,).

    Parameters
    ----------
    mean_loss : float
        Over all rows: logloss, or squared error.
    names : tuple of str
        "field=value".
    n_rows : int array
    loss, loss_margin : array
        The mean loss of the rows with this value, and half its 95 % confidence interval.
    predicted, observed : array
        Means of the predictions and of the target.
    bias, bias_margin : array
        Observed minus predicted, and half its 95 % confidence interval.
    """

    mean_loss: float
    names: tuple[str, ...]
    n_rows: NDArray[np.int64]
    loss: Doubles
    loss_margin: Doubles
    predicted: Doubles
    observed: Doubles
    bias: Doubles
    bias_margin: Doubles


def errors_by_value(artifact: Artifact, rows: Rows, logits: Doubles) -> ErrorsByValue:
    """The errors of every value that occurs in at least 30 rows and 0.1 % of them.

    Raises
    ------
    AssertionError
        The rows have no target.
    """
    assert rows.y is not None
    task, y = artifact.model.task, rows.y.astype(np.float64)
    weight = np.ones(len(y)) if rows.weight is None else rows.weight.astype(np.float64)
    predicted, loss = task.predictions(logits), np.asarray(task.reported_loss(logits, y))
    row, ids, field = _entries(rows)
    mass = np.bincount(ids, weights=weight[row], minlength=artifact.n_features)
    counts = np.bincount(ids, minlength=artifact.n_features)
    chosen = np.flatnonzero((counts >= max(_MIN_ROWS, _MIN_FRACTION * rows.n_rows)) & (mass > 0))

    def mean(of_rows: Doubles) -> Doubles:
        total = np.bincount(ids, weights=(weight * of_rows)[row], minlength=artifact.n_features)
        return total[chosen] / mass[chosen]

    def variance(of_rows: Doubles) -> Doubles:
        return np.maximum(mean(of_rows**2) - mean(of_rows) ** 2, 0.0)

    field_of = np.zeros(artifact.n_features, np.int64)
    field_of[ids] = field
    fields = field_names(artifact)
    bias_variance = mean(predicted * (1 - predicted)) if task.is_classification else variance(y - predicted)
    return ErrorsByValue(
        mean_loss=float(np.average(loss, weights=weight)),
        names=tuple(f"{fields[field_of[id_]]}={value_name(artifact, id_)}" for id_ in chosen.tolist()),
        n_rows=counts[chosen],
        loss=mean(loss),
        loss_margin=Z_95 * np.sqrt(variance(loss) / mass[chosen]),
        predicted=mean(predicted),
        observed=mean(y),
        bias=mean(y - predicted),
        bias_margin=Z_95 * np.sqrt(bias_variance / mass[chosen]),
    )


def _entries(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, id and field of each entry; an id that occurs twice in a row counts once."""
    if rows.offsets is None:
        n_slots = rows.ids.shape[1]
        slots = np.arange(n_slots) if rows.fields is None else rows.fields.astype(np.int64)
        row = np.repeat(np.arange(rows.n_rows), n_slots)
        return row, rows.ids.reshape(-1).astype(np.int64), np.tile(slots, rows.n_rows)
    row, ids = np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets)), rows.ids.astype(np.int64)
    fields = np.zeros(len(ids), np.int64) if rows.fields is None else rows.fields.astype(np.int64)
    once = np.unique(np.stack([row, ids]), axis=1, return_index=True)[1]
    return row[once], ids[once], fields[once]


def example_rows(task: Task, y: Doubles, logits: Doubles, *, seed: int = 0) -> list[tuple[int, str]]:
    """Row numbers and why they are shown: the highest and lowest scores, the largest errors, and a random sample."""
    by_score = np.argsort(logits, kind="stable")
    by_loss = np.argsort(-task.reported_loss(logits, y), kind="stable")
    chosen = {
        "highest score": by_score[::-1][:2],
        "lowest score": by_score[:2],
        "largest error": by_loss[:4],
        "random": np.random.default_rng(seed).permutation(len(y))[:4],
    }
    found: dict[int, str] = {}
    for reason, rows in chosen.items():
        for row in rows.tolist():
            found.setdefault(row, reason)
    return list(found.items())
