"""``anyfm evaluate`` and ``anyfm predict``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from anyfm.errors import SettingError


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table with the model's fields and its target.")],
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 means all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Measure a saved model on a table."""
    from anyfm.cli.schema_view import report_dict, report_lines
    from anyfm.cli.showing import Output, metric_facts
    from anyfm.cli.training import read_options
    from anyfm.predictor import load

    output = Output(as_json=as_json)
    predictor = load(model, n_threads=threads)
    began = time.perf_counter()
    frame = predictor.read(data, **read_options(no_header=no_header, names=names, separator=separator))
    encoded = predictor.encode(frame, labelled=True)
    metrics = predictor.evaluate(encoded.rows)
    seconds = time.perf_counter() - began
    for line in report_lines("data", encoded.report):
        output.notes.print(line, markup=False)
    output.facts([("rows", f"{encoded.rows.n_rows:,}"), *metric_facts(metrics)])
    result = {"model": predictor.artifact.model.name, "rows": encoded.rows.n_rows, **metrics, "seconds": seconds}
    output.finish({**result, "encoding": report_dict(encoded.report)})


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table with the model's fields.")],
    out: Annotated[str, typer.Option(help="scores.parquet, scores.csv, or - for CSV on standard output.")] = "-",
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A column of the data to write beside the score.")
    ] = None,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 means all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Score every row of a table: its probability, or for regression its prediction, in the order of the rows."""
    from anyfm.cli.schema_view import report_dict, report_lines
    from anyfm.cli.showing import Output
    from anyfm.cli.training import read_options
    from anyfm.predictor import load
    from anyfm.table.readers import write_table

    if as_json and out == "-":
        raise SettingError("--json needs --out FILE, since the scores themselves take standard output")
    output = Output(as_json=as_json, stdout_taken=out == "-")
    predictor = load(model, n_threads=threads)
    began = time.perf_counter()
    frame = predictor.read(data, **read_options(no_header=no_header, names=names, separator=separator))
    kept = keep or []
    for column in kept:
        if column not in frame.columns:
            raise SettingError(f"--keep must name a column of the data, however: keep={column!r}")
    encoded = predictor.encode(frame)
    scores = predictor.predict(encoded.rows)
    name = "probability" if predictor.task == "binary" else "prediction"
    write_table({**{column: frame[column] for column in kept}, name: scores}, out)
    seconds = time.perf_counter() - began
    for line in report_lines("data", encoded.report):
        output.notes.print(line, markup=False)
    if out != "-":
        output.facts([("rows", f"{len(scores):,}"), ("written to", out)])
    result = {"rows": len(scores), "out": out, "column": name, "seconds": seconds}
    output.finish({**result, "encoding": report_dict(encoded.report)})
