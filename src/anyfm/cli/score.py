"""``anyfm evaluate`` and ``anyfm predict``."""

from __future__ import annotations

import time
from typing import Annotated, Any

from anyfm.cli.data_summary import note_report
from anyfm.cli.options import (
    TABLE_SUFFIXES,
    AsJson,
    DataPath,
    ModelPath,
    check_table_suffix,
    general_options,
    option,
    with_options,
)
from anyfm.cli.output import Output, metric_facts
from anyfm.cli.reading import READING, encode, open_model
from anyfm.core.errors import SettingError
from anyfm.core.settings import unknown_name


@with_options(*general_options(*READING, "n_threads"))
def evaluate(
    model: ModelPath,
    data: DataPath,
    group: Annotated[
        str | None,
        option("Data", "COLUMN", "Measure rankings too: of the rows of each value of this column, such as a user."),
    ] = None,
    k: Annotated[int, option("Data", "INTEGER", "Rows of a ranking that ndcg@k, recall@k, hit_rate@k look at.")] = 10,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Measure a saved model on a table, or on a libsvm or libffm file.

    Examples:
    anyfm evaluate model test.parquet
    anyfm evaluate model test.parquet --group user --k 10
    anyfm evaluate model test.csv --json
    """
    from anyfm.data.messages import missing_column

    output = Output(as_json=as_json)
    began = time.perf_counter()
    scorer, found = open_model(model, data, settings, labelled=True, group=group)
    rows, report = encode(scorer, found, labelled=True)
    table: Any = found  # with --group it is never text
    if group is not None and group not in table.columns:
        raise missing_column("group", group, table.columns)
    metrics = scorer.evaluate(rows, group=None if group is None else table[group].to_numpy(), k=k)
    seconds = time.perf_counter() - began
    note_report(output, report)
    output.facts([("rows", f"{rows.n_rows:,}"), *metric_facts(metrics)])
    result = {"model": scorer.name, "rows": rows.n_rows, **metrics, "seconds": seconds}
    output.finish({**result, "encoding": report.to_dict()})


@with_options(*general_options(*READING, "n_threads"))
def predict(
    model: ModelPath,
    data: DataPath,
    out: Annotated[str, option("Output", "FILE", f"A {TABLE_SUFFIXES} file; -: CSV to standard output.")] = "-",
    keep: Annotated[
        list[str] | None, option("Output", "COLUMN", "Write this column too, beside the score; may be repeated.")
    ] = None,
    std: Annotated[
        bool,
        option("Output", None, "Write the logit and its standard deviation too: how certain the model is.", "--std"),
    ] = False,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Score every row of a table, in the order of the rows.

    The score is the probability of the positive class, or for regression the predicted number.

    Examples:
    anyfm predict model new.parquet --out scores.csv --keep user
    anyfm predict model new.csv | head
    anyfm predict model new.parquet --std --out scores.parquet
    """
    from anyfm.data.readers import write_table

    if as_json and out == "-":
        raise SettingError("--json needs --out FILE, since the scores themselves take standard output")
    if out != "-":
        check_table_suffix(out)
    output = Output(as_json=as_json, stdout_taken=out == "-")
    began = time.perf_counter()
    scorer, found = open_model(model, data, settings, labelled=False, keep=keep)
    rows, report = encode(scorer, found, labelled=False)
    table: Any = found  # with --keep it is never text
    for column in keep or []:
        if column not in table.columns:
            raise SettingError(unknown_name(column, table.columns, what="column of the data to keep"))
    columns = {column: table[column] for column in keep or []}
    name = "probability" if scorer.task.is_classification else "prediction"
    while name in columns:
        name += "_"
    scores: dict[str, Any] = {name: scorer.predict(rows)}
    if std:
        scores = {
            name: scores[name],
            "logit": scorer.logits(rows),
            "logit_std": scorer.predict(rows, return_std=True)[1],
        }
        if taken := columns.keys() & scores.keys():
            raise SettingError(f"--std writes the column {min(taken)!r}, which --keep must not name")
    write_table({**columns, **scores}, out)
    seconds = time.perf_counter() - began
    note_report(output, report)
    if out != "-":
        output.facts([("rows", f"{rows.n_rows:,}"), ("written to", out)])
    result = {"rows": rows.n_rows, "out": out, "column": name, "seconds": seconds}
    output.finish({**result, "encoding": report.to_dict()})
