"""The terms of the logit for each slot and pair of slots, in float64, one block of rows after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.models.batch import Batch, gather
from anyfm.models.pairs import Doubles, PairTerms
from anyfm.models.parameters import Specs

Indices = NDArray[np.int64]
_MAX_FLOATS = 1 << 21  # numbers that a block may hold: 16 MB
_MAX_ROWS = 4096


@dataclass(frozen=True, eq=False, repr=False)
class FieldPairs:
    """The pairs of fields that have terms, `first` ≤ `second`; int64 arrays of shape (P,).

    A field has a pair with itself where a row may hold several of its values (tags).
    """

    first: Indices
    second: Indices

    def __len__(self) -> int:
        return len(self.first)

    def __repr__(self) -> str:
        return f"FieldPairs({len(self):,} pairs)"


@dataclass(frozen=True, eq=False)
class Block:
    """Rows start … stop − 1 with their terms by slot. B rows, S slots, F fields, P pairs of fields.

    Parameters
    ----------
    start, stop : int
    pair_terms : PairTerms, optional
        None for a model without pairs.
    batch : Batch
    specs : mapping of str to ParameterSpec
        Of the parameters of the batch.
    ids : int64 array of shape (B, S)
        0 in padding.
    membership : array of shape (B, F, S), optional
        1 where slot s holds field f; None where slot s is field s in every row.
    vectors : array of shape (B, S, …), optional
        The scaled vectors; None for a model without pairs.
    attention : array of shape (B, S, S), optional
        The weights of the pairs, for a model that has them.
    """

    start: int
    stop: int
    pair_terms: PairTerms | None
    batch: Batch
    specs: Specs
    ids: Indices
    membership: Doubles | None
    vectors: Doubles | None
    attention: Doubles | None

    def linear(self) -> Doubles:
        """The linear term of each field, (B, F)."""
        return self.by_field(self.batch.parameters["linear"] * self.batch.values)

    def slot_pairs(self, one: Doubles, other: Doubles) -> Doubles:
        """The terms of pairs of slots for two sets of vectors, (B, S, S), 0 on the diagonal."""
        assert self.pair_terms is not None
        terms = self.pair_terms.form(self.batch, one, other)
        diagonal = np.arange(terms.shape[1])
        terms[:, diagonal, diagonal] = 0.0
        return terms if self.attention is None else terms * self.attention

    def by_field(self, of_slots: Doubles) -> Doubles:
        """Sums over the slots of each field: (B, S, …) to (B, F, …)."""
        if self.membership is None:
            return of_slots
        flat = of_slots.reshape(*of_slots.shape[:2], -1)
        return (self.membership @ flat).reshape(len(flat), self.membership.shape[1], *of_slots.shape[2:])

    def by_fields(self, of_slots: Doubles) -> Doubles:
        """Sums over the pairs of slots of each ordered pair of fields: (B, S, S) to (B, F, F)."""
        if self.membership is None:
            return of_slots
        return np.asarray(self.membership @ of_slots @ self.membership.swapaxes(1, 2))

    def by_pair(self, of_slots: Doubles, pairs: FieldPairs) -> Doubles:
        """Sums over the pairs of slots of each pair of fields: (B, S, S), symmetric, to (B, P)."""
        by_fields = self.by_fields(of_slots)
        n_rows, n_fields = by_fields.shape[:2]
        chosen = by_fields.reshape(n_rows, -1).take(pairs.first * n_fields + pairs.second, axis=1)
        within = pairs.first == pairs.second
        return np.asarray(chosen * np.where(within, 0.5, 1.0) if within.any() else chosen)

    def of_fields(self, fields: Indices) -> Block:
        """The block with the slots of these fields alone, where they can be told apart; else the block itself.

        The attention of a pair depends on the other pairs, so that a model with attention keeps them.
        """
        if self.membership is not None or self.attention is not None or self.vectors is None:
            return self
        batch, specs = self.batch, self.specs
        parameters = {
            name: array[:, fields] if specs[name].per_feature else array for name, array in batch.parameters.items()
        }
        part = replace(
            batch,
            parameters=parameters,
            values=batch.values[:, fields],
            fields=batch.fields[:, fields],
            present=batch.present[:, fields],
            in_order=False,
        )
        return replace(self, batch=part, ids=self.ids[:, fields], vectors=self.vectors[:, fields])

    def spread(self, means: Doubles) -> Doubles:
        """Each field's mean vector, divided equally among the slots of the field: (F, …) to (B, S, …)."""
        present = self.batch.present.astype(np.float64)
        if self.membership is not None:
            n_entries = self.membership.swapaxes(1, 2) @ (self.membership @ present[..., None])  # (B, S, 1)
            present = present / np.maximum(n_entries[..., 0], 1.0)
        return np.asarray(means[self.batch.fields] * present.reshape(*present.shape, *[1] * (means.ndim - 1)))


