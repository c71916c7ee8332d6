"""``anyfm report``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.options import AsJson, general_options, option, with_options
from anyfm.cli.output import Output, seconds_text
from anyfm.core.errors import SettingError, got
from anyfm.core.settings import DataSettings


@with_options(*general_options("header", "column_names", "separator"))
def report(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="MODEL... DATA", help="Saved models, and last a table with their columns and target."),
    ],
    out: Annotated[Path, option("Output", "FILE.html", "The page to write.")] = Path("report.html"),
    rows: Annotated[
        int,
        option(
            "Data",
            "INTEGER",
            "Measure explanations on a sample of at most this many rows, everything else on all rows.",
        ),
    ] = 20_000,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Write an HTML report on models: quality, calibration, explanations, errors, rows.

    The page is one file that opens offline in any browser. Use rows that no model was trained on.

    Examples:
    anyfm report model test.parquet --out report.html
    anyfm report fm ffm deepfm test.parquet
    """
    from anyfm.pipeline import read_options
    from anyfm.report.page import write_report

    if len(paths) < 2:
        raise SettingError(got("a report needs at least one model and, last, a table", paths=paths))
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingError(got("--out must be an .html or .htm file", out=str(out)))
    if rows < 1:
        raise SettingError(got("--rows must be 1 or more", rows=rows))
    output = Output(as_json=as_json)
    began = time.perf_counter()
    options = read_options(DataSettings.from_mapping(settings))
    measured = write_report(paths[:-1], paths[-1], out, n_explained=rows, read_options=options)
    seconds, size = time.perf_counter() - began, out.stat().st_size
    metric = measured.task.loss_metric
    facts = [(model.name, f"{metric} {model.metrics[metric].value:.5f}") for model in measured.models]
    output.facts([*facts, ("written to", f"{out} ({size / 1e6:.1f} MB, {seconds_text(seconds)})")])
    models = {each.name: {name: found.value for name, found in each.metrics.items()} for each in measured.models}
    output.finish({"out": str(out), "bytes": size, "rows": measured.n_rows, "models": models, "seconds": seconds})
