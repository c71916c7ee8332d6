"""The command line: ``anyfm train``, ``evaluate``, ``predict``, ``explain``, ``report``, ``inspect``, ``generate``,
``convert``, ``demo``.

Each command reads its arguments, calls the library and shows the result; it computes nothing itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from anyfm import __version__
from anyfm.cli import converting, demo, explaining, generating, inspecting, reporting, scoring, training
from anyfm.cli.errors import PlainErrors

app = typer.Typer(
    name="anyfm",
    cls=PlainErrors,
    help="Factorization machines for clicks and ratings, from a raw table to a trained model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anyfm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("train")(training.train)
app.command("evaluate")(scoring.evaluate)
app.command("predict")(scoring.predict)
app.command("explain")(explaining.explain)
app.command("report")(reporting.report)
app.command("inspect")(inspecting.inspect)
app.command("models")(inspecting.models)
app.command("generate")(generating.generate)
app.command("convert")(converting.convert)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line of this process."""
    app()
