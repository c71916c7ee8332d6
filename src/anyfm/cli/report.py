"""``anyfm report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.options import AsJson, general_settings, with_settings
from anyfm.core.errors import SettingError, got


@with_settings(general_settings("header", "column_names", "separator"))
def report(
    models_and_data: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA", help="Saved models, and last a table with their fields and their target."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.", rich_help_panel="Output")] = Path(
        "report.html"
    ),
    rows: Annotated[
        int,
        typer.Option(
            metavar="INTEGER",
            help="Measure contributions on at most this many rows, and all else on all rows.",
            rich_help_panel="Data",
        ),
    ] = 20_000,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Write a page about models: quality, calibration, explanations, errors, rows.

    The page is one file that opens offline in any browser. Use rows that no model was trained on.

    Examples:
    anyfm report model test.parquet --out report.html
    anyfm report fm ffm deepfm test.parquet
    """
    from anyfm.cli.output import Output, seconds_text
    from anyfm.cli.reading import read_options
    from anyfm.core.settings import DataSettings
    from anyfm.core.task import get_task
    from anyfm.report.page import write_report

    if len(models_and_data) < 2:
        raise SettingError(got("a report needs at least one model and, last, a table", arguments=models_and_data))
    if rows < 1:
        raise SettingError(got("--rows must be 1 or more", rows=rows))
    output = Output(as_json=as_json)
    began = time.perf_counter()
    *models, data = models_and_data
    options = read_options(DataSettings.from_mapping(settings))
    measured = write_report(list(models), data, out, n_explained=rows, read_options=options)
    seconds = time.perf_counter() - began
    size = out.stat().st_size
    metric = get_task(measured.task).loss_metric
    facts = [(model.name, f"{metric} {model.metrics[metric].value:.5f}") for model in measured.models]
    output.facts([*facts, ("written to", f"{out} ({size / 1e6:.1f} MB, {seconds_text(seconds)})")])
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
