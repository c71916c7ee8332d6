"""Tables in memory (pandas, Arrow, NumPy, mappings of columns) as polars DataFrames.

The one module that knows the types of pandas and Arrow; it imports neither.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from anyfm.core.errors import InputError, got
from anyfm.core.forks import check_polars, has_lost_polars
from anyfm.data.messages import check_distinct, input_error
from anyfm.data.values import as_basic, as_text, is_list

log = logging.getLogger(__name__)


def from_memory(source: Any) -> pl.DataFrame:
    """A table of another library, a mapping of column to values or a 2-D array as a DataFrame."""
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        check_polars("a LazyFrame")
        return source.collect()
    if _is_pandas(source):
        return _from_pandas(source)
    if isinstance(source, Mapping):
        return from_mapping(source)
    if isinstance(source, np.ndarray) and source.ndim == 2:
        return from_mapping({f"x{i}": source[:, i] for i in range(source.shape[1])})
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        schema = getattr(source, "schema", None)
        check_distinct([str(name) for name in getattr(schema, "names", ())])
        if has_lost_polars() and hasattr(source, "to_pydict"):
            return from_mapping(source.to_pydict())
        frame = pl.DataFrame(source)
        return with_dictionaries(frame, _dictionary_names(schema))
    raise InputError(
        got(
            "a table must be a path, a pandas, polars or Arrow table, a mapping of column to values or a 2-D array",
            type=type(source).__name__,
        )
    )


def _dictionary_names(schema: Any) -> list[str]:
    """The columns of an Arrow schema that have a dictionary type."""
    try:
        return [
            str(field.name)
            for field in schema
            if hasattr(field.type, "value_type") and hasattr(field.type, "index_type")
        ]
    except (TypeError, AttributeError):
        return []


def as_dictionary(series: pl.Series) -> pl.Series:
    """A column as a dictionary type, which means categorical whatever the values look like."""
    dictionary: pl.Series = as_text(as_basic(series)).cast(pl.Categorical)
    return dictionary


def with_dictionaries(frame: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """The table with dictionary types for these columns, of whose values polars made plain ones."""
    plain = [
        name
        for name in names
        if name in frame.columns
        and frame.schema[name] not in (pl.Categorical, pl.Enum)
        and not frame.schema[name].is_nested()
    ]
    return frame.with_columns(as_dictionary(frame[name]) for name in plain)


def from_mapping(columns: Mapping[Any, Any]) -> pl.DataFrame:
    """A DataFrame from column → values."""
    names = [str(name) for name in columns]
    check_distinct(names)
    series = [_column(name, values) for name, values in zip(names, columns.values(), strict=True)]
    for column in series:
        if len(column) != len(series[0]):
            rule = f"all columns must have as many rows as {series[0].name!r}, {len(series[0])}, but this one differs"
            raise input_error(rule, column=column.name, value=len(column))
    return pl.DataFrame(series)


def _is_pandas(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "pandas"


def _from_pandas(frame: Any) -> pl.DataFrame:
    if not hasattr(frame, "columns"):  # a pandas Series
        frame = frame.to_frame(frame.name if frame.name is not None else "column_1")
    names = [str(name) for name in frame.columns]
    check_distinct(names)
    return pl.DataFrame([_pandas_column(name, frame.iloc[:, i]) for i, name in enumerate(names)])


def _pandas_column(name: str, column: Any) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iufbM":
        return pl.Series(name, np.ascontiguousarray(column.to_numpy()), nan_to_null=dtype.kind == "f")
    if getattr(dtype, "name", "") == "category":
        codes = pl.Series(column.cat.codes.to_numpy().astype(np.int64))
        categories = _column(name, column.cat.categories.tolist() or [None])
        if not is_list(categories) and categories.dtype != pl.Object:
            categories = as_dictionary(categories)
        return categories.gather(codes.set(codes < 0, None)).rename(name)
    return _column(name, [None if _is_na(value) else value for value in column.tolist()])


def _is_na(value: Any) -> bool:
    kind = type(value)
    if kind in (str, int, list, bool):
        return False
    return value is None or kind.__name__ in ("NAType", "NaTType") or (kind is float and value != value)


def _column(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.rename(name)
    if _is_pandas(values):
        return _pandas_column(name, values)
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise input_error("a column must be an array or a list of values", column=name, value=values)
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise input_error(f"a column must have one dimension, but it has {values.ndim}", column=name)
        if values.dtype.kind not in "OUS":
            return pl.Series(name, np.ascontiguousarray(values))
        values = values.tolist()
    return _from_objects(name, list(values))


def _from_objects(name: str, values: list[Any]) -> pl.Series:
    """Python objects as a column; types that do not fit together become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds & {set, frozenset}:
        return _from_lists(name, values)
    try:
        series = pl.Series(name, values, strict=True)
        if series.dtype != pl.Object:
            return series
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        pass
    if kinds <= {int, float, bool, np.float64, np.int64, np.bool_}:
        return pl.Series(name, [None if value is None else float(value) for value in values])
    if kinds & {list, tuple, dict, np.ndarray}:
        return _from_lists(name, values)
    log.warning("column %r mixes %s: treated as text", name, ", ".join(sorted(kind.__name__ for kind in kinds)))
    return pl.Series(name, [_text_of(value) for value in values], pl.String)


def _from_lists(name: str, values: list[Any]) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            remedy = "Use [] or None for no value."
            raise input_error(
                "a column of lists must hold lists only", row=row + 1, column=name, value=value, remedy=remedy
            )
    rows = [None if value is None else [_text_of(item) for item in value] for value in values]
    return pl.Series(name, rows, pl.List(pl.String))


def _text_of(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
