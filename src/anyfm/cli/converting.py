"""``anyfm convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A table, or a libsvm or libffm file; or a glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The same; .svm and .ffm are text, .parquet … tables.")],
    target: Annotated[str | None, typer.Option(help="The table's column of labels.")] = None,
    source_format: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="libsvm, libffm or table, where the suffix does not say it.")
    ] = "auto",
    format: Annotated[str, typer.Option("--to", metavar="FORMAT", help="The same of OUT.")] = "auto",
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The vocabulary that an earlier conversion wrote beside its text."),
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(help="Values seen less often count as unseen, 2 if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Convert a table to libsvm or libffm text, or text to a table.

    The vocabulary of a table is written beside the text, as OUT.vocabulary. With --vocabulary, another table is
    coded the same way, or text becomes a table of values instead of ids.
    """
    from anyfm.cli.showing import Output
    from anyfm.data.text.convert import convert as converted

    output = Output(as_json=as_json)
    done = converted(
        source,
        out,
        target=target,
        source_format=source_format,
        format=format,
        vocabulary=vocabulary,
        schema_options={} if min_count is None else {"min_count": min_count},
    )
    facts = [
        ("rows", f"{done.n_rows:,} of {done.n_features:,} features in {done.n_fields:,} fields"),
        ("written to", str(done.out)),
    ]
    if done.vocabulary is not None:
        facts.append(("vocabulary", str(done.vocabulary)))
    output.facts(facts)
    output.finish(
        {
            "rows": done.n_rows,
            "n_features": done.n_features,
            "n_fields": done.n_fields,
            "out": str(done.out),
            "vocabulary": None if done.vocabulary is None else str(done.vocabulary),
            **done.report,
        }
    )
