"""Half rows: a row divided by fields into a context (who asks, and when) and an item (what is ranked)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyfm.core.errors import InputError, located, nearest_name
from anyfm.core.rows import Rows
from anyfm.data.encoder import Encoded, Encoder
from anyfm.data.readers import Frame
from anyfm.models.pairs import Indices


class HalfEncoder:
    """Encodes some fields of an encoder, with the ids that the whole encoder gives them.

    Parameters
    ----------
    encoder : Encoder
    fields : sequence of int
        Positions of the fields, ascending.

    Attributes
    ----------
    fields : int64 array of shape (n,)
    columns : list of str
        The columns that `encode` needs.
    """

    def __init__(self, encoder: Encoder, fields: Sequence[int]) -> None:
        self.fields: Indices = np.array(fields, np.int64)
        self._part = Encoder(encoder.schema, tuple(encoder.fields[field] for field in fields))
        self._shift = (encoder.field_offsets[self.fields] - self._part.field_offsets[:-1]).astype(np.int32)
        self._slots = self.fields.astype(np.int32)
        self.columns = self._part.columns

    def encode(self, frame: Frame) -> Encoded:
        """The rows of a table, with the field of every slot or entry stated, and what was unseen and missing."""
        encoded = self._part.encode(frame)
        return Encoded(self._in_whole(encoded.rows), encoded.report)

    def encode_one(self, row: Mapping[str, Any]) -> Rows:
        """One row, column → value.

        Raises
        ------
        InputError
            A column is absent; the message names the nearest key.
        """
        for name in self.columns:
            if name not in row:
                near = nearest_name(name, [key for key in row if key not in self.columns])
                hint = f"Did you mean {near!r}? " if near else ""
                problem = "a context must have a value for every column of the model that the items do not have"
                raise InputError(located(problem, column=name, remedy=f"{hint}Give None for a value that is missing."))
        return self._in_whole(self._part.encode_one(row))

    def _in_whole(self, rows: Rows) -> Rows:
        if rows.offsets is None:
            return Rows(ids=rows.ids + self._shift, values=rows.values, fields=self._slots)
        assert rows.fields is not None
        return Rows(
            ids=rows.ids + self._shift[rows.fields],
            offsets=rows.offsets,
            values=rows.values,
            fields=self._slots[rows.fields],
        )


def join(one: Rows, other: Rows, *, n_fields: int) -> Rows:
    """The rows whose halves are the rows of `one` and `other`, as the whole encoder gives them: slots in the order of
    their fields.

    Parameters
    ----------
    one, other : Rows
        Of a `HalfEncoder` each, without a field in common; equally many, or one row, which goes with all others.
    n_fields : int
    """
    n_rows = other.n_rows if one.n_rows == 1 else one.n_rows
    if one.is_ragged or other.is_ragged:
        return _join_ragged(_repeated(one, n_rows), _repeated(other, n_rows), n_rows, n_fields)
    ids = np.empty((n_rows, n_fields), np.int32)
    values = None if one.values is None and other.values is None else np.ones(ids.shape, np.float32)
    for half in (one, other):
        ids[:, half.fields] = half.ids
        if values is not None and half.values is not None:
            values[:, half.fields] = half.values
    return Rows(ids=ids, values=values)


def _repeated(rows: Rows, n_rows: int) -> Rows:
    return rows if rows.n_rows == n_rows else rows.take(np.zeros(n_rows, np.int64))


def _join_ragged(one: Rows, other: Rows, n_rows: int, n_fields: int) -> Rows:
    keys = [_row_and_field(half, n_fields) for half in (one, other)]
    counts = [np.bincount(key, minlength=n_rows * n_fields) for key in keys]
    ends = np.cumsum(counts[0] + counts[1])
    starts = ends - counts[0] - counts[1]  # where the entries of each row and field begin
    offsets = np.zeros(n_rows + 1, np.int64)
    offsets[1:] = ends[n_fields - 1 :: n_fields]
    ids, fields = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int32)
    values = np.ones(offsets[-1], np.float32)
    for half, key, count in zip((one, other), keys, counts, strict=True):
        place = (starts - (np.cumsum(count) - count))[key] + np.arange(len(key))
        ids[place] = half.ids.reshape(-1)
        fields[place] = key % n_fields
        if half.values is not None:
            values[place] = half.values.reshape(-1)
    return Rows(ids=ids, offsets=offsets, values=values, fields=fields)


def _row_and_field(rows: Rows, n_fields: int) -> Indices:
    """row × n_fields + field of every entry, ascending."""
    assert rows.fields is not None
    if rows.offsets is None:
        return (np.arange(rows.n_rows)[:, None] * n_fields + rows.fields).reshape(-1)
    return np.repeat(np.arange(rows.n_rows) * n_fields, np.diff(rows.offsets)) + rows.fields
