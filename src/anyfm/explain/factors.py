"""What a model has learnt, keyed by field and value: linear weights and factors as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.explain.contributions import field_names

if TYPE_CHECKING:
    from anyfm.data.readers import Frame


def factors_table(artifact: Artifact) -> Frame:
    """The learnt numbers of every value, as a polars data frame; `table.readers.write_table` writes it as Parquet.

    Returns
    -------
    polars DataFrame
        Columns field, value (text; <unseen> and <missing> for those), count (in training), linear, and the factors
        factor_1 … factor_k. FFM has a vector for each field that a value can meet: a row for each, told apart by the
        the column toward. A model of ids (libsvm and libffm text) has the column id in place of the first three.
    """
    from anyfm.data.readers import read_table

    keys = {**_keys(artifact), "linear": artifact.parameters["linear"]}
    factors = artifact.parameters.get("factors")
    by_field = artifact.parameters.get("field_factors")
    if by_field is not None:
        n_fields = by_field.shape[1]
        keys = {name: np.repeat(column, n_fields) for name, column in keys.items()}
        keys["toward"] = np.tile(np.array(field_names(artifact), object), artifact.n_features)
        factors = by_field.reshape(-1, by_field.shape[2])
    if factors is not None:
        keys |= {f"factor_{number + 1}": np.ascontiguousarray(factors[:, number]) for number in range(factors.shape[1])}
    return read_table(keys)


def _keys(artifact: Artifact) -> dict[str, Any]:
    """What names a feature."""
    encoder = artifact.encoder
    if encoder is None:
        return {"id": np.arange(artifact.n_features)}
    labels = [str(label) for field in range(encoder.n_fields) for label in encoder.field_values(field)]
    return {
        "field": np.repeat(np.array(encoder.field_names, object), np.diff(encoder.field_offsets)),
        "value": np.array(labels, object),
        "count": np.asarray(encoder.counts, np.float64),
    }
