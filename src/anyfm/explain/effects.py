"""What a model does with one field, asked of the model as a black box: partial effects and permutation importance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.core.task import get_task
from anyfm.engines.scorer import NativeScorer
from anyfm.explain.contributions import field_names
from anyfm.explain.value_pairs import value_name
from anyfm.metrics import mean_loss
from anyfm.models.pairs import Doubles

N_EFFECT_ROWS = 1000
N_VALUES = 40
_SCALED_POINTS = 15


@dataclass(frozen=True, eq=False)
class PartialEffect:
    """The mean score when every row gets the same value of one field (Friedman 2001, partial dependence).

    Parameters
    ----------
    field : str
    ordered : bool
        Whether the values have an order: bins of numbers, parts of dates.
    values : tuple of str
        In their order, or the most frequent first.
    effect : array of shape (n_values,)
        Mean logit (for regression, prediction) with this value, minus the mean as the rows are.
    count : array of shape (n_values,)
        How often the value occurred in training.
    """

    field: str
    ordered: bool
    values: tuple[str, ...]
    effect: Doubles
    count: Doubles


def scorer(artifact: Artifact, *, n_threads: int = 0) -> NativeScorer:
    return NativeScorer(artifact.model, artifact.parameters, n_fields=artifact.n_fields, n_threads=n_threads)


def sample(rows: Rows, n: int, *, seed: int = 0) -> Rows:
    """At most `n` of the rows, drawn at random without replacement, in their order."""
    if rows.n_rows <= n:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.n_rows, size=n, replace=False)
    return rows.take(np.sort(chosen).astype(np.int64))


def partial_effect(artifact: Artifact, rows: Rows, field: int, *, n_values: int = N_VALUES) -> PartialEffect:
    """The partial effect of a field's values over `rows`: all of an ordered field, else the most frequent.

    Parameters
    ----------
    field : int
        Its place.
    """
    encoder = artifact.require_encoder()
    coder = encoder.fields[field].encoder
    offset, labels = int(encoder.field_offsets[field]), [str(label) for label in encoder.field_values(field)]
    ordered = coder.type in ("bins", "scaled", "part")
    if coder.type == "scaled":
        points = np.linspace(-2.0, 2.0, _SCALED_POINTS)
        trials = [(2, float(point)) for point in points]
        names = [f"{coder.mean + coder.deviation * point:.4g}" for point in points]  # type: ignore[attr-defined]
        counts = np.full(len(points), np.nan)
    else:
        known = np.flatnonzero(coder.counts > 0)
        if not ordered:
            known = known[np.argsort(-coder.counts[known], kind="stable")][:n_values]
        numbers = [_number(labels[local]) for local in known.tolist()]
        if coder.type == "part" or (not ordered and _are_numbers(coder)):
            known, ordered = known[np.argsort(numbers, kind="stable")], True
        trials = [(int(local), 1.0) for local in known]
        names, counts = (
            [value_name(artifact, offset + local) for local in known.tolist()],
            coder.counts[known].astype(np.float64),
        )
    chosen, score = sample(rows, N_EFFECT_ROWS), scorer(artifact)
    weight = None if chosen.weight is None else chosen.weight.astype(np.float64)
    base = np.average(score.logits(chosen).astype(np.float64), weights=weight)
    effect = [
        np.average(score.logits(with_value(chosen, field, offset + local, x)).astype(np.float64), weights=weight) - base
        for local, x in trials
    ]
    return PartialEffect(encoder.field_names[field], ordered, tuple(names), np.array(effect, np.float64), counts)


def _are_numbers(coder: Any) -> bool:
    return coder.type == "categorical" and coder.key_type in ("int", "float") and coder.n_features <= N_VALUES + 2


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # <unseen>, <missing>: before all numbers
        return -np.inf


@dataclass(frozen=True, eq=False)
class Importance:
    """How much worse the model gets when a field's values are shuffled among the rows (Breiman 2001).

    Parameters
    ----------
    fields : tuple of str
    loss : float
        The loss as the rows are: logloss, or the mean squared error.
    increase, deviation : array of shape (n_fields,)
        Mean and standard deviation, over the repetitions, of the loss's increase.
    """

    fields: tuple[str, ...]
    loss: float
    increase: Doubles
    deviation: Doubles


def permutation_importance(artifact: Artifact, rows: Rows, *, n_repeats: int = 3, seed: int = 0) -> Importance:
    """Shuffle each field among the rows and measure the loss again.

    Raises
    ------
    InputError
        The rows have no target.
    """
    if rows.y is None:
        raise InputError("permutation importance must have targets, got y=None")
    task, score = artifact.model.settings.task, scorer(artifact)
    loss = mean_loss(get_task(task), rows.y, score.logits(rows), rows.weight)
    rng = np.random.default_rng(seed)
    increases = np.zeros((n_repeats, artifact.n_fields))
    for repeat in range(n_repeats):
        for field in range(artifact.n_fields):
            shuffled = with_field_of(rows, field, rng.permutation(rows.n_rows))
            increases[repeat, field] = mean_loss(get_task(task), rows.y, score.logits(shuffled), rows.weight) - loss
    return Importance(field_names(artifact), loss, increases.mean(axis=0), increases.std(axis=0))


def with_value(rows: Rows, field: int, feature: int, x: float = 1.0) -> Rows:
    """The rows with one entry (feature, x) in place of what `field` holds."""
    single = Rows(
        ids=np.full(rows.n_rows, feature, np.int32),
        offsets=np.arange(rows.n_rows + 1, dtype=np.int64),
        values=np.full(rows.n_rows, x, np.float32),
        fields=np.full(rows.n_rows, field, np.int32),
    )
    return replaced(rows, field, single)


def with_field_of(rows: Rows, field: int, source: NDArray[np.int64]) -> Rows:
    """The rows with the entries that `field` has in the rows `source`, shape (n_rows,)."""
    return replaced(rows, field, rows.take(source))


def replaced(rows: Rows, field: int, other: Rows) -> Rows:
    """`rows`, with the entries that `field` has in the same rows of `other`."""
    if rows.offsets is None:
        slots = np.arange(rows.ids.shape[1]) if rows.fields is None else rows.fields
        of_field = slots == field
        ids = rows.ids.copy()
        ids[:, of_field] = other.ids[:, of_field] if other.offsets is None else other.ids[:, None]
        if rows.values is None:
            return replace(rows, ids=ids)
        values = rows.values.copy()
        assert other.values is not None
        values[:, of_field] = other.values[:, of_field] if other.offsets is None else other.values[:, None]
        return replace(rows, ids=ids, values=values)
    kept: tuple[Any, ...] = _entries(rows)
    taken: tuple[Any, ...] = _entries(other)
    stays, comes = kept[3] != field, taken[3] == field
    row, ids_, values_, fields = (
        np.concatenate([mine[stays], theirs[comes]]) for mine, theirs in zip(kept, taken, strict=True)
    )
    order = np.lexsort((fields, row))
    offsets = np.zeros(rows.n_rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows.n_rows), out=offsets[1:])
    return replace(rows, ids=ids_[order], offsets=offsets, values=values_[order], fields=fields[order])


def _entries(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Row, id, value and field of each entry of ragged rows."""
    assert rows.offsets is not None
    values = np.ones(len(rows.ids), np.float32) if rows.values is None else rows.values
    fields = np.zeros(len(rows.ids), np.int32) if rows.fields is None else rows.fields
    return np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets)), rows.ids, values, fields