def blocks(artifact: Artifact, rows: Rows) -> Iterator[Block]:
    """The rows in blocks of bounded memory, with their parameters gathered.

    Raises
    ------
    InputError
        An id lies outside the model's features.
    """
    rows.check_bounds(artifact.n_features)
    model, n_fields = artifact.model, artifact.n_fields
    pair_terms = model.pair_terms()
    specs = model.parameter_specs(artifact.n_features, n_fields)
    aligned = rows.offsets is None and rows.ids.shape[1] == n_fields
    aligned = aligned and (rows.fields is None or bool((rows.fields == np.arange(n_fields)).all()))
    size = _block_size(rows, pair_terms, n_fields)
    for start in range(0, rows.n_rows, size):
        stop = min(start + size, rows.n_rows)
        part = rows.slice(start, stop)
        batch = gather(artifact.parameters, part, specs, normalize=model.normalize)
        ids = np.zeros(batch.present.shape, np.int64)
        ids[batch.present] = part.ids.reshape(-1)
        yield Block(
            start=start,
            stop=stop,
            pair_terms=pair_terms,
            batch=batch,
            specs=specs,
            ids=ids,
            membership=None if aligned else _membership(batch, n_fields),
            vectors=None if pair_terms is None else pair_terms.vectors(batch),
            attention=None if pair_terms is None else pair_terms.weights(batch),
        )


def field_pairs(artifact: Artifact, rows: Rows) -> FieldPairs:
    """The pairs of fields that have terms in these rows; none for a model without pairs."""
    if artifact.model.pair_terms() is None:
        return FieldPairs(np.empty(0, np.int64), np.empty(0, np.int64))
    first, second = np.triu_indices(artifact.n_fields, 0)
    has_terms = (first != second) | _is_multivalued(rows, artifact.n_fields)[first]
    return FieldPairs(first[has_terms].astype(np.int64), second[has_terms].astype(np.int64))


def _is_multivalued(rows: Rows, n_fields: int) -> NDArray[np.bool_]:
    """Whether some row has more than one entry of the field, shape (n_fields,)."""
    if rows.offsets is None:
        slots = np.empty(0, np.int64) if rows.fields is None else rows.fields
        return np.bincount(slots, minlength=n_fields) > 1
    if rows.fields is None:
        return np.ones(n_fields, bool)
    row = np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets))
    entry, count = np.unique(row * n_fields + rows.fields, return_counts=True)
    return np.bincount(entry[count > 1] % n_fields, minlength=n_fields) > 0


def _block_size(rows: Rows, pair_terms: PairTerms | None, n_fields: int) -> int:
    n_slots = rows.ids.shape[1] if rows.offsets is None else int(np.diff(rows.offsets).max(initial=1))
    n_floats = n_slots * 8 if pair_terms is None else pair_terms.floats_per_row(n_slots, n_fields)
    return max(1, min(_MAX_ROWS, _MAX_FLOATS // max(1, n_floats)))


def _membership(batch: Batch, n_fields: int) -> Doubles:
    of_field = batch.fields[:, None, :] == np.arange(n_fields)[:, None]
    return np.asarray(of_field & batch.present[:, None, :], np.float64)
