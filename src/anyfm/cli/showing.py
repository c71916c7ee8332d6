"""Text for people and JSON for programs: who gets what, and where."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_METRIC_DIGITS = 5


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
        self.notes: Console = Console(stderr=True, highlight=False, soft_wrap=True)
        elsewhere = as_json or stdout_taken
        self.results: Console = self.notes if elsewhere else Console(highlight=False, soft_wrap=True)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the JSON object, if that was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n")
            sys.stdout.flush()

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Show a result as lines of name and value."""
        from rich.markup import escape

        facts = list(facts)
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            self.results.print(f"{name.ljust(width)}  {escape(value)}")


def table(*columns: str, title: str | None = None, numbers: Iterable[str] = ()) -> RichTable:
    """An empty table; columns named in `numbers` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    right = set(numbers)
    shown = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return shown


def metric_facts(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{value:.{_METRIC_DIGITS}f}") for name, value in metrics.items()]


def seconds_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def settings_text(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items())
