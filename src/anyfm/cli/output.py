"""What commands write: text for people, and one line of JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anyfm.core.settings import Settings
from anyfm.core.stdout import printable

_MAX_WIDTH = 100


class Output:
    """Where a command writes: results to standard output, notes on what is found and done to standard error.

    Parameters
    ----------
    as_json : bool
        The result is one JSON object, the last line of standard output, and all text goes to standard error.
    stdout_taken : bool
        Standard output carries data, so that all text goes to standard error.
    quiet : bool
        Write nothing but JSON that is asked for.
    """

    def __init__(self, *, as_json: bool = False, stdout_taken: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        self._as_json = as_json
        self._notes = Console(stderr=True, highlight=False, quiet=quiet)
        self._results = self._notes if as_json or stdout_taken else Console(highlight=False, quiet=quiet)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the JSON object, if it is asked for."""
        if self._as_json:
            # Where characters are missing, json's escapes are still JSON.
            as_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
            sys.stdout.write(json.dumps(result, ensure_ascii=as_ascii, allow_nan=False) + "\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """Write lines of a result, wrapped between words; an indented line stays indented."""
        for line in text.split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            self._print(line[len(indent) :], indent, indent)

    def facts(self, facts: Iterable[tuple[str, str]], *, notes: bool = False) -> None:
        """Write lines of name and value."""
        facts = list(facts)
        width = max((len(name) for name, _ in facts), default=0) + 2
        for name, value in facts:
            self._print(value, name.ljust(width), " " * width, notes=notes)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        numbers: Iterable[str] = (),
        title: str | None = None,
        notes: bool = False,
    ) -> None:
        """Write a table. The columns of `numbers` are aligned to the right and not cut; long titles take two lines."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        console = self._notes if notes else self._results
        if title is not None:
            console.print(printable(title), markup=False, style="italic")
        shown = Table(box=SIMPLE_HEAD)
        for column in columns:
            is_number = column in numbers
            title_ = _in_two_lines(printable(column)) if is_number else printable(column)
            shown.add_column(Text(title_), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
        for row in rows:
            shown.add_row(*(Text(printable(cell)) for cell in row))
        console.print(shown)

    def _print(self, text: str, first: str, indent: str, *, notes: bool = False) -> None:
        console = self._notes if notes else self._results
        width = min(console.width, _MAX_WIDTH)
        lines = textwrap.wrap(
            printable(text),
            width,
            initial_indent=first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        console.print("\n".join(lines), markup=False, soft_wrap=True)


def metric_facts(metrics: Mapping[str, float], *, rows: str = "") -> list[tuple[str, str]]:
    """Metrics by name; `rows` says of which rows, such as "validation "."""
    return [(rows + name.replace("_", " "), f"{value:.5f}") for name, value in metrics.items()]


def seconds_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def settings_text(values: Mapping[str, Any], kind: type[Settings] | None = None) -> str:
    """Values by name; those of settings of `kind` as they are written on the command line."""
    none = {} if kind is None else {item.name: item.metadata["rule"].none for item in dataclasses.fields(kind)}
    return ", ".join(f"{name}={value_text(value, none.get(name, 'none'))}" for name, value in values.items())


def value_text(value: Any, none: str = "none") -> str:
    """A value as it is written on the command line, `none` for None."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return none if value is None else str(value)


def _in_two_lines(title: str) -> str:
    """A title of more than 12 letters, broken at the space nearest to its middle."""
    spaces = [place for place, letter in enumerate(title) if letter == " "]
    if len(title) <= 12 or not spaces:
        return title
    middle = min(spaces, key=lambda place: abs(2 * place - len(title)))
    return f"{title[:middle]}\n{title[middle + 1 :]}"
