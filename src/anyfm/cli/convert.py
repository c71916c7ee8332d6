"""``anyfm convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.options import TABLE_SUFFIXES, AsJson, general_options, option, with_options
from anyfm.cli.output import Output
from anyfm.core.errors import SettingError, got
from anyfm.core.settings import DataSettings


@with_options(*general_options("target", "min_count"))
def convert(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table, or a libsvm or libffm file; or a glob.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help=f"The file to write: .svm or .ffm text, or a table, {TABLE_SUFFIXES}."),
    ],
    format: Annotated[
        str, option("Data", "FORMAT", "Format of DATA: libsvm, libffm or table; auto: by its suffix.")
    ] = "auto",
    out_format: Annotated[
        str, option("Output", "FORMAT", "Format of OUT: libsvm, libffm or table; auto: by its suffix.")
    ] = "auto",
    vocabulary: Annotated[
        Path | None, option("Data", "DIR", "The vocabulary that an earlier conversion wrote, OUT.vocabulary.")
    ] = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Convert a table to libsvm or libffm text, or text to a table.

    A table needs --target, its column of labels. Its vocabulary is written as OUT.vocabulary. With --vocabulary,
    another table is encoded with the same ids, or text becomes a table of values instead of ids.

    Examples:
    anyfm convert clicks.parquet clicks.ffm --target click
    anyfm convert new.csv new.ffm --vocabulary clicks.ffm.vocabulary
    anyfm convert new.ffm table.parquet --vocabulary clicks.ffm.vocabulary
    """
    from anyfm.data.text import convert as conversion
    from anyfm.model import text_format_of

    output = Output(as_json=as_json)
    given = DataSettings.from_mapping(settings)
    if text_format_of(data, format) is None:
        if text_format_of(out, out_format) is None:
            rule = (
                "DATA or OUT must be a libsvm or libffm file; give --format or --out-format if the suffix does not tell"
            )
            raise SettingError(got(rule, data=data, out=str(out)))
        if given.target is None and vocabulary is None:
            raise SettingError("--target is required for a table: the column of labels")
    done = conversion.convert(
        data,
        out,
        target=given.target,
        source_format=format,
        format=out_format,
        vocabulary=vocabulary,
        schema_options={"min_count": given.min_count} if "min_count" in settings else {},
    )
    sizes = f"{done.n_features:,} (values) in {done.n_fields:,} fields (columns)"
    result = {"rows": done.n_rows, "n_features": done.n_features, "n_fields": done.n_fields, "out": str(done.out)}
    facts = [("rows", f"{done.n_rows:,}"), ("features", sizes), ("written to", str(done.out))]
    vocabulary_text = None if done.vocabulary is None else str(done.vocabulary)
    output.facts(facts if vocabulary_text is None else [*facts, ("vocabulary", vocabulary_text)])
    output.finish({**result, "vocabulary": vocabulary_text, **done.report})
