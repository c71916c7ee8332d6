"""``anyfm explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from anyfm.cli.output import Output
from anyfm.cli.reading import READING, open_model
from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.rows import Rows
from anyfm.core.settings import unknown_name
from anyfm.core.stdout import can_print

if TYPE_CHECKING:
    from anyfm.artifact import Artifact
    from anyfm.explain.value_pairs import ValuePair

_BAR = 14
_COLUMNS = {  # key in the summary: title of the column, format of its numbers, meaning
    "importance": (
        "permutation importance",
        "+.5f",
        "increase of the loss when the values of the field are shuffled among the rows",
    ),
    "total_interaction_strength": (
        "total interaction strength",
        ".4f",
        "interaction strength in the whole model, the MLP included, measured by exchanging values",
    ),
    "main_effect": (
        "main effect",
        ".4f",
        "standard deviation over rows of the part of the logit that depends on this field alone",
    ),
    "interaction_strength": (
        "interaction strength",
        ".4f",
        "standard deviation over rows of the part of the logit that depends on both fields together",
    ),
    "mean_absolute_contribution": ("mean |contribution|", ".4f", "mean absolute contribution to the logit"),
    "mlp_mean_absolute_contribution": (
        "mean |MLP contribution|",
        ".4f",
        "mean absolute contribution of the field through the MLP, by integrated gradients",
    ),
    "variance_fraction": ("variance", ".1%", "fraction of the variance of the logit (without the MLP)"),
    "attention": ("attention", ".3f", "mean attention weight of the pair; the weights of a row sum to 1"),
    "field_pair_weight": ("field-pair weight", "+.3f", "learned weight of the pair of fields"),
}


@with_options(*general_options(*READING))
def explain(
    model: ModelPath,
    data: DataPath,
    row: Annotated[
        int | None, option("Explanation", "N", "Show the contributions to this row, counted from 1.")
    ] = None,
    field: Annotated[
        str | None,
        option(
            "Explanation",
            "NAME",
            "Show how each value of this field changes the mean logit, on a sample of 1,000 rows.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("Output", "FILE", f"Write the contributions to every row: {TABLE_SUFFIXES}, or .json."),
    ] = None,
    top: Annotated[
        int, option("Output", "INTEGER", "Number of contributions or pairs to show, or to write for each row; 0: all.")
    ] = 12,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Explain a model: main effects and interactions, or one row.

    Without --row or --field, the strongest fields, pairs of fields and pairs of values are listed, measured on at most
    50,000 rows. If the table has the target, permutation importance and confidence intervals are measured too. The
    contributions to a row add up to its logit: the log-odds of the positive class, or in regression the prediction.

    Examples:
    anyfm explain model test.parquet
    anyfm explain model test.parquet --row 1
    anyfm explain model test.parquet --field hour
    anyfm explain model test.parquet --out contributions.parquet
    """
    from anyfm.data.text.reader import TextRows

    if top < 0:
        raise SettingError(got("--top must be 0 or more", top=top))
    if row is not None and field is not None:
        raise SettingError(got("--row and --field cannot be combined", row=row, field=field))
    if out is not None and out.suffix.lower() != ".json":
        check_table_suffix(out)
    output = Output(as_json=as_json)
    loaded, found = open_model(model, data, settings, labelled=True)
    given: Any = found.rows if isinstance(found, TextRows) else found
    n_rows = _n_rows(given)
    if row is not None:
        if not 1 <= row <= n_rows:
            raise InputError(got(f"--row must be from 1 to {n_rows}, the rows of the table", row=row))
        given, n_rows = given.slice(row - 1, row) if isinstance(given, Rows) else given[row - 1 : row], 1
    result: dict[str, Any] = {"model": loaded.name, "rows": n_rows}
    if field is not None:
        result |= _show_effect(output, loaded.artifact, given, field)
    elif row is not None:
        contributions = loaded.explain(given)
        output.text(f"row {row}: {contributions.describe(top=top or None)}")
        result |= {**contributions.to_dict(top=top or None)["rows"][0], "row": row}
    else:
        result |= _show_summary(output, loaded.artifact, given, top or None)
    if out is not None:
        loaded.explain(given).write(out, top=top or None)
        output.facts([("written to", str(out))])
        result["out"] = str(out)
    output.finish(result)


def _n_rows(given: Any) -> int:
    return given.n_rows if isinstance(given, Rows) else len(given)


