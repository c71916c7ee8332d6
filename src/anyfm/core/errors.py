"""The errors anyfm raises, one small tree.

Every message states the rule first and then the value that breaks it: ``n_factors must be an integer from 1 to 256, got
n_factors=0``. Messages about data name the file, line or row, column and value.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class AnyfmError(Exception):
    """Base of all errors raised on purpose by anyfm; the command line prints its text and exits with status 2."""


class SettingError(AnyfmError, ValueError):
    """A setting or argument breaks its rule."""


class InputError(AnyfmError, ValueError):
    """The data cannot be used as it stands; the text names the place and the remedy."""


class ArtifactError(AnyfmError, ValueError):
    """A saved model is missing, damaged, or of a format this version cannot read."""


class DivergenceError(AnyfmError, ArithmeticError):
    """Training produced a loss or a parameter that is not a finite number."""


class ForkedProcessError(AnyfmError, RuntimeError):
    """What is asked for would hang in a forked process; the text says what to do instead."""


class MissingDependencyError(AnyfmError, ImportError):
    """An optional package is needed; the text names the command that installs it."""


def got(rule: str, **values: Any) -> str:
    """Word a broken rule: ``"<rule>, got name=value, ..."``."""
    return f"{rule}, got " + ", ".join(f"{name}={value!r}" for name, value in values.items())


def located(
    problem: str,
    *,
    file: str | None = None,
    row: int | None = None,
    line: int | None = None,
    column: str | int | None = None,
    value: Any = None,
    remedy: str | None = None,
) -> str:
    """Word a problem with data: what is wrong, where, with which value, and what to do.

    Parameters
    ----------
    problem : str
        One sentence without a final full stop.
    file, row, line, column, value
        The place, as far as it is known. ``row`` counts data rows from 1; ``line`` counts lines of the file from 1;
        ``column`` is the name of a table's column, or the number of a character in the line, from 1.
    remedy : str, optional
        What the user can do about it.
    """
    places = [
        f"file {file}" if file is not None else "",
        f"line {line}" if line is not None else "",
        f"row {row}" if row is not None else "",
        f"column {column!r}" if column is not None else "",
        f"value {shown(value)}" if value is not None else "",
    ]
    where = ", ".join(place for place in places if place)
    text = problem + (f" ({where})" if where else "")
    return f"{text}. {remedy}" if remedy else text


def shown(value: Any, *, width: int = 60) -> str:
    """``repr`` of a value, shortened in the middle so that a message stays readable."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width // 2]}…{text[-width // 4 :]} ({len(text)} characters)"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, whatever the case of its letters; None if none is like it."""
    by_lower = {one.lower(): one for one in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
