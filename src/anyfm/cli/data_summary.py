"""How data are shown: fields with their kinds, the target, and what encoding met in the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyfm.cli.output import Output
    from anyfm.data.encoder import Encoder
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.schema import Schema
    from anyfm.pipeline import PreparedData, TextReport

    Report = EncodingReport | TextReport

_N_LISTED = 8
_TEXT_REPORT = {
    "unseen_entries": "entries were left out, their id or field is unknown to the model",
    "blank_lines": "lines without a row were skipped",
    "shared_ids": "ids occur in several fields",
}


def show_data(output: Output, data: PreparedData, *, memory: str | None) -> None:
    """Show what training starts from, on standard error."""
    if data.encoder is not None:
        show_schema(output, data.encoder, notes=True)
        target = ("target", target_text(data.encoder.schema))
    else:
        what = "two classes" if data.task.is_classification else "a number"
        target = ("label", f"{what}: {data.label_reason}")
    valid = "none" if data.valid is None else f"{data.valid.n_rows:,}"
    facts = [
        target,
        ("rows", f"{data.train.n_rows:,} for training, {valid} for validation"),
        ("features", f"{data.n_features:,} in {data.n_fields} fields"),
    ]
    if memory is not None:
        facts.append(("memory", memory))
    facts += [("warning", warning) for warning in data.warnings]
    names = {"train": "training", "valid": "validation"}
    output.facts(
        [*facts, *((names[part], line) for part, report in data.reports.items() for line in report_lines(report))],
        notes=True,
    )


def show_schema(output: Output, encoder: Encoder, *, notes: bool = False) -> None:
    """Show the kind of every field, the reason, and its number of features."""
    sizes = feature_counts(encoder)
    rows = []
    for item in encoder.schema.fields:
        size = f"{sum(sizes[name] for name in item.field_names):,}" if item.field_names else ""
        rows.append((item.name, item.kind, size, item.reason))
    output.table(("field", "kind", "features", "reason"), rows, numbers=["features"], notes=notes)


def feature_counts(encoder: Encoder) -> dict[str, int]:
    """The number of features of each field, unseen and missing included."""
    offsets = encoder.field_offsets
    return {name: int(offsets[i + 1] - offsets[i]) for i, name in enumerate(encoder.field_names)}


def target_text(schema: Schema) -> str:
    target = schema.target
    if target is None:
        return "none"
    what = f"positive class: {target.positive!r}" if target.classes is not None else f"a number: {target.reason}"
    return f"{target.name} ({what})"


def note_report(output: Output, report: Report) -> None:
    """Say what was unseen and missing in data to score."""
    output.facts([("data", line) for line in report_lines(report)], notes=True)


def report_lines(report: Report) -> list[str]:
    """What was unseen and missing in a table, or left out of a text file, in words."""
    from anyfm.pipeline import TextReport

    if isinstance(report, TextReport):
        return [f"{count:,} {_TEXT_REPORT[name]}" for name, count in report.to_dict().items() if count]
    lines = report.describe().splitlines()
    more = [f"and {len(lines) - _N_LISTED} more fields"] if len(lines) > _N_LISTED else []
    return lines[:_N_LISTED] + more
