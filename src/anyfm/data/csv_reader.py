"""CSV and TSV files, read by polars, with exact words for what is wrong in them.

polars reads fast, but its errors do not name the line. So polars reads alone, and only if it fails, or might have
filled a short line with nulls silently, are the lines themselves examined (`csv_errors`).
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from anyfm.core.errors import InputError, SettingError, got
from anyfm.data.csv_errors import drop_blank_lines, explain_failure
from anyfm.data.messages import check_names, duplicates, input_error
from anyfm.data.text_file import READ_ERRORS, TextFile, has_leading_zeros
from anyfm.data.values import LEADING_ZERO

log = logging.getLogger(__name__)
INFER_ROWS = 10_000
SNIFFED_LINES = 50
SEPARATORS = (",", "\t", ";", "|", "::")
UNIT_SEPARATOR = "\x1f"
"""The character of ASCII between columns; it stands for a separator of several characters while a file is read."""
MAX_SEPARATOR = 8
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_UNPARSED = re.compile(r"could not parse .*\(column number (\d+)\)", re.DOTALL)


def read_csv(
    path: Path,
    *,
    header: bool | None = None,
    names: Sequence[str] | None = None,
    separator: str | None = None,
    text_columns: Collection[str] = (),
    encoding: str = "utf-8",
) -> pl.DataFrame:
    """Read a CSV or TSV file, plain or compressed. See `anyfm.data.readers.read_table` for the parameters."""
    file = TextFile(path, encoding)
    lines = file.first_lines(SNIFFED_LINES)
    separator = separator or _sniffed_separator(file, lines)
    if not separator.isascii() or set(separator) & set('"\r\n') or len(separator) > MAX_SEPARATOR:
        rule = f"separator must be one to {MAX_SEPARATOR} ASCII characters, and neither quote nor line end"
        raise SettingError(got(rule, separator=separator))
    if len(separator) > 1:
        file = file.with_separator(separator, UNIT_SEPARATOR)
        separator, lines = UNIT_SEPARATOR, file.first_lines(SNIFFED_LINES)
    rows = [[cell.strip() for cell in row] for row in _split(file, lines, separator)]
    has_header = _is_header(rows) if header is None else header
    columns = _column_names(path, rows[0], has_header, names)
    if has_header and len(rows) == 1:
        log.warning("file %s has a header and no rows", path)
    frame = _parse(file, separator, has_header, columns, text_columns)
    if frame.height and frame.width > 1 and frame[columns[-1]].null_count():
        frame = drop_blank_lines(file, frame, separator, has_header=has_header)
    return frame


def _split(file: TextFile, lines: list[str], separator: str) -> list[list[str]]:
    """The cells of each record of some lines."""
    if len(separator) > 1:
        return [line.split(separator) for line in lines]
    try:
        return [cells for cells in csv.reader(lines, delimiter=separator) if cells]
    except csv.Error as problem:
        raise input_error(f"the file cannot be read ({problem})", file=str(file.path)) from None


def _sniffed_separator(file: TextFile, lines: list[str]) -> str:
    """The separator that occurs equally often in every line, and most often; else the header's most frequent one."""

    def in_every_line(separator: str) -> int:
        counts = {len(cells) - 1 for cells in _split(file, lines, separator)}
        return counts.pop() if len(counts) == 1 else 0

    best = max(SEPARATORS, key=in_every_line)
    if best == "," and in_every_line(";") and all(map(_commas_are_decimal, lines)):
        return ";"
    return best if in_every_line(best) else max(SEPARATORS, key=lines[0].count)


def _commas_are_decimal(line: str) -> bool:
    """Whether digits stand on both sides of every comma of a line with semicolons."""
    return all(before[-1:].isdigit() and after[:1].isdigit() for before, after in pairwise(line.split(",")))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return _DECIMAL_COMMA.fullmatch(cell) is not None
    return cell.lower().lstrip("+-") not in ("inf", "nan", "infinity")


def _is_header(rows: list[list[str]]) -> bool:
    """A first line is a header unless it holds a number; even so if text stands above a column of numbers."""
    first, below = rows[0], rows[1:]
    if not any(map(_is_number, first)):
        return True
    for i, cell in enumerate(first):
        column = [row[i] for row in below if len(row) > i and row[i]]
        if cell and not _is_number(cell) and column and all(map(_is_number, column)):
            return True
    return False


def _column_names(path: Path, first: list[str], has_header: bool, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        check_names(names, len(first), path)
        return list(names)
    found = [(cell if has_header else "") or f"column_{number}" for number, cell in enumerate(first, 1)]
    twice = duplicates(found)
    if twice:
        numbers = [number for number, name in enumerate(found, 1) if name == twice[0]]
        raise input_error(
            f"the columns of a table must have distinct names, but columns {numbers} have the same",
            file=str(path),
            line=1,
            column=twice[0],
            remedy="Rename one, or give names for all columns.",
        )
    return found


def _parse(
    file: TextFile, separator: str, has_header: bool, columns: list[str], text_columns: Collection[str]
) -> pl.DataFrame:
    raw = _names_in_polars(file, separator, columns) if has_header else [f"column_{i + 1}" for i in range(len(columns))]
    types: dict[str, Any] = {old: pl.String for old, name in zip(raw, columns, strict=True) if name in text_columns}
    infer_rows: int | None = INFER_ROWS
    while True:
        try:
            frame = pl.read_csv(
                file.source(),
                separator=separator,
                has_header=has_header,
                infer_schema_length=infer_rows,
                schema_overrides=types,
            )
            break
        except OSError as problem:
            raise input_error(f"the file cannot be read ({problem})", file=str(file.path)) from None
        except READ_ERRORS as problem:
            number = _UNPARSED.search(str(problem))
            column = raw[int(number[1]) - 1] if number and int(number[1]) <= len(raw) else None
            if column is None or column in types:
                raise InputError(explain_failure(file, separator, len(columns), str(problem))) from None
            log.warning("file %s: %s; read again with other types", file.path, str(problem).splitlines()[0])
            if infer_rows is None:  # no type of number fits
                types[column] = pl.String
            infer_rows = None
    if frame.width != len(columns):
        raise InputError(explain_failure(file, separator, len(columns), f"{frame.width} columns"))
    if frame.height and any(kind.is_numeric() for kind in frame.dtypes) and has_leading_zeros(file, separator):
        frame = _with_leading_zeros(file, separator, has_header, frame)
    frame.columns = columns
    return frame


def _with_leading_zeros(file: TextFile, separator: str, has_header: bool, frame: pl.DataFrame) -> pl.DataFrame:
    """The table with text for the columns of numbers of which one is written with leading zeros, "007"."""
    numbers = [i for i, kind in enumerate(frame.dtypes) if kind.is_numeric()]
    text = pl.read_csv(
        file.source(), separator=separator, has_header=has_header, infer_schema_length=0, columns=numbers
    )
    zeros = [column for column in text.get_columns() if column.str.contains(LEADING_ZERO).any()]
    return frame.with_columns(column.alias(frame.columns[numbers[text.columns.index(column.name)]]) for column in zeros)


def _names_in_polars(file: TextFile, separator: str, columns: list[str]) -> list[str]:
    """How polars itself names the columns of the header, repeated names included."""
    header = file.first_lines(1)[0].encode() + b"\n"
    names = pl.read_csv(io.BytesIO(header), separator=separator, infer_schema_length=0).columns
    return names if len(names) == len(columns) else columns
