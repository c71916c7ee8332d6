"""Tables in and out: files, globs of files, and the tables of other libraries become one polars DataFrame.

The one module that knows pandas and Arrow. Text files are read by `delimited`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from anyfm.core.errors import InputError, SettingError, got, located, shown
from anyfm.data.files import FORMATS, SUFFIXES, paths_of, read_files, renamed

log = logging.getLogger(__name__)
Frame = pl.DataFrame


def read_table(
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    header: bool | None = None,
    names: Sequence[str] | None = None,
    separator: str | None = None,
    format: str = "auto",
    text_columns: Collection[str] = (),
    encoding: str = "utf-8",
) -> pl.DataFrame:
    """Read a table from wherever it is.

    Parameters
    ----------
    source : str, Path, list of them, DataFrame, Arrow table, mapping or 2-D array
        A path or a glob (CSV or TSV, plain, .gz or .zst; Parquet; Arrow IPC or Feather; JSON lines); a pandas, polars
        or pyarrow table (a pandas index is left out); column → values; rows of numbers.
    columns : sequence of str, optional
        Only these, in this order.
    header : bool, optional
        Whether the first line of a text file names the columns; by default it does unless it holds numbers where the
        lines below do.
    names : sequence of str, optional
        Names for the columns, in place of the header or of column_1, column_2, …
    separator : str, optional
        Between the columns of a text file; by default found out among comma, tab, semicolon and bar.
    format : {"auto", "csv", "tsv", "parquet", "ipc", "jsonl"}
        By default told from the name, or else from the first bytes.
    text_columns : collection of str
        Columns of text files to take as text even where they look like numbers ("007").
    encoding : str
        Of text files; UTF-8 is read fastest.

    Raises
    ------
    InputError
        The source is absent, empty, damaged or of another format; the text names file, line and column.
    """
    if format not in FORMATS:
        raise SettingError(got(f"format must be one of {', '.join(FORMATS)}", format=format))
    if isinstance(source, (str, Path)) or _is_paths(source):
        options: dict[str, Any] = {
            "header": header,
            "names": names,
            "separator": separator,
            "text_columns": text_columns,
            "encoding": encoding,
        }
        frame = read_files(paths_of(source), format, columns, options)
    else:
        frame = _from_memory(source, names)
    return frame if columns is None else _select(frame, columns)


def _is_paths(source: Any) -> bool:
    return isinstance(source, (list, tuple)) and len(source) > 0 and all(isinstance(s, (str, Path)) for s in source)


def _select(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    for name in columns:
        if name not in frame.columns:
            raise InputError(
                located(
                    "a column asked for must be in the table",
                    column=name,
                    remedy=f"The table has {', '.join(map(repr, frame.columns[:20]))}.",
                )
            )
    return frame.select(list(columns))


def _from_memory(source: Any, names: Sequence[str] | None) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return renamed(source, names, None)
    module = type(source).__module__.partition(".")[0]
    if module == "pandas":
        frame = _from_pandas(source)
    elif module == "pyarrow":
        _refuse_twice([str(name) for name in source.schema.names])
        frame = _of_arrow(source)
    elif isinstance(source, Mapping):
        frame = _from_mapping(source)
    elif isinstance(source, np.ndarray) and source.ndim == 2:
        frame = _from_mapping({f"x{i}": source[:, i] for i in range(source.shape[1])})
    elif hasattr(source, "__arrow_c_stream__"):
        frame = pl.DataFrame(source)
    else:
        raise InputError(
            got(
                "a table must be a path, a pandas, polars or Arrow table, a mapping of column to values or a 2-D array",
                came=type(source).__name__,
            )
        )
    return renamed(frame, names, None)


def _of_arrow(table: Any) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _from_pandas(frame: Any) -> pl.DataFrame:
    if not hasattr(frame, "columns"):  # a pandas Series
        frame = frame.to_frame(frame.name if frame.name is not None else "column_1")
    names = [str(name) for name in frame.columns]
    _refuse_twice(names)
    return pl.DataFrame([_pandas_column(name, frame.iloc[:, i]) for i, name in enumerate(names)])


def _pandas_column(name: str, column: Any) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "iufbM":
        return pl.Series(name, np.ascontiguousarray(column.to_numpy()), nan_to_null=kind.kind == "f")
    if getattr(kind, "name", "") == "category":
        codes = column.cat.codes.to_numpy().astype(np.int64)
        values = _column(name, column.cat.categories.tolist() or [None])
        return values.gather(pl.Series(codes).set(pl.Series(codes < 0), None)).rename(name)
    return _column(name, [None if _is_na(value) else value for value in column.tolist()])


def _is_na(value: Any) -> bool:
    kind = type(value)
    if kind in (str, int, list, bool):
        return False
    return value is None or kind.__name__ in ("NAType", "NaTType") or (kind is float and value != value)


def _from_mapping(columns: Mapping[Any, Any]) -> pl.DataFrame:
    names = [str(name) for name in columns]
    _refuse_twice(names)
    series = [_column(name, values) for name, values in zip(names, columns.values(), strict=True)]
    for one in series:
        if len(one) != len(series[0]):
            raise InputError(
                located(
                    f"all columns must have as many rows as {series[0].name!r}, {len(series[0])}, but",
                    column=one.name,
                    value=len(one),
                )
            )
    return pl.DataFrame(series)


def _column(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.rename(name)
    if type(values).__module__.partition(".")[0] == "pandas":
        return _pandas_column(name, values)
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise InputError(located("a column must be an array or a list of values", column=name, value=values))
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InputError(located(f"a column must have one dimension, but it has {values.ndim}", column=name))
        if values.dtype.kind not in "OUS":
            return pl.Series(name, np.ascontiguousarray(values))
        values = values.tolist()
    return _from_objects(name, list(values))


def _from_objects(name: str, values: list[Any]) -> pl.Series:
    """Python objects as a column; where types mix that do not go together, all become text."""
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
    log.warning("column %r mixes %s: taken as text", name, ", ".join(sorted(kind.__name__ for kind in kinds)))
    return pl.Series(name, [_text_of(value) for value in values], pl.String)


def _from_lists(name: str, values: list[Any]) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            raise InputError(
                located(
                    "a column of lists must hold lists only",
                    column=name,
                    row=row + 1,
                    value=value,
                    remedy="Use [] or None for no value.",
                )
            )
    rows = [None if value is None else [None if v is None else _text_of(v) for v in value] for value in values]
    return pl.Series(name, rows, pl.List(pl.String))


def _text_of(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _refuse_twice(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            located("the columns of a table must have distinct names, but one is met twice", column=twice[0])
        )


def write_table(table: pl.DataFrame | Mapping[str, Any], path: str | Path) -> None:
    """Write a table as CSV, TSV, Parquet, Arrow IPC or JSON lines, as the name says; "-" is CSV on standard output.

    Raises
    ------
    InputError
        The name has another ending, or the file cannot be written.
    """
    frame = table if isinstance(table, pl.DataFrame) else _from_mapping(table)
    if str(path) == "-":
        sys.stdout.write(frame.write_csv())
        return
    kind = SUFFIXES.get(Path(path).suffix.lower())
    try:
        if kind in ("csv", "tsv"):
            frame.write_csv(path, separator="\t" if kind == "tsv" else ",")
        elif kind == "parquet":
            frame.write_parquet(path)
        elif kind == "ipc":
            frame.write_ipc(path)
        elif kind == "jsonl":
            frame.write_ndjson(path)
        else:
            raise InputError(
                located("a table can be written as .csv, .tsv, .parquet, .arrow or .jsonl", file=shown(str(path)))
            )
    except OSError as problem:
        raise InputError(located(f"the table cannot be written ({problem})", file=str(path))) from None
