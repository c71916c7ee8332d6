"""What commands write: text for people, and one line of JSON for programs."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_METRIC_DIGITS = 5
_MAX_TEXT_WIDTH = 100


class Output:
    """Where a command writes.

    Parameters
    ----------
    as_json : bool
        Results go to standard output as one JSON object, its last line, and all text for people to standard error.
    stdout_taken : bool
        Standard output carries data, so that all text goes to standard error.

    Attributes
    ----------
    notes : rich.console.Console
        On standard error: what was found and what is happening.
    results : rich.console.Console
        On standard output, or on standard error where that is taken.
    """

    def __init__(self, *, as_json: bool = False, stdout_taken: bool = False) -> None:
        from rich.console import Console

        self._as_json = as_json
        self.notes: Console = Console(stderr=True, highlight=False)
        self.results: Console = self.notes if as_json or stdout_taken else Console(highlight=False)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the JSON object, if it is asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """Write paragraphs of a result, wrapped between words; an indented line stays indented."""
        for line in text.split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            _print(self.results, _wrap(line.strip(), self.results, first=indent, indent=indent))

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Write a result as lines of name and value."""
        _print_facts(self.results, facts)

    def note_facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Write what was found as lines of name and value."""
        _print_facts(self.notes, facts)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        numbers: Iterable[str] = (),
        title: str | None = None,
        notes: bool = False,
        dim: Iterable[int] = (),
    ) -> None:
        """Write a table.

        Parameters
        ----------
        columns : sequence of str
            The first is never wrapped.
        rows : iterable of sequences of str
        numbers : iterable of str
            Columns that are aligned to the right.
        title : str, optional
        notes : bool
            Whether the table says what was found, and is no result.
        dim : iterable of int
            The rows, from 0, that matter less.
        """
        _print_table(self.notes if notes else self.results, columns, rows, set(numbers), title, set(dim))


def _print_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[str], title: Any, dim: set[int]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown: Table = Table(title=title and escape(title), box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for place, column in enumerate(columns):
        is_number = column in numbers
        shown.add_column(
            escape(column), justify="right" if is_number else "left", no_wrap=is_number or place == 0, overflow="fold"
        )
    for place, row in enumerate(rows):
        shown.add_row(*(escape(cell) for cell in row), style="dim" if place in dim else None)
    console.print(shown)


def _print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    facts = list(facts)
    width = max((len(name) for name, _ in facts), default=0) + 2
    for name, value in facts:
        _print(console, _wrap(value, console, first=name.ljust(width), indent=" " * width))


def _wrap(text: str, console: Console, *, first: str, indent: str) -> str:
    width = min(console.width, _MAX_TEXT_WIDTH)
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines) or first.rstrip()


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def metric_facts(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{value:.{_METRIC_DIGITS}f}") for name, value in metrics.items()]


def seconds_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def settings_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value_text(value)}" for name, value in settings.items())


def _value_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
