"""X as scikit-learn takes it (tables, arrays, sparse matrices) as the frames and Rows of the rest of anyfm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, got, located
from anyfm.core.rows import MAX_FEATURES, Floats, Rows
from anyfm.core.settings import DataSettings
from anyfm.core.task import Task
from anyfm.pipeline import with_n_bins

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded, Encoder
    from anyfm.data.readers import Frame
    from anyfm.data.schema import Schema


def is_sparse(X: Any) -> bool:
    """Whether X is a scipy matrix or array, of whatever sparse format."""
    return hasattr(X, "tocsr")


def is_frame(X: Any) -> bool:
    """Whether X is a table with named columns: pandas, polars, or Arrow."""
    return hasattr(X, "columns")


def frame_of(X: Any, names: Sequence[str] | None = None) -> Frame:
    """A frame out of a data frame or of an array of shape (n_rows, n_columns).

    Parameters
    ----------
    X : data frame or array
        The columns of an array are called x0, x1, … unless named.
    names : sequence of str, optional
        The columns in the order of training. An array's columns are called so, and those of a data frame that has
        other names.
    """
    from anyfm.data.readers import read_table

    if not is_frame(X):
        return read_table(X, names=names)
    frame = read_table(X)
    if names is None or set(frame.columns) == set(names):
        return frame
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def schema_of(X: Any, frame: Frame, data: DataSettings) -> Schema:
    """The schema of training rows: inferred, except where `data` says a kind and where X is an array of numbers.

    Parameters
    ----------
    X : data frame or array
        As given; its dtype says what its numbers are.
    frame : polars DataFrame
        The same rows, or some of them.
    data : DataSettings
        Of which `fields`, `min_count` and `n_bins` count.
    """
    from anyfm.data.schema_inference import infer_schema

    fields = dict(data.fields or {})
    quantities = {name: kind for name, kind in _quantities(X, frame).items() if name not in fields}
    schema = infer_schema(frame, overrides={**quantities, **fields}, min_count=data.min_count)
    reason = "numbers in an array, in quantile bins"
    explained = (replace(field, reason=reason) if field.name in quantities else field for field in schema.fields)
    return with_n_bins(replace(schema, fields=tuple(explained)), data.n_bins, fields)


def _quantities(X: Any, frame: Frame) -> dict[str, Any]:
    """What a scikit-learn user means by numbers in an array: floats are quantities, and no column is left out.

    Whole numbers are left to the inference, which tells codes from counts; save that a column of one value, or of as
    many as rows, which the inference would ignore, is a quantity too.
    """
    if is_frame(X) or X.dtype.kind not in "iuf":
        return {}
    from anyfm.data.schema_inference import default_n_bins

    quantity = {"kind": "numeric", "n_bins": default_n_bins(frame.height)}
    names = frame.columns
    if X.dtype.kind != "f":
        names = [name for name in names if frame[name].n_unique() in (1, frame.height)]
    return dict.fromkeys(names, quantity)


def encode_table(
    X: Any,
    y: NDArray[Any],
    weight: Floats | None,
    schema: Schema,
    *,
    target: str,
    classes: NDArray[Any] | None,
    task: Task,
) -> tuple[Encoded, Encoder]:
    """Fit an encoder to training rows, and encode them.

    Parameters
    ----------
    X : data frame or array of shape (n_rows, n_columns)
    y : array of shape (n_rows,)
    weight : float32 array of shape (n_rows,), optional
    schema : Schema
        Of all rows, those held out included; see `schema_of`.
    target : str
        The name of y in the schema; underscores are appended if a column has that name.
    classes : array of shape (2,), optional
        The two classes of a classifier, the positive one last; absent for a regressor.
    task : Task
    """
    from anyfm.data.encoder import Encoder
    from anyfm.data.readers import read_table
    from anyfm.data.schema import Target
    from anyfm.data.target import infer_target

    frame = frame_of(X)
    while target in frame.columns:
        target += "_"
    column = read_table({target: y})[target]
    if classes is None:
        found = Target(name=target, task=task.name, reason="the y of a regressor")
    else:
        found = infer_target(column, task=task.name, positive=classes[1])
    encoder, encoded = Encoder.fit_encode(frame.with_columns(column), replace(schema, target=found), weight=weight)
    return encoded, encoder


def is_list_of_rows(X: Any) -> bool:
    """Whether X is a list of rows, each a mapping of column name to value."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(row, Mapping) for row in X)


def matrix_rows(X: Any) -> Rows:
    """The rows of a matrix, CSR or dense: a feature for each column, with the entries other than 0 as values.

    Raises
    ------
    InputError
        An entry is not a finite number in float32, or there are too many columns.
    """
    if X.shape[1] > MAX_FEATURES:
        raise InputError(got(f"there may be at most {MAX_FEATURES:,} columns", n_columns=X.shape[1]))
    if is_sparse(X):
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        columns, offsets, entries = X.indices, X.indptr, X.data
    else:
        rows, columns = np.nonzero(X)
        offsets, entries = np.searchsorted(rows, np.arange(len(X) + 1)), X[rows, columns]
    with np.errstate(over="ignore"):
        values = entries.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        entry = int(np.argmin(finite))
        raise InputError(
            located(
                "the entries of a matrix must be finite numbers of at most 3.4e38",
                row=int(np.searchsorted(offsets, entry, side="right")),
                column=str(columns[entry]),
                value=float(entries[entry]),
            )
        )
    return Rows(
        ids=np.ascontiguousarray(columns, np.int32),
        offsets=np.ascontiguousarray(offsets, np.int64),
        values=None if (values == 1).all() else values,
    )
