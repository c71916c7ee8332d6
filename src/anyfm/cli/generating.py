"""``anyfm generate``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Kind(str, Enum):
    """What the table is like."""

    ads = "ads"
    criteo = "criteo"


def generate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The table to write: .parquet, .csv or .jsonl.")],
    rows: Annotated[int, typer.Option(help="How many rows.")] = 100_000,
    like: Annotated[
        Kind, typer.Option(help="ads: few fields, known effects. criteo: 39 fields, long tails.")
    ] = Kind.ads,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Write a table of generated clicks, and beside it (OUT.truth.json) what was planted in it."""
    from anyfm.cli.showing import Output
    from anyfm.data.readers import write_table
    from anyfm.datasets.synthetic import GENERATORS

    output = Output(as_json=as_json)
    made = GENERATORS[like.value](rows, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(made.columns, out)
    truth = out.with_suffix(".truth.json")
    truth.write_text(json.dumps(made.truth, indent=2) + "\n", encoding="utf-8")
    output.facts(
        [
            ("rows", f"{rows:,}, {made.truth['click_rate']:.1%} of them clicks"),
            ("best logloss", f"{made.truth['best_logloss']:.5f} (of the planted probabilities)"),
            ("written to", f"{out}, and what was planted to {truth}"),
        ]
    )
    output.finish({"rows": rows, "out": str(out), "truth": str(truth), **_summary(made.truth)})


def _summary(truth: dict[str, object]) -> dict[str, object]:
    return {key: truth[key] for key in ("kind", "seed", "click_rate", "best_logloss")}
