"""The command line.

Each command reads its arguments, calls the library and shows the result; it computes nothing itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from anyfm import __version__
from anyfm.cli.card import card
from anyfm.cli.convert import convert
from anyfm.cli.demo import demo
from anyfm.cli.errors import catch_sigterm
from anyfm.cli.explain import explain
from anyfm.cli.export import export
from anyfm.cli.generate import generate
from anyfm.cli.help import Command, Group
from anyfm.cli.inspect import inspect
from anyfm.cli.models import models
from anyfm.cli.recommend import recommend
from anyfm.cli.report import report
from anyfm.cli.score import evaluate, predict
from anyfm.cli.serve import serve
from anyfm.cli.train import train
from anyfm.cli.tune import tune
from anyfm.core.stdout import check_standard_streams

app = typer.Typer(
    name="anyfm",
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anyfm {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Factorization machines for clicks and ratings, from a raw table to a trained model.

    Examples:
    anyfm demo
    anyfm train clicks.parquet --target click --out model
    anyfm predict model new.parquet --out scores.csv
    anyfm train --help
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


COMMANDS = (
    *(train, tune, evaluate, predict, recommend, serve, export),
    *(explain, report, card, inspect, models, generate, convert, demo),
)
for command in COMMANDS:
    app.command(cls=Command)(command)


def main() -> None:
    """Run the command line of this process."""
    check_standard_streams()
    catch_sigterm()
    app()
