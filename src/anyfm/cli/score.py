"""``anyfm evaluate`` and ``anyfm predict``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from anyfm.cli.options import READING, AsJson, DataPath, ModelPath, general_settings, with_settings
from anyfm.core.errors import SettingError, got


@with_settings(general_settings(*READING, "n_threads"))
def evaluate(model: ModelPath, data: DataPath, as_json: AsJson = False, *, settings: dict[str, Any]) -> None:
    """Measure a saved model on a table, or on a libsvm or libffm file.

    Examples:
    anyfm evaluate model test.parquet
    anyfm evaluate model test.csv --json
    """
    from anyfm.cli.data_summary import note_report, report_dict
    from anyfm.cli.output import Output, metric_facts
    from anyfm.cli.reading import encode, load_model, read_data

    output = Output(as_json=as_json)
    scorer = load_model(model, settings)
    began = time.perf_counter()
    rows, report = encode(scorer, read_data(scorer, data, settings, labelled=True), labelled=True)
    metrics = scorer.evaluate(rows)
    seconds = time.perf_counter() - began
    note_report(output, report)
    output.facts([("rows", f"{rows.n_rows:,}"), *metric_facts(metrics)])
    result = {"model": scorer.name, "rows": rows.n_rows, **metrics, "seconds": seconds}
    output.finish({**result, "encoding": report_dict(report)})


@with_settings(general_settings(*READING, "n_threads"))
def predict(
    model: ModelPath,
    data: DataPath,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="A .parquet, .csv or .jsonl file, or - for CSV on standard output.",
            rich_help_panel="Output",
        ),
    ] = "-",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Write this column of the data beside the score; repeatable.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Score every row of a table, in the order of the rows.

    The score is the probability of the positive class, or for regression the predicted number.

    Examples:
    anyfm predict model new.parquet --out scores.csv --keep user
    anyfm predict model new.csv | head
    """
    from anyfm.cli.data_summary import note_report, report_dict
    from anyfm.cli.output import Output
    from anyfm.cli.reading import encode, load_model, read_data
    from anyfm.data.readers import write_table

    if as_json and out == "-":
        raise SettingError("--json needs --out FILE, since the scores themselves take standard output")
    output = Output(as_json=as_json, stdout_taken=out == "-")
    scorer = load_model(model, settings)
    began = time.perf_counter()
    found = read_data(scorer, data, settings, labelled=False, table_only={"keep": keep})
    columns = {}
    for column in keep or []:
        if column not in found.columns:
            raise SettingError(got("--keep must name a column of the data", keep=column))
        columns[column] = found[column]
    rows, report = encode(scorer, found, labelled=False)
    name = "probability" if scorer.task.is_classification else "prediction"
    write_table({**columns, name: scorer.predict(rows)}, out)
    seconds = time.perf_counter() - began
    note_report(output, report)
    if out != "-":
        output.facts([("rows", f"{rows.n_rows:,}"), ("written to", out)])
    result = {"rows": rows.n_rows, "out": out, "column": name, "seconds": seconds}
    output.finish({**result, "encoding": report_dict(report)})
