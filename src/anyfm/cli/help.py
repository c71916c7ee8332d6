"""The help page of a command: options in panels, whole words at any width, examples at the end."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from anyfm.cli.errors import plain_errors
from anyfm.cli.options import PANELS

if TYPE_CHECKING:
    from rich.text import Text

_NAME_WIDTH, _MAX_WIDTH = 24, 100


class Command(TyperCommand):
    """A command whose help page is `help_page`."""

    def get_help(self, ctx: Any) -> str:
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        usage = [ctx.command_path]
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Output"
            panels[panel].append(_name_and_help(parameter))
            if parameter.required:
                usage.append(panels[panel][-1][0])
            elif is_argument:
                usage.append(f"[{parameter.metavar}]")
        return help_page(" ".join([*usage, "[OPTIONS]"]), self.help or "", panels)


class Group(TyperGroup):
    """The commands together; `plain_errors` holds for all of them."""

    def get_help(self, ctx: Any) -> str:
        commands = [(name, (command.help or "").split("\n\n")[0]) for name, command in self.commands.items()]
        panels = {"Commands": commands, "Options": [_name_and_help(each) for each in self.get_params(ctx)]}
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
        console.print(Text.assemble(("Usage: ", "bold"), usage, "\n"))
        for paragraph in description.strip().split("\n\n"):
            console.print(Text(textwrap.fill(paragraph, width) + "\n"))
        for title, rows in panels.items():
            if rows:
                lines = Text("\n").join(_panel_row(*row, width - 4) for row in rows)
                console.print(Panel(lines, title=title, title_align="left", border_style="dim", width=width))
        console.print(Text.assemble(("\nExamples:\n", "bold"), textwrap.indent(examples, "  ")))
    return captured.get().rstrip()


def _panel_row(name: str, description: str, width: int) -> Text:
    """An option with its description beside its name, or below a long name."""
    from rich.text import Text

    indent = " " * _NAME_WIDTH
    lines = textwrap.fill(
        " ".join(description.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    if len(name) < _NAME_WIDTH:
        return Text.assemble((name.ljust(_NAME_WIDTH), "bold cyan"), lines[_NAME_WIDTH:])
    return Text.assemble((name, "bold cyan"), "\n", lines)


def _name_and_help(parameter: Any) -> tuple[str, str]:
    text = parameter.help or ""
    if parameter.required:
        text += " Required."
    elif parameter.default not in (None, False):
        text += f" Default: {parameter.default}."
    if parameter.param_type_name == "argument":
        return parameter.metavar, text
    names = "/".join([*sorted(parameter.opts), *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar}", text
