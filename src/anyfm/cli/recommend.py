"""``anyfm recommend``."""

from __future__ import annotations

import time
from typing import Annotated, Any

from anyfm.cli.data_summary import note_report
from anyfm.cli.options import AsJson, ModelPath, general_options, option, with_options
from anyfm.cli.output import Output
from anyfm.cli.reading import READING, read_tables
from anyfm.core.errors import SettingError


@with_options(*general_options(*READING, "n_threads"))
def recommend(
    model: ModelPath,
    users: Annotated[str, option("Data", "FILE", "A table with a user, or any other context, in every row.")],
    items: Annotated[str, option("Data", "FILE", "A table with an item in every row.")],
    key: Annotated[str, option("Data", "COLUMN", "The column that names the items.")],
    user: Annotated[
        str | None,
        option("Data", "COLUMN", "The column that names the users; by default the one that --exclude has too."),
    ] = None,
    exclude: Annotated[
        str | None, option("Data", "FILE", "A table of pairs of user and item to leave out, such as those seen.")
    ] = None,
    k: Annotated[int, option("Output", "INTEGER", "Maximum number of items for a user.")] = 10,
    out: Annotated[str, option("Output", "FILE", "A .parquet, .csv or .jsonl file; -: CSV to standard output.")] = "-",
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """List the items of the highest scores for every user.

    Columns of the model that the items have are read from there, the others from the users.

    Examples:
    anyfm recommend model --users users.csv --items films.csv --key film
    anyfm recommend model --users u.csv --items f.csv --key film --out best.csv
    """
    from anyfm.data.readers import write_table

    if as_json and out == "-":
        raise SettingError("--json needs --out FILE, since the items themselves take standard output")
    output = Output(as_json=as_json, stdout_taken=out == "-")
    began = time.perf_counter()
    recommender, (contexts, of_items, seen) = read_tables(model, settings, users, items, exclude)
    candidates = recommender.items(of_items, key=key)
    found = recommender.recommend_all(contexts, candidates, k, exclude=seen, user=user)
    write_table(found, out)
    seconds = time.perf_counter() - began
    reports = {"users": candidates.context.encode(contexts).report, "items": candidates.report}
    for report in reports.values():
        note_report(output, report)
    counts = [("users", len(contexts)), ("items", len(candidates)), ("rows", len(found))]
    if out != "-":
        output.facts([*((name, f"{count:,}") for name, count in counts), ("written to", out)])
    encoding = {name: report.to_dict() for name, report in reports.items()}
    output.finish(
        {**dict(counts), "k": k, "out": out, "columns": found.columns, "seconds": seconds, "encoding": encoding}
    )
