"""The help page of a command: options in panels, whole words at any width, examples at the end."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

from anyfm.cli.errors import plain_errors

PANELS = ("Arguments", "Data", "Model", "Training", "Validation", "Output")
"""The headings of options, in the order in which they are shown."""

_NAME_WIDTH = 24
_MAX_WIDTH = 100


class Command(TyperCommand):
    """A command whose help page is `help_page`."""

    def get_help(self, ctx: Any) -> str:
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        required = []
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Output"
            panels[panel].append(_help_row(parameter, is_argument=is_argument))
            if is_argument or parameter.required:
                required.append(_usage_piece(parameter, is_argument=is_argument))
        return help_page(" ".join([ctx.command_path, *required, "[OPTIONS]"]), self.help or "", panels)


class Group(TyperGroup):
    """The commands together; `plain_errors` holds for all of them."""

    def get_help(self, ctx: Any) -> str:
        rows = [(name, _first_sentence(command.help or "")) for name, command in self.commands.items()]
        options = [_help_row(parameter, is_argument=False) for parameter in self.get_params(ctx)]
        panels = {"Commands": rows, "Options": options}
        return help_page(f"{ctx.command_path} COMMAND [ARGUMENTS]", self.help or "", panels)

    def make_context(self, *args: Any, **options: Any) -> Any:
        with plain_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with plain_errors():
            return super().invoke(ctx)


def help_page(usage: str, text: str, panels: dict[str, list[tuple[str, str]]]) -> str:
    """Lay out a help page.

    Parameters
    ----------
    usage : str
        How the command is called.
    text : str
        Paragraphs; what follows a line "Examples:" is shown at the end as it is.
    panels : dict of str to list of (str, str)
        Names and descriptions under each heading.
    """
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = min(console.width, _MAX_WIDTH)
    description, _, examples = text.partition("Examples:\n")
    with console.capture() as captured:
        console.print(Text.assemble(("Usage: ", "bold"), usage), end="\n\n")
        for paragraph in description.strip().split("\n\n"):
            console.print(textwrap.fill(" ".join(paragraph.split()), width), markup=False, end="\n\n")
        for title, rows in panels.items():
            if rows:
                lines = Text("\n").join(line for row in rows for line in _panel_lines(*row, width - 4))
                console.print(Panel(lines, title=title, title_align="left", border_style="dim", width=width))
        if examples:
            console.print(Text.assemble(("\nExamples:\n", "bold"), textwrap.indent(textwrap.dedent(examples), "  ")))
    return captured.get().rstrip()


def _panel_lines(name: str, description: str, width: int) -> Iterable[Any]:
    """The lines of one option: its description stands beside its name, or below a long name."""
    from rich.text import Text

    indent = " " * _NAME_WIDTH
    beside = len(name) < _NAME_WIDTH
    if not beside:
        yield Text(name, style="bold cyan")
    lines = textwrap.wrap(description, width - _NAME_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    for place, line in enumerate(lines):
        if beside and place == 0:
            yield Text.assemble((name.ljust(_NAME_WIDTH), "bold cyan"), line)
        else:
            yield Text(indent + line)


def _help_row(parameter: Any, *, is_argument: bool) -> tuple[str, str]:
    if is_argument:
        return parameter.metavar, f"{parameter.help} Required." if parameter.required else parameter.help
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    metavar = "" if parameter.is_flag else parameter.metavar
    notes = ""
    if parameter.required:
        notes = " Required."
    elif parameter.default not in (None, False, ()) and not parameter.is_flag:
        notes = f" Default: {getattr(parameter.default, 'value', parameter.default)}."
    return f"{names} {metavar}".strip(), f"{parameter.help}{notes}"


def _usage_piece(parameter: Any, *, is_argument: bool) -> str:
    piece: str = parameter.metavar
    if is_argument:
        return piece if parameter.required else f"[{piece}]"
    return f"{parameter.opts[0]} {piece}"


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
