"""Text files: CSV, TSV and JSON lines, read by polars, with exact words for what is wrong in them.

polars reads fast and says little. So the happy way is polars alone, and only when it fails, or might have padded a
short line in silence, are the lines themselves looked at (`diagnosis`).
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.data import diagnosis
from anyfm.data.textfile import READ_ERRORS, TextFile

log = logging.getLogger(__name__)
INFER_ROWS = 10_000
SNIFF_LINES = 50
SEPARATORS = (",", "\t", ";", "|")
_UNPARSED = re.compile(r"could not parse .*\(column number (\d+)\)", re.DOTALL)
_NO_NUMBERS = ("inf", "nan", "infinity")


def read_delimited(
    path: Path,
    *,
    header: bool | None = None,
    names: Sequence[str] | None = None,
    separator: str | None = None,
    text_columns: Collection[str] = (),
    encoding: str = "utf-8",
) -> pl.DataFrame:
    """Read a CSV or TSV file, plain or compressed. See `readers.read_table` for the parameters."""
    file = TextFile(path, encoding)
    first = file.first_lines(SNIFF_LINES)
    separator = separator or _sniff(file, first)
    if len(separator) != 1 or ord(separator) > 127 or separator in '"\r\n':
        raise SettingError(
            got("separator must be one ASCII character, and neither quote nor line end", separator=separator)
        )
    cells = [[cell.strip() for cell in row] for row in file.cells(first, separator)]
    has_header = _is_header(cells) if header is None else header
    labels = _labels(path, cells[0], has_header, names)
    if has_header and len(cells) == 1:
        log.warning("file %s has a header and no rows", path)
    frame = _parse(file, separator, has_header, labels, text_columns)
    if frame.height and frame.width > 1 and frame[labels[-1]].null_count():
        frame = diagnosis.without_blank_lines(file, frame, separator, has_header=has_header)
    return frame


def _sniff(file: TextFile, lines: list[str]) -> str:
    """The separator that every line has the same number of, most of all; else the header's most frequent; a comma."""
    best, most = "", 0
    for separator in SEPARATORS:
        counts = [len(cells) - 1 for cells in file.cells(lines, separator)]
        if counts and min(counts) == max(counts) > most:
            best, most = separator, counts[0]
    if best:
        return best
    in_header = max(SEPARATORS, key=lines[0].count)
    return in_header if in_header in lines[0] else ","


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower().lstrip("+-") not in _NO_NUMBERS


def _is_header(cells: list[list[str]]) -> bool:
    """A first line is a header unless it holds a number; it is one all the same with text over a column of numbers."""
    first, below = cells[0], cells[1:]
    if not any(_is_number(cell) for cell in first):
        return True
    for place, cell in enumerate(first):
        column = [row[place] for row in below if len(row) > place and row[place]]
        if cell and not _is_number(cell) and column and all(map(_is_number, column)):
            return True
    return False


def _labels(path: Path, first: list[str], has_header: bool, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        if len(names) != len(first) or len(set(names)) != len(names):
            raise InputError(
                located(
                    f"names must name each of the {len(first)} columns once, but there are {len(names)}",
                    file=str(path),
                )
            )
        return list(names)
    labels = [(cell if has_header else "") or f"column_{place}" for place, cell in enumerate(first, 1)]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        places = [place for place, label in enumerate(labels, 1) if label == twice[0]]
        raise InputError(
            located(
                f"the columns of a table must have distinct names, but columns {places} have the same",
                file=str(path),
                line=1,
                column=twice[0],
                remedy="Rename one, or give names for all columns.",
            )
        )
    return labels


def _parse(
    file: TextFile, separator: str, has_header: bool, labels: list[str], text_columns: Collection[str]
) -> pl.DataFrame:
    raw = (
        _names_in_polars(file, separator, labels)
        if has_header
        else [f"column_{place + 1}" for place in range(len(labels))]
    )
    overrides: dict[str, Any] = {}
    for old, name in zip(raw, labels, strict=True):
        if name in set(text_columns):
            overrides[old] = pl.String
    infer: int | None = INFER_ROWS
    while True:
        try:
            frame = pl.read_csv(
                file.source(),
                separator=separator,
                has_header=has_header,
                infer_schema_length=infer,
                schema_overrides=overrides,
            )
            break
        except READ_ERRORS as problem:
            if isinstance(problem, OSError):
                raise InputError(located(f"the file cannot be read ({problem})", file=str(file.path))) from None
            place = _UNPARSED.search(str(problem))
            column = raw[int(place[1]) - 1] if place and int(place[1]) <= len(raw) else None
            if column is None or column in overrides:
                raise InputError(diagnosis.diagnose(file, separator, len(labels), str(problem))) from None
            log.warning("file %s: %s; read again with other types", file.path, str(problem).splitlines()[0])
            if infer is None:  # no type of number holds it
                overrides[column] = pl.String
            infer = None
    if frame.width != len(labels):
        raise InputError(diagnosis.diagnose(file, separator, len(labels), f"{frame.width} columns"))
    frame.columns = labels
    return frame


def _names_in_polars(file: TextFile, separator: str, labels: list[str]) -> list[str]:
    """How polars itself names the columns of the header, doubled names and all."""
    header = file.first_lines(1)[0].encode() + b"\n"
    names = pl.read_csv(io.BytesIO(header), separator=separator, infer_schema_length=0).columns
    return names if len(names) == len(labels) else list(labels)


def read_lines(path: Path) -> pl.DataFrame:
    """Read a file of JSON lines, one object a line, plain or compressed."""
    raw = TextFile(path).read()
    try:
        frame = pl.read_ndjson(io.BytesIO(raw), infer_schema_length=None)
    except READ_ERRORS as problem:
        raise InputError(diagnosis.diagnose_lines(raw, str(path), str(problem))) from None
    if frame.width == 0:
        raise InputError(located("a table must not be empty", file=str(path)))
    return frame
