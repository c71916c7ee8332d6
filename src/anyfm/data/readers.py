"""Reading and writing tables: files, globs of files and the tables of other libraries become one polars DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from anyfm.core.atomic import replaced_file
from anyfm.core.forks import check_polars
from anyfm.core.stdout import write_stdout
from anyfm.data.files import FORMATS, SUFFIXES, read_files, renamed
from anyfm.data.memory import from_mapping, from_memory
from anyfm.data.messages import check_choice, input_error, missing_column

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
    """Read a table from files or from memory.

    Parameters
    ----------
    source : str, Path, list of them, DataFrame, Arrow table, mapping or 2-D array
        A path, a glob or a directory (CSV or TSV, plain or in .gz, .zst, .bz2, .xz or .zip; Parquet; Arrow IPC or
        Feather; JSON lines or an array; Excel); "-" for standard input; a pandas, polars or pyarrow table (a pandas
        index is left out); column → values; rows of numbers. Directories named day=2024-01-31 become columns.
    columns : sequence of str, optional
        Only these, in this order.
    header : bool, optional
        Whether the first line of a text file names the columns; by default it does unless it holds numbers where the
        lines below do.
    names : sequence of str, optional
        Names for the columns, in place of the header or of column_1, column_2, …
    separator : str, optional
        Between the columns of a text file, one character or several; by default detected among comma, tab, semicolon,
        bar and "::".
    format : {"auto", "csv", "tsv", "parquet", "ipc", "jsonl", "xlsx"}
        By default detected from the name, or else from the first bytes.
    text_columns : collection of str
        Columns of text files to read as text even if they look like numbers ("007").
    encoding : str
        Of text files; UTF-8 is read fastest.

    Raises
    ------
    SettingError
        The format, the separator or the encoding is unknown.
    InputError
        The source is absent, empty, damaged or of another format; the text names file, line and column.
    """
    check_choice("format", format, FORMATS)
    if isinstance(source, (str, Path)) or _is_paths(source):
        check_polars("reading a file")
        options: dict[str, Any] = {
            "header": header,
            "names": names,
            "separator": separator,
            "text_columns": text_columns,
            "encoding": encoding,
        }
        frame = read_files(source, format, columns, options)
    else:
        frame = renamed(from_memory(source), names)
    if columns is None:
        return frame
    for name in columns:
        if name not in frame.columns:
            raise missing_column("requested", name, frame.columns)
    return frame.select(columns)


def _is_paths(source: Any) -> bool:
    return isinstance(source, (list, tuple)) and len(source) > 0 and all(isinstance(s, (str, Path)) for s in source)


def write_table(table: pl.DataFrame | Mapping[str, Any], path: str | Path) -> None:
    """Write a table as CSV, TSV, Parquet, Arrow IPC or JSON lines, by its suffix; "-" is CSV on standard output.

    Raises
    ------
    InputError
        The suffix is another, or the file cannot be written. An earlier file is then as it was.
    OSError
        Standard output cannot be written.
    """
    frame = table if isinstance(table, pl.DataFrame) else from_mapping(table)
    if str(path) == "-":
        write_stdout(frame.write_csv().encode())
        return
    writers: dict[str, Callable[[Any], object]] = {
        "csv": frame.write_csv,
        "tsv": lambda file: frame.write_csv(file, separator="\t"),
        "parquet": frame.write_parquet,
        "ipc": frame.write_ipc,
        "jsonl": frame.write_ndjson,
    }
    write = writers.get(SUFFIXES.get(Path(path).suffix.lower(), ""))
    if write is None:
        raise input_error("a table can be written as .csv, .tsv, .parquet, .arrow or .jsonl", file=str(path))
    try:
        with replaced_file(Path(path)) as file:
            write(file)
    except (OSError, pl.exceptions.PolarsError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise input_error(f"the table cannot be written ({reason})", file=str(path)) from None
