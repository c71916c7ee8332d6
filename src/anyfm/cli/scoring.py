"""``anyfm evaluate`` and ``anyfm predict``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.text import FORMAT_HELP
from anyfm.core.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyfm.core.rows import Rows
    from anyfm.data.readers import Frame
    from anyfm.predictor import Predictor


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table, or text of ids, as in training.")],
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 means all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Measure a saved model on a table, or on a libsvm or libffm file."""
    from anyfm.cli.showing import Output, metric_facts
    from anyfm.cli.training import read_options
    from anyfm.predictor import load

    output = Output(as_json=as_json)
    predictor = load(model, n_threads=threads)
    began = time.perf_counter()
    options = read_options(no_header=no_header, names=names, separator=separator)
    read = _read(predictor, data, format, options, labelled=True)
    metrics = predictor.evaluate(read.rows)
    seconds = time.perf_counter() - began
    for line in read.lines:
        output.notes.print(line, markup=False)
    output.facts([("rows", f"{read.rows.n_rows:,}"), *metric_facts(metrics)])
    result = {"model": predictor.artifact.model.name, "rows": read.rows.n_rows, **metrics, "seconds": seconds}
    output.finish({**result, "encoding": read.report})


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table, or text of ids, as in training.")],
    out: Annotated[str, typer.Option(help="scores.parquet, scores.csv, or - for CSV on standard output.")] = "-",
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A column of the data to write beside the score.")
    ] = None,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 means all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Score every row of a table: its probability, or for regression its prediction, in the order of the rows."""
    from anyfm.cli.showing import Output
    from anyfm.cli.training import read_options
    from anyfm.data.readers import write_table
    from anyfm.predictor import load

    if as_json and out == "-":
        raise SettingError("--json needs --out FILE, since the scores themselves take standard output")
    output = Output(as_json=as_json, stdout_taken=out == "-")
    predictor = load(model, n_threads=threads)
    began = time.perf_counter()
    options = read_options(no_header=no_header, names=names, separator=separator)
    read = _read(predictor, data, format, options, labelled=False, keep=keep or [])
    scores = predictor.predict(read.rows)
    name = "probability" if predictor.task == "binary" else "prediction"
    write_table({**read.kept, name: scores}, out)
    seconds = time.perf_counter() - began
    for line in read.lines:
        output.notes.print(line, markup=False)
    if out != "-":
        output.facts([("rows", f"{len(scores):,}"), ("written to", out)])
    result = {"rows": len(scores), "out": out, "column": name, "seconds": seconds}
    output.finish({**result, "encoding": read.report})


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Rows to score, the columns to keep beside the scores, and what was met in reading: for people, for JSON."""

    rows: Rows
    kept: dict[str, Any] = field(default_factory=dict)
    lines: list[str]
    report: dict[str, Any]


def _read(
    predictor: Predictor,
    data: str,
    format: str | None,
    options: dict[str, Any],
    *,
    labelled: bool,
    keep: Sequence[str] = (),
) -> _Read:
    from anyfm.cli import schema_view, text

    if text.is_text(data, format):
        from anyfm.prepare import text_report

        text.refuse_table_options({"keep": list(keep)}, options)
        found = predictor.read_text(data, format=format or "auto", labelled=labelled)
        report = text_report(found)
        return _Read(rows=found.rows, lines=text.report_lines("data", report), report=dict(report))
    frame: Frame = predictor.read(data, **options)
    for column in keep:
        if column not in frame.columns:
            raise SettingError(f"--keep must name a column of the data, got keep={column!r}")
    encoded = predictor.encode(frame, labelled=labelled)
    return _Read(
        rows=encoded.rows,
        kept={column: frame[column] for column in keep},
        lines=schema_view.report_lines("data", encoded.report),
        report=dict(schema_view.report_dict(encoded.report)),
    )