def _show_effect(output: Output, artifact: Artifact, given: Any, field: str) -> dict[str, Any]:
    """How each value of a field changes the mean score."""
    from anyfm.explain.partial_dependence import partial_dependence

    encoder = artifact.encoder
    if encoder is None:
        raise SettingError(got("--field needs a model trained on a table, not on a libsvm or libffm file", field=field))
    if field not in encoder.field_names:
        raise SettingError(unknown_name(field, encoder.field_names, what="field of the model"))
    found = partial_dependence(artifact, encoder.encode(given).rows, encoder.field_names.index(field))
    records: list[dict[str, Any]] = [
        {"value": value, "change": float(effect), "training_rows": None if count != count else int(count)}
        for value, effect, count in zip(found.values, found.effect, found.count, strict=True)
    ]
    largest = max((abs(record["change"]) for record in records), default=0.0) or 1.0
    rows = []
    block, axis = "▇│" if can_print("▇│") else "#|"
    for record in records:
        bar = block * round(_BAR * abs(record["change"]) / largest)
        bar = f"{bar:>{_BAR}}{axis}" if record["change"] < 0 else f"{'':{_BAR}}{axis}{bar}"
        count = "" if record["training_rows"] is None else f"{record['training_rows']:,}"
        rows.append((record["value"], f"{record['change']:+.4f}", count, bar))
    what = "mean prediction" if artifact.model.task.logit_is_prediction else "mean logit"
    output.table(
        (field, f"change of {what}", "training rows", ""), rows, numbers=(f"change of {what}", "training rows")
    )
    unit = ", in log-odds" if artifact.model.task.is_classification else ""
    output.text(
        f"change of {what}: when every row gets this value and keeps all others{unit}. Measured on a sample of "
        f"{found.n_rows:,} rows."
    )
    return {"field": field, "ordered": found.ordered, "measured_rows": found.n_rows, "values": records}


def _show_summary(output: Output, artifact: Artifact, given: Any, top: int | None) -> dict[str, Any]:
    """The fields, pairs of fields and pairs of values that matter most."""
    from anyfm.explain.summary import summarize

    n_pairs = artifact.n_fields * (artifact.n_fields + 1) // 2
    summary = summarize(artifact, given, n_value_pairs=top or 10 * n_pairs)
    fields, pairs = (frame.to_dicts()[:top] for frame in (summary.fields(), summary.pairs()))
    columns = _show_records(output, "Fields", fields)
    columns += _show_records(output, "Pairs of fields", pairs)
    _show_value_pairs(output, summary.values, of_fm="total interaction strength" in columns)
    for title, meaning in {title: meaning for title, _, meaning in _COLUMNS.values() if title in columns}.items():
        output.text(f"{title}: {meaning}.")
    if artifact.model.task.logit_is_prediction:
        output.text("The logit of a regression is its prediction.")
    if summary.n_rows < _n_rows(given):
        output.text(f"Measured on a sample of {summary.n_rows:,} rows.")
    if summary.importance is not None and summary.importance.n_rows < summary.n_rows:
        output.text(f"Permutation importance is measured on a sample of {summary.importance.n_rows:,} rows.")
    return {
        "measured_rows": summary.n_rows,
        "fields": fields,
        "pairs": pairs,
        "value_pairs": [pair.to_dict() for pair in summary.values],
    }


def _show_records(output: Output, title: str, records: list[dict[str, Any]]) -> list[str]:
    """Show fields or pairs of fields; the titles of their columns."""
    if not records:
        return []
    keys = [key for key in _COLUMNS if key in records[0]]
    columns = [_COLUMNS[key][0] for key in keys]
    rows = []
    for record in records:
        name = " × ".join(record[key] for key in ("field", "other_field") if key in record)
        rows.append((name, *("" if record[key] is None else format(record[key], _COLUMNS[key][1]) for key in keys)))
    output.table(("pair" if "other_field" in records[0] else "field", *columns), rows, numbers=columns, title=title)
    return columns


def _show_value_pairs(output: Output, pairs: list[ValuePair], *, of_fm: bool) -> None:
    if not pairs:
        return
    rows = []
    for pair in pairs:
        name = f"{pair.field}={pair.value} × {pair.other_field}={pair.other_value}"
        observed = "" if pair.lower is None else f"{pair.lower:+.2f} … {pair.upper:+.2f}"
        same_sign = "" if pair.lower is None else "yes" if pair.has_same_sign else "no"
        rows.append((name, f"{pair.interaction:+.3f}", f"{pair.n_rows:,}", observed, same_sign))
    columns = ("pair of values", "interaction", "rows", "95 % interval", "same sign")
    title = "Pairs of values" + (" in the pair terms" if of_fm else "")
    output.table(columns, rows, numbers=columns[1:], title=title)
    output.text("interaction: contribution of the pair to the logit, beyond the main effects of both values.")
    if pairs[0].lower is not None:
        output.text(
            "95 % interval: of the interaction estimated from the rows with this pair, all other terms held fixed. "
            "same sign: whether all of it has the sign of the model's interaction."
        )
