"""The terms whose sum is the logit, block of rows by block of rows, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.models.batch import Batch, gather
from anyfm.models.pairs import Doubles, PairTerms

Indices = NDArray[np.int64]
_BLOCK_FLOATS = 1 << 21  # numbers a block may hold: 16 MB


@dataclass(frozen=True, eq=False)
class FieldPairs:
    """The pairs of fields that have terms, `first` ≤ `second`; int64 arrays of shape (P,).

    A field makes a pair with itself where a row may hold several of its values (tags).
    """

    first: Indices
    second: Indices

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows start … stop − 1 with their terms by slot. B rows, S slots, F fields.

    Parameters
    ----------
    batch : Batch
    ids : int array of shape (B, S)
        0 in padding.
    member : array of shape (B, F, S), optional
        1 where slot s holds field f; None where slot s is field s in every row.
    vectors : array of shape (B, S, …), optional
        The scaled vectors; None for a model without pair terms.
    attention : array of shape (B, S, S), optional
    """

    start: int
    stop: int
    form: PairTerms | None
    batch: Batch
    ids: NDArray[np.int64]
    member: Doubles | None
    vectors: Doubles | None
    attention: Doubles | None

    def linear(self) -> Doubles:
        """The linear term of each field, (B, F)."""
        return self.by_field(self.batch.parameters["linear"] * self.batch.values)

    def slot_pairs(self, one: Doubles, other: Doubles, *, weighed: bool = True) -> Doubles:
        """The terms of the slots' pairs for two sets of vectors, (B, S, S), 0 on the diagonal."""
        assert self.form is not None
        terms = self.form.form(self.batch, one, other)
        diagonal = np.arange(terms.shape[1])
        terms[:, diagonal, diagonal] = 0.0
        return terms * self.attention if weighed and self.attention is not None else terms

    def by_field(self, of_slots: Doubles) -> Doubles:
        """Sums of a number per slot, (B, S, …), by field, (B, F, …)."""
        if self.member is None:
            return of_slots
        flat = of_slots.reshape(*of_slots.shape[:2], -1)
        return (self.member @ flat).reshape(len(flat), self.member.shape[1], *of_slots.shape[2:])

    def by_fields(self, of_slots: Doubles) -> Doubles:
        """Sums of a number per pair of slots, (B, S, S), by pair of fields, (B, F, F)."""
        return of_slots if self.member is None else self.member @ of_slots @ self.member.swapaxes(1, 2)

    def by_pair(self, of_slots: Doubles, pairs: FieldPairs) -> Doubles:
        """The same for unordered pairs of fields, (B, P); `of_slots` is symmetric."""
        chosen = self.by_fields(of_slots)[:, pairs.first, pairs.second]
        return chosen * np.where(pairs.first == pairs.second, 0.5, 1.0)

    def spread(self, means: Doubles) -> Doubles:
        """The mean vector of each slot's field, (F, …) to (B, S, …), divided among the slots of the field."""
        present = self.batch.present.astype(np.float64)
        if self.member is not None:
            entries = self.member.swapaxes(1, 2) @ (self.member @ present[..., None])  # (B, S, 1)
            present = present / np.maximum(entries[..., 0], 1.0)
        return np.asarray(means[self.batch.fields] * present.reshape(*present.shape, *[1] * (means.ndim - 1)))


def blocks(artifact: Artifact, rows: Rows) -> Iterator[Block]:
    """The rows in blocks that fit the memory, with their parameters gathered."""
    rows.check_bounds(artifact.n_features)
    form = artifact.model.pair_terms()
    specs = artifact.model.parameter_specs(artifact.n_features, artifact.n_fields)
    aligned = _is_aligned(rows, artifact.n_fields)
    normalize = bool(getattr(artifact.model.settings, "normalize", False))
    for start, stop in _cuts(rows, form, artifact.n_fields):
        part = rows.slice(start, stop)
        batch = gather(artifact.parameters, part, specs, normalize=normalize)
        yield Block(
            start=start,
            stop=stop,
            form=form,
            batch=batch,
            ids=_ids(part, batch),
            member=None if aligned else _member(batch, artifact.n_fields),
            vectors=None if form is None else form.vectors(batch),
            attention=None if form is None else form.weights(batch),
        )


def field_pairs(artifact: Artifact, rows: Rows) -> FieldPairs:
    """The pairs of fields that have terms in these rows; none for a model without pair terms."""
    if artifact.model.pair_terms() is None:
        return FieldPairs(np.empty(0, np.int64), np.empty(0, np.int64))
    n_fields = artifact.n_fields
    first, second = np.triu_indices(n_fields, 0)
    kept = (first != second) | _holds_many(rows, n_fields)[first]
    return FieldPairs(first[kept].astype(np.int64), second[kept].astype(np.int64))


def _holds_many(rows: Rows, n_fields: int) -> NDArray[np.bool_]:
    """Whether some row has more than one entry of the field, shape (n_fields,)."""
    many = np.zeros(n_fields, bool)
    if rows.offsets is None:
        if rows.fields is not None:
            many[np.bincount(rows.fields, minlength=n_fields) > 1] = True
        return many
    if rows.fields is None:
        return ~many
    row = np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets))
    place, count = np.unique(row * n_fields + rows.fields, return_counts=True)
    many[np.unique(place[count > 1] % n_fields)] = True
    return many


def _is_aligned(rows: Rows, n_fields: int) -> bool:
    if rows.is_ragged or rows.ids.shape[1] != n_fields:
        return False
    return rows.fields is None or bool((rows.fields == np.arange(n_fields)).all())


def _cuts(rows: Rows, form: PairTerms | None, n_fields: int) -> Iterator[tuple[int, int]]:
    lengths = np.full(rows.n_rows, rows.ids.shape[1]) if rows.offsets is None else np.diff(rows.offsets)
    longest = int(lengths.max(initial=1))
    floats = longest * 8 if form is None else form.floats_per_row(longest, n_fields)
    size = max(1, min(4096, _BLOCK_FLOATS // max(1, floats)))
    for start in range(0, rows.n_rows, size):
        yield start, min(start + size, rows.n_rows)


def _ids(rows: Rows, batch: Batch) -> NDArray[np.int64]:
    if rows.offsets is None:
        return rows.ids.astype(np.int64)
    ids = np.zeros(batch.present.shape, np.int64)
    ids[batch.present] = rows.ids
    return ids


def _member(batch: Batch, n_fields: int) -> Doubles:
    there = batch.fields[:, None, :] == np.arange(n_fields)[:, None]
    return np.asarray(there & batch.present[:, None, :], np.float64)
