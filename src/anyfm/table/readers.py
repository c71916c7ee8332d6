"""Tables in and out: files, globs of files, and the tables of other libraries become one polars DataFrame.

The one module that knows pandas and Arrow. Text files are read by `delimited`.
"""

from __future__ import annotations

import glob
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from anyfm.errors import InputError, SettingError, however, located, shown
from anyfm.table.delimited import read_delimited, read_lines

log = logging.getLogger(__name__)
Frame = pl.DataFrame

FORMATS = ("auto", "csv", "tsv", "parquet", "ipc", "jsonl")
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".ipc": "ipc",
    ".arrow": "ipc", ".feather": "ipc", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".zstd")


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
        raise SettingError(however(f"format must be one of {', '.join(FORMATS)}", format=format))
    if isinstance(source, (str, Path)) or _is_paths(source):
        options: dict[str, Any] = {
            "header": header,
            "names": names,
            "separator": separator,
            "text_columns": text_columns,
            "encoding": encoding,
        }
        frame = _read_files(_paths(source), format, columns, options)
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


def _paths(source: Any) -> list[Path]:
    """The files that a path, a glob or a list of them stands for, in order of name."""
    paths: list[Path] = []
    for one in [source] if isinstance(source, (str, Path)) else source:
        path = Path(one).expanduser()
        if path.is_dir():
            raise InputError(
                located(
                    "a table must be a file, however this is a directory",
                    file=str(one),
                    remedy=f"Give a glob for the files in it, such as {str(path / '*.csv')!r}.",
                )
            )
        if path.exists():
            paths.append(path)
            continue
        found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else []
        files = [Path(name) for name in found if Path(name).is_file()]
        if not files:
            what = "the pattern matches no file" if glob.has_magic(str(path)) else "the file does not exist"
            raise InputError(located(what, file=str(one), remedy=f"The working directory is {Path.cwd()}."))
        paths.extend(files)
    return paths


def _read_files(paths: list[Path], format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    frames = [_read_file(path, format, columns, options) for path in paths]
    if len(frames) == 1:
        return frames[0]
    for path, frame in zip(paths, frames, strict=True):
        lacking = [name for name in frames[0].columns if name not in frame.columns]
        extra = [name for name in frame.columns if name not in frames[0].columns]
        if lacking or extra:
            came = f"lacks {', '.join(map(repr, lacking))}" if lacking else f"also has {', '.join(map(repr, extra))}"
            raise InputError(
                located(f"all files must have the columns of {paths[0]}, however this one {came}", file=str(path))
            )
    return _stack(paths, frames)


def _stack(paths: list[Path], frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One table of many; a column that is text in one file is text in all."""
    frames = [frame.select(frames[0].columns) for frame in frames]
    for name in frames[0].columns:
        kinds = {frame.schema[name] for frame in frames if frame.schema[name] != pl.Null}
        if len(kinds) > 1 and any(kind == pl.String for kind in kinds):
            log.warning("column %r is text in some of the files and not in others: read as text in all", name)
            frames = [frame.with_columns(pl.col(name).cast(pl.String)) for frame in frames]
    try:
        return pl.concat(frames, how="vertical_relaxed", rechunk=True)
    except pl.exceptions.PolarsError as problem:
        raise InputError(
            f"the files {paths[0]} … {paths[-1]} must have columns of the same types, however: {problem}"
        ) from None


def _read_file(path: Path, format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    if path.stat().st_size == 0:
        raise InputError(located("a table must not be empty, however the file has no bytes", file=str(path)))
    kind = _format_of(path) if format == "auto" else format
    if kind in ("csv", "tsv"):
        separator = options["separator"] or ("\t" if kind == "tsv" else None)
        return read_delimited(path, **{**options, "separator": separator})
    frame = read_lines(path) if kind == "jsonl" else _read_binary(path, kind, columns)
    return _renamed(frame, options["names"], str(path))


def _renamed(frame: pl.DataFrame, names: Sequence[str] | None, file: str | None) -> pl.DataFrame:
    if names is None:
        return frame
    if len(names) != frame.width or len(set(names)) != len(names):
        raise InputError(
            located(
                f"names must name each of the {frame.width} columns once, however there are {len(names)}", file=file
            )
        )
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _read_binary(path: Path, kind: str, columns: Sequence[str] | None) -> pl.DataFrame:
    try:
        if kind == "parquet":
            have = list(pl.read_parquet_schema(path))
            wanted = None if columns is None else [name for name in have if name in set(columns)]
            return pl.read_parquet(path, columns=wanted, glob=False)
        return pl.read_ipc(path)
    except (OSError, pl.exceptions.PolarsError) as problem:
        text = str(problem).splitlines()[0]
        label = "Parquet" if kind == "parquet" else "Arrow IPC"
        raise InputError(
            located(
                f"the file cannot be read as {label} ({text})",
                file=str(path),
                remedy="Check that it is whole, and its format; see the option format.",
            )
        ) from None


def _format_of(path: Path) -> str:
    """The format of a file by its first bytes where they tell, or by its name."""
    with path.open("rb") as file:
        start = file.read(64)
    if start[:4] == b"PAR1":
        return "parquet"
    if start[:6] == b"ARROW1" or start[:4] == b"FEA1":
        return "ipc"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    kind = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind in ("parquet", "ipc"):
        label = "Parquet" if kind == "parquet" else "Arrow IPC"
        raise InputError(
            located(
                f"the name says {label}, however the file does not begin as one",
                file=str(path),
                value=start[:8],
                remedy="Check that it is whole, or say its format with the option format.",
            )
        )
    if kind is None:
        kind = "jsonl" if start.lstrip()[:1] == b"{" else "csv"
    return kind


def _from_memory(source: Any, names: Sequence[str] | None) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return _renamed(source, names, None)
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
            however(
                "a table must be a path, a pandas, polars or Arrow table, a mapping of column to values or a 2-D array",
                came=type(source).__name__,
            )
        )
    return _renamed(frame, names, None)


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
                    f"all columns must have as many rows as {series[0].name!r}, {len(series[0])}, however",
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
            raise InputError(located(f"a column must have one dimension, however it has {values.ndim}", column=name))
        if values.dtype.kind not in "OUS":
            return pl.Series(name, np.ascontiguousarray(values))
        values = values.tolist()
    return _from_objects(name, list(values))


def _from_objects(name: str, values: list[Any]) -> pl.Series:
    """Python objects as a column; where types mix that do not go together, all become text."""
    try:
        series = pl.Series(name, values, strict=True)
        if series.dtype != pl.Object:
            return series
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        pass
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float, bool, np.float64, np.int64, np.bool_}:
        return pl.Series(name, [None if value is None else float(value) for value in values])
    if kinds & {list, tuple, dict, np.ndarray}:
        return _from_lists(name, values)
    log.warning("column %r mixes %s: taken as text", name, ", ".join(sorted(kind.__name__ for kind in kinds)))
    return pl.Series(name, [_text_of(value) for value in values], pl.String)


def _from_lists(name: str, values: list[Any]) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (list, tuple, set, np.ndarray)):
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
            located("the columns of a table must have distinct names, however one is met twice", column=twice[0])
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
    kind = _SUFFIXES.get(Path(path).suffix.lower())
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
