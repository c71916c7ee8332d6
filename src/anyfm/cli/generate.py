"""``anyfm generate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from anyfm.cli.options import TABLE_SUFFIXES, AsJson, check_table_suffix, option
from anyfm.cli.output import Output
from anyfm.core.errors import SettingError
from anyfm.core.settings import unknown_name


def generate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help=f"The table to write: {TABLE_SUFFIXES}.")],
    rows: Annotated[int, option("Data", "INTEGER", "Number of rows.")] = 100_000,
    like: Annotated[
        str, option("Data", "ads|criteo", "ads: few fields with known effects; criteo: 39 fields, many rare values.")
    ] = "ads",
    seed: Annotated[int, option("Data", "INTEGER", "The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a table of generated clicks, and the true effects beside it.

    The true effects are in OUT.truth.json, so that what a model learns can be compared with them.

    Examples:
    anyfm generate clicks.parquet --rows 50000
    anyfm generate large.csv --like criteo --rows 1000000 --seed 1
    """
    from anyfm.core.atomic import replaced_file
    from anyfm.data.readers import write_table
    from anyfm.datasets.synthetic import GENERATORS

    if like not in GENERATORS:
        raise SettingError(unknown_name(like, GENERATORS, what="kind of table"))
    check_table_suffix(out)
    output = Output(as_json=as_json)
    table = GENERATORS[like](rows, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(table.columns, out)
    truth = Path(f"{out}.truth.json")
    with replaced_file(truth) as file:
        file.write(json.dumps(table.truth, indent=2).encode() + b"\n")
    summary = {key: table.truth[key] for key in ("kind", "seed", "click_rate", "best_logloss")}
    output.facts(
        [
            ("rows", f"{rows:,}, {summary['click_rate']:.1%} of them clicks"),
            ("lower bound", f"logloss {summary['best_logloss']:.5f}, that of the true probabilities"),
            ("written to", str(out)),
            ("true effects", str(truth)),
        ]
    )
    output.finish({"rows": rows, "out": str(out), "truth": str(truth), **summary})
