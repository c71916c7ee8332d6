"""Where and what is wrong in a text file: broken encoding, lines of the wrong length, open quotes, no JSON."""

from __future__ import annotations

import json
import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, located
from anyfm.data.textfile import TextFile

log = logging.getLogger(__name__)


def diagnose(file: TextFile, separator: str, width: int, problem: str) -> str:
    """Say what is wrong in a file that polars could not read, and in which line.

    Parameters
    ----------
    width : int
        How many cells each line must have.
    problem : str
        What polars said.
    """
    path = str(file.path)
    for number, raw in enumerate(file.raw_lines(), 1):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as fault:
            place = raw[: fault.start].count(separator.encode()) + 1
            return located(
                f"a text table must be UTF-8, but byte {fault.start + 1} of this line is 0x{raw[fault.start]:02x}",
                file=path,
                line=number,
                column=f"number {place}",
                value=raw[max(fault.start - 10, 0) : fault.start + 10],
                remedy='Say its encoding (such as "latin-1"), or save it as UTF-8.',
            )
    last = 1
    for line, cells in file.records(separator):
        last = line
        if cells and len(cells) != width:
            return _wrong_width(path, line, len(cells), width)
    if "escape" in problem:
        return located(
            "a quoted cell must be closed, but one is not",
            file=path,
            line=last,
            remedy='Close it with ", or double every " within it.',
        )
    return located(f"the file cannot be read as a table ({problem.splitlines()[0]})", file=path)


def _wrong_width(path: str, line: int, came: int, width: int) -> str:
    return located(
        f"every line must have {width} cells as the first has, but this one has {came}",
        file=path,
        line=line,
        remedy="Put cells that hold the separator in quotes, or correct the line.",
    )


def without_blank_lines(file: TextFile, frame: pl.DataFrame, separator: str, *, has_header: bool) -> pl.DataFrame:
    """Refuse lines that are too short, which polars pads with nulls, and leave out blank ones, which it reads as nulls.

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
    rows = widths[filled[0] + has_header :]  # polars skips blank lines before the first line, not after
    if len(rows) == frame.height + 1 and rows[-1] == 0:
        rows = rows[:-1]
    if len(rows) != frame.height:
        raise InputError(
            located(
                "the file has blank lines, and which rows they are cannot be told",
                file=str(file.path),
                remedy="Remove the blank lines.",
            )
        )
    n_blank = int((rows == 0).sum())
    if n_blank:
        log.warning("file %s: %s blank lines left out", file.path, n_blank)
    return frame.filter(pl.Series(rows != 0))


def _widths(file: TextFile, separator: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many cells each record has (0: a blank line) and the line it begins in, both int64 of shape (n_records,)."""
    lines = file.lines()
    if not bool(lines.str.contains('"', literal=True).any()):
        widths = lines.str.count_matches(separator, literal=True).fill_null(0).cast(pl.Int64).to_numpy() + 1
        blank = (lines.fill_null("").str.strip_chars("\r") == "").to_numpy()
        first = next((n for n, raw in enumerate(file.raw_lines(), 1) if raw.strip()), 1)
        return np.where(blank, 0, widths), np.arange(first, first + len(widths))
    both = [(len(cells), line) for line, cells in file.records(separator)]
    return np.array([n for n, _ in both], np.int64), np.array([line for _, line in both], np.int64)


def diagnose_lines(raw: bytes, path: str, problem: str) -> str:
    """Say what is wrong in a file of JSON lines, and in which line."""
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, UnicodeDecodeError) as fault:
            return located(
                f"every line must be JSON, but this one is not: {fault}", file=path, line=number, value=line[:60]
            )
        if not isinstance(value, dict):
            return located("every line must be a JSON object", file=path, line=number, value=value)
    return located(f"the file cannot be read as JSON lines ({problem.splitlines()[0]})", file=path)
