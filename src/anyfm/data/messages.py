"""Wording shared by the errors about tables: where the bad data is, and which name was probably meant."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from anyfm.core.errors import InputError, SettingError, got, located


def input_error(problem: str, **place: Any) -> InputError:
    """An InputError worded by `located`: the problem, then file, line, row, column and value, then the remedy."""
    return InputError(located(problem, **place))


def check_choice(name: str, value: Any, options: Collection[str], *, what: str | None = None) -> None:
    """Raise SettingError unless `value` is one of `options`; it suggests the nearest one.

    Parameters
    ----------
    name : str
        The argument.
    what : str, optional
        The subject of the rule; by default the argument's name.
    """
    if value not in options:
        option = _nearest(str(value), options)
        message = got(f"{what or name} must be one of {', '.join(options)}", **{name: value})
        raise SettingError(message if option is None else f"{message}. Did you mean {option!r}?")


def missing_column(role: str, name: str, columns: Sequence[str]) -> InputError:
    """An error for a column that is not in the table; it suggests the nearest column and lists those there are."""
    option = _nearest(name, columns)
    hint = "" if option is None else f"Did you mean {option!r}? "
    return input_error(
        f"the {role} column must be in the table", column=name, remedy=f"{hint}The table has {listed(columns)}."
    )


def listed(columns: Sequence[str]) -> str:
    """The first 20 columns, quoted."""
    return ", ".join(map(repr, columns[:20])) + (", …" if len(columns) > 20 else "")


def duplicates(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, in order of their first occurrence."""
    return [name for name, count in Counter(names).items() if count > 1]


def check_distinct(names: Sequence[str]) -> None:
    """Raise InputError for the first column name that occurs twice."""
    twice = duplicates(names)
    if twice:
        raise input_error("the columns of a table must have distinct names, but one occurs twice", column=twice[0])


def check_names(names: Sequence[str], n_columns: int, file: Path | None = None) -> None:
    """Raise InputError unless `names` gives each of the columns one name."""
    if len(names) != n_columns or len(set(names)) != len(names):
        raise input_error(
            f"names must name each of the {n_columns} columns once, but there are {len(names)}",
            file=None if file is None else str(file),
        )


def _nearest(word: str, options: Collection[str]) -> str | None:
    by_lower = {option.lower(): option for option in reversed(list(options))}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
