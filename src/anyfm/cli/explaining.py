"""``anyfm explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.text import FORMAT_HELP
from anyfm.errors import InputError, SettingError, however
from anyfm.rows import Rows

if TYPE_CHECKING:
    from anyfm.artifact import Artifact
    from anyfm.cli.showing import Output
    from anyfm.explain.strength import Strengths
    from anyfm.explain.value_pairs import ValuePair
    from anyfm.predictor import Predictor

_MEASURED_ROWS = 50_000


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table with the model's fields.")],
    row: Annotated[
        int | None, typer.Option(metavar="N", help="Take apart this row, counted from 1, instead of all rows.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every term of every row: .parquet, .csv, .jsonl or .json.")
    ] = None,
    factors: Annotated[Path | None, typer.Option(help="Write the factors of every value: .parquet or .csv.")] = None,
    top: Annotated[int, typer.Option(help="How many terms or pairs to show, or per row to write; 0 means all.")] = 12,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Say why a model scores as it does: which fields and pairs matter over a table, or the terms of one row."""
    from anyfm.cli.showing import Output
    from anyfm.cli.training import read_options
    from anyfm.explain.contributions import explain as contributions_of
    from anyfm.explain.factors import factors_table
    from anyfm.predictor import load
    from anyfm.table.readers import write_table

    if top < 0:
        raise SettingError(however("--top must be 0 or more", top=top))
    output = Output(as_json=as_json)
    predictor = load(model)
    artifact = predictor.artifact
    given = _read(predictor, data, format, read_options(no_header=no_header, names=names, separator=separator))
    if row is not None:
        if not 1 <= row <= _n_rows(given):
            raise InputError(however(f"--row must lie in 1 … {_n_rows(given)}, the rows of the table", row=row))
        given = given.slice(row - 1, row) if isinstance(given, Rows) else given[row - 1 : row]
    result: dict[str, Any] = {"model": artifact.model.name, "rows": _n_rows(given)}
    if factors is not None:
        write_table(factors_table(artifact), factors)
        result["factors"] = str(factors)
    if out is not None:
        contributions_of(artifact, given).write(out, top=top or None)
        result["out"] = str(out)
    if row is not None:
        one = contributions_of(artifact, given)
        output.results.print(f"row {row}: {one.describe(top=top or None)}", markup=False)
        result |= {**one.to_dict(top=top or None)["rows"][0], "row": row}
    else:
        result |= _show_table(output, artifact, given, top or None)
    written = [("written to", str(path)) for path in (out, factors) if path is not None]
    if written:
        output.facts(written)
    output.finish(result)


def _read(predictor: Predictor, data: str, format: str | None, options: dict[str, Any]) -> Any:
    """A table as a polars data frame, or rows from text of ids."""
    from anyfm.cli import text

    if not text.is_text(data, format):
        return predictor.read(data, **options)
    text.refuse_table_options({}, options)
    return predictor.read_text(data, format=format or "auto", labelled=True).rows


def _n_rows(given: Any) -> int:
    return given.n_rows if isinstance(given, Rows) else len(given)


def _show_table(output: Output, artifact: Artifact, given: Any, top: int | None) -> dict[str, Any]:
    from anyfm.explain.contributions import field_names
    from anyfm.explain.effects import sample
    from anyfm.explain.strength import strengths
    from anyfm.explain.value_pairs import value_pairs

    rows = given
    if not isinstance(given, Rows):
        encoder = artifact.require_encoder()
        target = encoder.schema.target
        rows = encoder.encode(given, labelled=target is not None and target.name in given.columns).rows
    rows = sample(rows, _MEASURED_ROWS)
    if rows.n_rows == 0:
        raise InputError("a table to explain must have at least one row, however it has none")
    measured = strengths(artifact, rows)
    found = value_pairs(artifact, rows, measured, n=top or len(measured.field_pairs) * 10)
    fields = _field_records(list(field_names(artifact)), measured)[:top]
    pairs = _pair_records(list(field_names(artifact)), measured)[:top]
    _show_strengths(output, fields, pairs, found)
    return {
        "measured_rows": rows.n_rows,
        "fields": fields,
        "pairs": pairs,
        "value_pairs": [pair.to_dict() for pair in found],
    }


def _field_records(names: list[str], measured: Strengths) -> list[dict[str, Any]]:
    columns = {
        "main_effect": measured.main,
        "mean_absolute": measured.linear_absolute,
        "share": measured.linear_share,
    }
    records = [
        {"field": name, **{key: float(column[place]) for key, column in columns.items()}}
        for place, name in enumerate(names)
    ]
    return sorted(records, key=lambda record: -record["main_effect"])


def _pair_records(names: list[str], measured: Strengths) -> list[dict[str, Any]]:
    columns = {
        "interaction": measured.interaction,
        "mean_absolute": measured.pair_absolute,
        "share": measured.pair_share,
        **({} if measured.attention is None else {"attention": measured.attention}),
    }
    pairs = zip(measured.field_pairs.first.tolist(), measured.field_pairs.second.tolist(), strict=True)
    records = [
        {
            "field": names[first],
            "other_field": names[second],
            **{key: float(column[place]) for key, column in columns.items()},
        }
        for place, (first, second) in enumerate(pairs)
    ]
    return sorted(records, key=lambda record: -record["interaction"])


def _show_strengths(
    output: Output, fields: list[dict[str, Any]], pairs: list[dict[str, Any]], found: list[ValuePair]
) -> None:
    from rich.markup import escape

    from anyfm.cli.showing import table

    numbers = ("effect", "mean |term|", "share of variance")
    shown = table("field", *numbers, numbers=numbers, title="Fields on their own")
    for record in fields:
        shown.add_row(escape(record["field"]), *_numbers(record, "main_effect"))
    output.results.print(shown)
    if not pairs:
        return
    shown = table("pair of fields", *numbers, numbers=numbers, title="Pairs of fields, beyond what both do alone")
    for record in pairs:
        shown.add_row(escape(f"{record['field']} × {record['other_field']}"), *_numbers(record, "interaction"))
    output.results.print(shown)
    if not found:
        return
    numbers = ("effect", "rows", "the rows alone")
    shown = table("pair of values", *numbers, numbers=numbers, title="Pairs of values")
    for pair in found:
        name = f"{pair.field}={pair.value} × {pair.other_field}={pair.other_value}"
        alone = "" if pair.lower is None else f"{pair.lower:+.2f} … {pair.upper:+.2f}"
        shown.add_row(escape(name), f"{pair.effect:+.3f}", f"{pair.n_rows:,}", alone)
    output.results.print(shown)
    output.results.print(
        "Effects of fields and pairs are standard deviations over the rows, those of values are added to the score; "
        "the rows alone: a 95 % interval."
    )


def _numbers(record: dict[str, Any], effect: str) -> tuple[str, str, str]:
    return f"{record[effect]:.4f}", f"{record['mean_absolute']:.4f}", f"{record['share']:.1%}"
