"""Rows with the values of one field replaced, for explanations that treat the model as a black box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.engines.scorer import make_scorer
from anyfm.models.pairs import Doubles


def logit_function(artifact: Artifact) -> Callable[[Rows], Doubles]:
    """The function that gives the logit of every row, float64 of shape (n_rows,)."""
    scorer = make_scorer(artifact.model, artifact.parameters, n_fields=artifact.n_fields)
    return lambda rows: scorer.logits(rows).astype(np.float64)


def sample(rows: Rows, n: int, *, seed: int = 0) -> Rows:
    """At most `n` of the rows, drawn at random without replacement, in their order."""
    if rows.n_rows <= n:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.n_rows, size=n, replace=False)
    return rows.take(np.sort(chosen).astype(np.int64))


def with_value(rows: Rows, field: int, feature: int, x: float = 1.0) -> Rows:
    """The rows with one entry (feature, x) in place of the entries of `field`."""
    single = Rows(
        ids=np.full(rows.n_rows, feature, np.int32),
        offsets=np.arange(rows.n_rows + 1, dtype=np.int64),
        values=np.full(rows.n_rows, x, np.float32),
        fields=np.full(rows.n_rows, field, np.int32),
    )
    return with_field_of(rows, field, single)


def with_field_of(rows: Rows, field: int, other: Rows) -> Rows:
    """`rows` with the entries that `field` has in the same rows of `other`."""
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
    mine, theirs = _entries(rows), _entries(other)
    own, foreign = mine[3] != field, theirs[3] == field
    row, ids, values, fields = (np.concatenate([a[own], b[foreign]]) for a, b in zip(mine, theirs, strict=True))
    order = np.lexsort((fields, row))
    offsets = np.zeros(rows.n_rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows.n_rows), out=offsets[1:])
    return replace(rows, ids=ids[order], offsets=offsets, values=values[order], fields=fields[order])


def _entries(rows: Rows) -> tuple[NDArray[Any], ...]:
    """Row, id, value and field of each entry of ragged rows."""
    assert rows.offsets is not None
    values = np.ones(len(rows.ids), np.float32) if rows.values is None else rows.values
    fields = np.zeros(len(rows.ids), np.int32) if rows.fields is None else rows.fields
    return np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets)), rows.ids, values, fields
