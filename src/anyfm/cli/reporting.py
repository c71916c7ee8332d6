"""``anyfm report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from anyfm.core.errors import SettingError, got


def report(
    models_and_data: Annotated[
        list[str],
        typer.Argument(metavar="MODEL... DATA", help="Saved models, and last a table with their fields and target."),
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    rows: Annotated[int, typer.Option(help="Measure terms on at most so many rows, all else on all rows.")] = 20_000,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Show what models do on a table in one page that opens offline in any browser: quality, reasons, errors, rows."""
    from anyfm.cli.showing import Output, seconds_text
    from anyfm.cli.training import read_options
    from anyfm.report.page import write_report

    if len(models_and_data) < 2:
        raise SettingError(got("a report needs at least one model and, last, a table", came=models_and_data))
    if rows < 1:
        raise SettingError(got("--rows must be 1 or more", rows=rows))
    output = Output(as_json=as_json)
    began = time.perf_counter()
    *models, data = models_and_data
    options = read_options(no_header=no_header, names=names, separator=separator)
    measured = write_report(list(models), data, out, n_explained=rows, read_options=options)
    seconds = time.perf_counter() - began
    size = out.stat().st_size
    for model in measured.models:
        main = measured.task.loss_metric
        estimate = model.metrics[main]
        output.results.print(f"{model.name}: {main} {estimate.value:.5f}", markup=False)
    output.facts([("written to", f"{out} ({size / 1e6:.1f} MB, {seconds_text(seconds)})")])
    output.finish(
        {
            "out": str(out),
            "bytes": size,
            "rows": measured.n_rows,
            "models": {
                model.name: {name: estimate.value for name, estimate in model.metrics.items()}
                for model in measured.models
            },
            "seconds": seconds,
        }
    )
