"""The linear weights and factors of every value, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.explain.names import field_names

if TYPE_CHECKING:
    from anyfm.data.readers import Frame


def factors_of(artifact: Artifact) -> NDArray[np.float32] | None:
    """The factors of every feature, (n_features, K), or (n_features, F, K) if they depend on the other field."""
    return artifact.parameters.get("factors", artifact.parameters.get("field_factors"))


def factors_table(artifact: Artifact) -> Frame:
    """The parameters of every value, as a polars data frame; `data.readers.write_table` writes it as Parquet.

    Returns
    -------
    polars DataFrame
        Columns field, value (text; <unseen> and <missing> for those), count (in training), linear, and the factors
        factor_1 … factor_K. Where a value has a vector for every other field (FFM), there is a row for each, with the
        other field in the column toward. A model of ids (libsvm and libffm text) has the column id in place of the
        first three.
    """
    import polars as pl

    columns = {**_keys(artifact), "linear": artifact.parameters["linear"]}
    factors = factors_of(artifact)
    if factors is not None and factors.ndim == 3:
        n_fields = factors.shape[1]
        columns = {name: np.repeat(column, n_fields) for name, column in columns.items()}
        columns["toward"] = np.tile(np.array(field_names(artifact), object), artifact.n_features)
        factors = factors.reshape(-1, factors.shape[2])
    if factors is not None:
        columns |= {f"factor_{number}": np.ascontiguousarray(of_one) for number, of_one in enumerate(factors.T, 1)}
    return pl.DataFrame({name: _series(column) for name, column in columns.items()})


def _keys(artifact: Artifact) -> dict[str, Any]:
    """The columns that identify a feature."""
    encoder = artifact.encoder
    if encoder is None:
        return {"id": np.arange(artifact.n_features)}
    values = [str(value) for field in range(encoder.n_fields) for value in encoder.field_values(field)]
    return {
        "field": np.repeat(np.array(encoder.field_names, object), np.diff(encoder.field_offsets)),
        "value": np.array(values, object),
        "count": np.asarray(encoder.counts, np.float64),
    }


def _series(column: NDArray[Any]) -> Any:
    return column.tolist() if column.dtype == object else column
