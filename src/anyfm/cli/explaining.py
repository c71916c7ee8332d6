"""``anyfm explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.text import FORMAT_HELP
from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.rows import Rows

if TYPE_CHECKING:
    from anyfm.artifact import Artifact
    from anyfm.cli.showing import Output
    from anyfm.explain.value_pairs import ValuePair
    from anyfm.predictor import Predictor


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table with the model's fields; its target says more.")],
    row: Annotated[
        int | None, typer.Option(metavar="N", help="Take apart this row, counted from 1, instead of all rows.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show what each value of this field does to the mean score.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every term of every row: .parquet, .csv, .jsonl or .json.")
    ] = None,
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
    from anyfm.predictor import load

    if top < 0:
        raise SettingError(got("--top must be 0 or more", top=top))
    if row is not None and field is not None:
        raise SettingError(got("--row and --field do not go together", row=row, field=field))
    output = Output(as_json=as_json)
    predictor = load(model)
    artifact = predictor.artifact
    given = _read(predictor, data, format, read_options(no_header=no_header, names=names, separator=separator))
    if row is not None:
        if not 1 <= row <= _n_rows(given):
            raise InputError(got(f"--row must lie in 1 … {_n_rows(given)}, the rows of the table", row=row))
        given = given.slice(row - 1, row) if isinstance(given, Rows) else given[row - 1 : row]
    result: dict[str, Any] = {"model": artifact.model.name, "rows": _n_rows(given)}
    if out is not None:
        contributions_of(artifact, given).write(out, top=top or None)
        result["out"] = str(out)
    if field is not None:
        result |= _show_effect(output, artifact, given, field)
    elif row is not None:
        one = contributions_of(artifact, given)
        output.results.print(f"row {row}: {one.describe(top=top or None)}", markup=False)
        result |= {**one.to_dict(top=top or None)["rows"][0], "row": row}
    else:
        result |= _show_table(output, artifact, given, top or None)
    if out is not None:
        output.facts([("written to", str(out))])
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
    from anyfm.explain.summary import summarize

    n_pairs = artifact.n_fields * (artifact.n_fields + 1) // 2
    summary = summarize(artifact, given, n_value_pairs=top or 10 * n_pairs)
    fields, pairs = (frame.to_dicts()[:top] for frame in (summary.fields(), summary.pairs()))
    _show_summary(output, fields, pairs, summary.values)
    return {
        "measured_rows": summary.n_rows,
        "fields": fields,
        "pairs": pairs,
        "value_pairs": [pair.to_dict() for pair in summary.values],
    }


def _show_effect(output: Output, artifact: Artifact, given: Any, field: str) -> dict[str, Any]:
    """What each value of a field does."""
    from rich.markup import escape

    from anyfm.cli.showing import table
    from anyfm.explain.partial_dependence import partial_dependence

    encoder = artifact.encoder
    if encoder is None:
        raise SettingError(got("--field needs a model of a table; this one knows ids", field=field))
    if field not in encoder.field_names:
        raise SettingError(got(f"--field must be one of {', '.join(encoder.field_names)}", field=field))
    found = partial_dependence(artifact, encoder.encode(given).rows, encoder.field_names.index(field))
    records: list[dict[str, Any]] = [
        {"value": value, "effect": float(effect), "training_rows": None if count != count else int(count)}
        for value, effect, count in zip(found.values, found.effect, found.count, strict=True)
    ]
    largest = max((abs(record["effect"]) for record in records), default=0.0) or 1.0
    shown = table(escape(field), "effect", "training rows", "", numbers=("effect", "training rows"))
    for record in records:
        length = round(_BAR * abs(record["effect"]) / largest)
        bar = f"{'▇' * length:>{_BAR}}│" if record["effect"] < 0 else f"{'':{_BAR}}│{'▇' * length}"
        count = "" if record["training_rows"] is None else f"{record['training_rows']:,}"
        shown.add_row(escape(record["value"]), f"{record['effect']:+.4f}", count, bar)
    output.results.print(shown)
    output.results.print(
        "effect: by how much the mean score changes when every row gets this value, all else as it is."
    )
    return {"field": field, "ordered": found.ordered, "values": records}


_BAR = 14
_IMPORTANCE, _DEEP, _WHOLE, _ATTENTION = "importance", "mean |MLP|", "whole model", "attention"
_PAIR_WEIGHT = "pair weight"
_COLUMNS: dict[str, tuple[str, str]] = {  # key in the summary: the column's title, and the form of its numbers
    "loss_increase": (_IMPORTANCE, "+.5f"),
    "total_interaction": (_WHOLE, ".4f"),
    "main_effect": ("effect", ".4f"),
    "interaction": ("effect", ".4f"),
    "mean_absolute": ("mean |term|", ".4f"),
    "mlp_mean_absolute": (_DEEP, ".4f"),
    "variance_fraction": ("fraction of variance", ".1%"),
    "attention": (_ATTENTION, ".3f"),
    "field_pair_weight": (_PAIR_WEIGHT, "+.3f"),
}
_MEANINGS = {
    _IMPORTANCE: "how much worse the loss gets when the field's values are shuffled among the rows",
    _DEEP: "of the multilayer perceptron, by integrated gradients; the other columns are of the linear and pair terms",
    _WHOLE: "the interaction in the whole model, perceptron included, measured by exchanging values among rows",
    _PAIR_WEIGHT: "the weight that the model has learnt for the pair of fields",
    _ATTENTION: "mean weight of the pair; those of a row add up to 1",
}


def _show_summary(
    output: Output, fields: list[dict[str, Any]], pairs: list[dict[str, Any]], values: list[ValuePair]
) -> None:
    from rich.markup import escape

    from anyfm.cli.showing import table

    shown_titles: list[str] = []
    for title, records in (("Fields on their own", fields), ("Pairs of fields, beyond what both do alone", pairs)):
        if not records:
            continue
        keys = [key for key in _COLUMNS if key in records[0]]
        titles = [_COLUMNS[key][0] for key in keys]
        shown_titles += titles
        first = "pair of fields" if "other_field" in records[0] else "field"
        shown = table(first, *titles, numbers=titles, title=title)
        shown.columns[0].no_wrap = True
        for record in records:
            name = " × ".join(record[key] for key in ("field", "other_field") if key in record)
            cells = ("" if record[key] is None else format(record[key], _COLUMNS[key][1]) for key in keys)
            shown.add_row(escape(name), *cells)
        output.results.print(shown)
    if values:
        numbers = ("effect", "rows", "the rows alone")
        title = "Pairs of values" + (" in the pair terms" if _WHOLE in shown_titles else "")
        shown = table("pair of values", *numbers, "confirmed", numbers=numbers, title=title)
        for pair in values:
            name = f"{pair.field}={pair.value} × {pair.other_field}={pair.other_value}"
            alone = "" if pair.lower is None else f"{pair.lower:+.2f} … {pair.upper:+.2f}"
            confirmed = "yes" if pair.is_confirmed else ""
            shown.add_row(escape(name), f"{pair.effect:+.3f}", f"{pair.n_rows:,}", alone, confirmed)
        output.results.print(shown)
    output.results.print(
        "effect: of fields and pairs the standard deviation over the rows, of values what is added to the score."
    )
    for title in dict.fromkeys(shown_titles):
        if title in _MEANINGS:
            output.results.print(f"{title}: {_MEANINGS[title]}.", markup=False)
    if values and values[0].lower is not None:
        output.results.print(
            "the rows alone: the effect by these rows themselves, all else held, a 95 % interval; confirmed: it lies "
            "on the effect's side of 0."
        )
