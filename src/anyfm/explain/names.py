"""What fields and their values are called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.terms import blocks

if TYPE_CHECKING:
    from anyfm.data.readers import Frame

MISSING_TEXT = "<missing>"


def field_names(artifact: Artifact) -> tuple[str, ...]:
    """The names of the fields; for a model without an encoder field_0, field_1, …, by the numbers of the file."""
    if artifact.encoder is not None:
        return tuple(artifact.encoder.field_names)
    return tuple(f"field_{number}" for number in range(artifact.n_fields))


def value_name(artifact: Artifact, feature: int) -> str:
    """What a feature's value is called: its text in the encoder, with rounded edges if it is a bin; or its id."""
    encoder = artifact.encoder
    if encoder is None:
        return f"id {feature if artifact.feature_ids is None else artifact.feature_ids[feature]}"
    field = int(np.searchsorted(encoder.field_offsets, feature, side="right")) - 1
    name = str(encoder.field_values(field)[feature - int(encoder.field_offsets[field])])
    if encoder.fields[field].encoder.type != "bins":
        return name
    return re.sub(r"-?\d+\.\d{5,}(?:e[+-]?\d+)?", lambda number: f"{float(number[0]):.6g}", name)


def encoded_values(artifact: Artifact, rows: Rows) -> tuple[tuple[str, ...], ...]:
    """For each field its value in each row, as the encoder names it; ids for a model without an encoder."""
    encoder = artifact.encoder
    texts: list[list[list[str]]] = [[[] for _ in range(rows.n_rows)] for _ in range(artifact.n_fields)]
    for block in blocks(artifact, rows):
        row, slot = np.nonzero(block.batch.present)
        ids, fields = block.ids[row, slot].tolist(), np.broadcast_to(block.batch.fields, block.ids.shape)[row, slot]
        known = {
            id_: value_name(artifact, id_) if encoder is None else str(encoder.feature(id_)[1]) for id_ in set(ids)
        }
        for field, at, id_ in zip(fields.tolist(), (row + block.start).tolist(), ids, strict=True):
            texts[field][at].append(known[id_])
    return tuple(tuple(map(" | ".join, of_field)) for of_field in texts)


def column_values(frame: Frame, name: str) -> tuple[str, ...]:
    """The values of a column as text; several values of one row are joined by bars."""
    return tuple(map(_value_text, frame[name].to_list()))


def _value_text(value: Any) -> str:
    if value is None or value != value:
        return MISSING_TEXT
    if isinstance(value, (list, tuple)):
        return " | ".join(map(_value_text, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)
