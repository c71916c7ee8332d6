"""Columns of a table from the rows of a text file: original values with an encoder, ids without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Ids, Rows, Targets
from anyfm.core.task import get_task
from anyfm.data.encoder import EncodedField, Encoder
from anyfm.data.field_encoder import FIRST, MISSING, UNSEEN
from anyfm.data.messages import input_error
from anyfm.data.numeric import ScaledEncoder
from anyfm.data.tags import TagsEncoder
from anyfm.data.text.reader import TextRows


def labels_in_file(text: TextRows) -> Targets:
    """The labels as they are in the file, float32 of shape (n_rows,)."""
    y = text.rows.y
    assert y is not None
    if not _is_classification(text):
        return y
    return np.where(y == 1, text.positive_label, text.negative_label).astype(np.float32)


def columns_of_ids(text: TextRows, *, is_libffm: bool) -> dict[str, Any]:
    """The label and the ids: one column per slot for rows of fixed width, otherwise columns of lists."""
    rows, labels = text.rows, labels_in_file(text)
    is_whole = _is_classification(text) and bool((labels == np.round(labels)).all())
    columns: dict[str, Any] = {"label": labels.astype(np.int64) if is_whole else labels}
    if rows.offsets is not None:
        for name, array in (("fields", rows.fields), ("ids", rows.ids), ("values", rows.values)):
            if array is not None:
                columns[name] = [part.tolist() for part in np.split(array, rows.offsets[1:-1])][: rows.n_rows]
        return columns
    fields = np.arange(rows.ids.shape[1]) if rows.fields is None else rows.fields
    by_field = is_libffm and len(np.unique(fields)) == len(fields)
    for slot, number in enumerate(fields if by_field else range(len(fields))):
        name = f"{'field' if by_field else 'slot'}_{number}"
        columns[name] = rows.ids[:, slot]
        if rows.values is not None:
            columns[f"{name}_value"] = rows.values[:, slot]
    return columns


def with_encoder_fields(rows: Rows, encoder: Encoder, *, check: bool) -> Rows:
    """The same rows, ragged, each entry with the field that the encoder gives its id.

    Raises
    ------
    InputError
        An id is not of the encoder; or, with `check`, the rows have another field for it.
    """
    rows.check_bounds(encoder.n_features)
    ids = rows.ids.reshape(-1)
    fields = (np.searchsorted(encoder.field_offsets, ids, side="right") - 1).astype(np.int32)
    offsets = rows.offsets
    if offsets is None:
        offsets = np.arange(rows.n_rows + 1, dtype=np.int64) * rows.ids.shape[1]
    if check:
        given = np.arange(rows.ids.shape[1], dtype=np.int32) if rows.fields is None else rows.fields
        given = given if rows.is_ragged else np.tile(given, rows.n_rows)
        other = np.flatnonzero(fields != given)
        if len(other):
            entry = int(other[0])
            raise input_error(
                f"the id {ids[entry]} is of field {fields[entry]} in the vocabulary",
                row=int(np.searchsorted(offsets, entry, side="right")),
                value=f"{given[entry]}:{ids[entry]}",
                remedy="Give the vocabulary that was written beside this file.",
            )
    values = None if rows.values is None else rows.values.reshape(-1)
    return Rows(ids=ids, offsets=offsets, values=values, fields=fields, y=rows.y)


def columns_of_values(rows: Rows, encoder: Encoder) -> dict[str, Any]:
    """The target and the original values of rows that `with_encoder_fields` returned.

    Missing and absent become None. Where an unseen value occurs, it is "<unseen>" and the whole column is text. Bins
    become the text of their interval.
    """
    assert rows.fields is not None
    assert rows.offsets is not None
    columns = _target_column(rows, encoder)
    row_of_entry = np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets))
    for slot, field in enumerate(encoder.fields):
        entries = np.flatnonzero(rows.fields == slot)
        local = rows.ids[entries] - int(encoder.field_offsets[slot])
        values = None if rows.values is None else rows.values[entries]
        found = _original_values(field, encoder.field_values(slot), local, values)
        columns[field.name] = _column(field, row_of_entry[entries], found, rows.n_rows)
    return columns


def _is_classification(text: TextRows) -> bool:
    return get_task(text.task).is_classification


def _target_column(rows: Rows, encoder: Encoder) -> dict[str, Any]:
    target, y = encoder.schema.target, rows.y
    assert y is not None
    if target is None or target.classes is None:
        return {"label" if target is None else target.name: y}
    classes = [int(value) if _is_integer(value) else value for value in target.classes]
    if type(classes[0]) is not type(classes[1]):
        classes = list(map(str, target.classes))
    return {target.name: [classes[is_positive] for is_positive in (y == 1).tolist()]}


def _is_integer(value: Any) -> bool:
    try:
        return str(int(value)) == str(value)
    except ValueError:
        return False


def _original_values(field: EncodedField, labels: list[Any], local: Ids, values: Floats | None) -> NDArray[Any]:
    """What the entries of a field stand for, objects of shape (n_entries,)."""
    meaning = np.array([*labels, None], object)  # the last keeps numpy from making it an array of strings
    meaning[MISSING] = None
    found: NDArray[Any] = meaning[local]
    if isinstance(field.encoder, ScaledEncoder) and values is not None:
        number = values.astype(np.float64) * field.encoder.deviation + field.encoder.mean
        found = np.where(local == FIRST, number, found)
    if (local == UNSEEN).any():
        found = np.array([None if value is None else str(value) for value in found.tolist()], object)
    return found


def _column(field: EncodedField, row: NDArray[np.int64], found: NDArray[Any], n_rows: int) -> list[Any]:
    """A column from the entries of one field: their rows, ascending, and what they stand for."""
    column: list[Any] = [None] * n_rows
    if isinstance(field.encoder, TagsEncoder):
        rows, starts = np.unique(row, return_index=True)
        separator = field.encoder.separator
        for i, part in zip(rows.tolist(), np.split(found, starts[1:]), strict=False):
            tags = [tag for tag in part.tolist() if tag is not None]
            if tags:
                column[i] = separator.join(map(str, tags)) if separator else tags
        return column
    twice = np.flatnonzero(np.diff(row) == 0)
    if len(twice):
        raise input_error("a row may hold one entry of this field", row=int(row[twice[0]]) + 1, column=field.name)
    for i, value in zip(row.tolist(), found.tolist(), strict=True):
        column[i] = value
    return column
