"""Where and what is wrong in a CSV file: broken encoding, lines of the wrong length, open quotes, blank lines."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, located
from anyfm.data.messages import input_error
from anyfm.data.text_file import TextFile

log = logging.getLogger(__name__)


def explain_failure(file: TextFile, separator: str, width: int, problem: str) -> str:
    """Word what is wrong in a file that polars could not read, and in which line.

    Parameters
    ----------
    width : int
        How many cells each line must have.
    problem : str
        The error of polars.
    """
    path = str(file.path)
    for number, raw in enumerate(file.raw_lines(), 1):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as fault:
            cell = raw[: fault.start].count(separator.encode()) + 1
            return located(
                f"a text table must be UTF-8, but byte {fault.start + 1} of this line is 0x{raw[fault.start]:02x}",
                file=path,
                line=number,
                column=f"number {cell}",
                value=raw[max(fault.start - 10, 0) : fault.start + 10],
                remedy=f'Give its encoding (such as "latin-1"), or save it as UTF-8. {_guess(raw)}',
            )
    last = 1
    for last, cells in file.records(separator):
        if cells and len(cells) != width:
            return _wrong_width(path, last, len(cells), width)
    if "escape" in problem:
        remedy = 'Close it with ", or double every " within it.'
        return located("a quoted cell must be closed, but one is not", file=path, line=last, remedy=remedy)
    return located(f"the file cannot be read as a table ({problem.splitlines()[0]})", file=path)


def _guess(raw: bytes) -> str:
    """What a line that is not UTF-8 says in the encoding that it most likely has."""
    encoding = "cp1252" if not set(raw) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"
    at = next(i for i, byte in enumerate(raw) if byte >= 0x80)
    text = raw[max(at - 10, 0) : at + 10].decode(encoding).strip()
    return f"In {encoding} it says {text!r}: if that is right, set encoding={encoding}."


def _wrong_width(path: str, line: int, n_cells: int, width: int) -> str:
    return located(
        f"every line must have {width} cells as the first has, but this one has {n_cells}",
        file=path,
        line=line,
        remedy="Put cells that hold the separator in quotes, or correct the line.",
    )


def drop_blank_lines(file: TextFile, frame: pl.DataFrame, separator: str, *, has_header: bool) -> pl.DataFrame:
    """Refuse lines that are too short, which polars fills with nulls, and drop blank ones, which it reads as nulls.

    Raises
    ------
    InputError
        A line has too few cells; the text names it.
    """
    widths, lines = _widths(file, separator)
    bad = np.flatnonzero((widths != frame.width) & (widths != 0))
    if len(bad):
        raise InputError(_wrong_width(str(file.path), int(lines[bad[0]]), int(widths[bad[0]]), frame.width))
    filled = np.flatnonzero(widths)
    if len(filled) == len(widths):
        return frame
    rows = widths[filled[0] + has_header :]  # polars skips blank lines before the first line, not after it
    if len(rows) == frame.height + 1 and rows[-1] == 0:
        rows = rows[:-1]
    if len(rows) != frame.height:
        problem = "a file must have no blank lines, but this one has, and their rows cannot be found"
        raise input_error(problem, file=str(file.path), remedy="Remove the blank lines.")
    n_blank = int((rows == 0).sum())
    if n_blank:
        log.warning("file %s: %s blank lines left out", file.path, n_blank)
    return frame.filter(pl.Series(rows != 0))


def _widths(file: TextFile, separator: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many cells each record has (0: a blank line) and its first line, both int64 of shape (n_records,)."""
    lines = file.lines()
    if lines.str.contains('"', literal=True).any():
        records = np.array([(len(cells), line) for line, cells in file.records(separator)], np.int64).reshape(-1, 2)
        return records[:, 0], records[:, 1]
    widths = lines.str.count_matches(separator, literal=True).fill_null(0).cast(pl.Int64).to_numpy() + 1
    blank = (lines.fill_null("").str.strip_chars("\r") == "").to_numpy()
    first = next((number for number, raw in enumerate(file.raw_lines(), 1) if raw.strip()), 1)
    return np.where(blank, 0, widths), np.arange(first, first + len(widths))
