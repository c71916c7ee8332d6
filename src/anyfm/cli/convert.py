"""``anyfm convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.options import AsJson, general_options, option, with_options
from anyfm.cli.output import Output
from anyfm.core.settings import DataSettings


@with_options(*general_options("target", "min_count"))
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A table, or a libsvm or libffm file; or a glob.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write: .svm and .ffm are text, .parquet … are tables.")
    ],
    source_format: Annotated[
        str, option("Data", "FORMAT", "Format of SOURCE: libsvm, libffm or table; auto: by its suffix.", "--from")
    ] = "auto",
    format: Annotated[str, option("Output", "FORMAT", "Format of OUT, in the same words.", "--to")] = "auto",
    vocabulary: Annotated[
        Path | None, option("Data", "DIR", "The vocabulary that an earlier conversion wrote beside its text.")
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
    anyfm convert new.csv new.ffm --vocabulary clicks.ffm.vocabulary
    anyfm convert new.ffm table.parquet --vocabulary clicks.ffm.vocabulary
    """
    from anyfm.data.text import convert as conversion

    output = Output(as_json=as_json)
    given = DataSettings.from_mapping(settings)
    done = conversion.convert(
        source,
        out,
        target=given.target,
        source_format=source_format,
        format=format,
        vocabulary=vocabulary,
        schema_options={"min_count": given.min_count} if "min_count" in settings else {},
    )
    rows = f"{done.n_rows:,} of {done.n_features:,} features in {done.n_fields:,} fields"
    result = {"rows": done.n_rows, "n_features": done.n_features, "n_fields": done.n_fields, "out": str(done.out)}
    facts = [("rows", rows), ("written to", str(done.out))]
    vocabulary_text = None if done.vocabulary is None else str(done.vocabulary)
    output.facts(facts if vocabulary_text is None else [*facts, ("vocabulary", vocabulary_text)])
    output.finish({**result, "vocabulary": vocabulary_text, **done.report})
