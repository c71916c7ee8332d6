"""``anyfm convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.options import AsJson, general_settings, with_settings


@with_settings(general_settings("target", "min_count"))
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A table, or a libsvm or libffm file; or a glob.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write: .svm and .ffm are text, .parquet … are tables.")
    ],
    source_format: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="Format of SOURCE: libsvm, libffm or table; auto: by its suffix.",
            rich_help_panel="Data",
        ),
    ] = "auto",
    format: Annotated[
        str,
        typer.Option("--to", metavar="FORMAT", help="Format of OUT, in the same words.", rich_help_panel="Output"),
    ] = "auto",
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The vocabulary that an earlier conversion wrote beside its text.",
            rich_help_panel="Data",
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Convert a table to libsvm or libffm text, or text to a table.

    The vocabulary of a table is written beside the text, as OUT.vocabulary. With --vocabulary, another table is
    encoded in the same way, or text becomes a table of values instead of ids.

    Examples:
    anyfm convert clicks.parquet clicks.ffm --target click
    anyfm convert more.parquet more.ffm --target click --vocabulary clicks.ffm.vocabulary
    anyfm convert clicks.ffm again.parquet --vocabulary clicks.ffm.vocabulary
    """
    from anyfm.cli.output import Output
    from anyfm.core.settings import DataSettings
    from anyfm.data.text.convert import convert as converted

    output = Output(as_json=as_json)
    given = DataSettings.from_mapping(settings)
    done = converted(
        source,
        out,
        target=given.target,
        source_format=source_format,
        format=format,
        vocabulary=vocabulary,
        schema_options={"min_count": given.min_count} if "min_count" in settings else {},
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
