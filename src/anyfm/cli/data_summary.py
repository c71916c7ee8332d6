"""How data are shown: fields with their kinds, the target, and what encoding met in the rows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anyfm.cli.output import Output
    from anyfm.data.encoder import Encoder
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.schema import Schema
    from anyfm.pipeline import PreparedData, TextReport

    Report = EncodingReport | TextReport

_N_LISTED = 8
_TEXT_REPORT = {
    "unseen_entries": "entries are left out, since their id or field does not occur in training",
    "blank_lines": "blank lines are skipped",
    "shared_ids": "ids occur in several fields",
}
_RARE_FRACTION = 0.05


def leave_warnings_to_summary() -> None:
    """Let `show_data` alone show the warnings of columns that may not be what they seem."""
    logging.getLogger("anyfm.data.suspects").addHandler(logging.NullHandler())


def show_data(output: Output, data: PreparedData, *, memory: str | None) -> None:
    """Show what training starts from, on standard error."""
    if data.encoder is not None:
        show_schema(output, data.encoder, notes=True)
        target = ("target", target_text(data.encoder.schema))
    else:
        what = "two classes" if data.task.is_classification else "a number"
        target = ("label", f"{what}: {data.label_reason}")
    held_out = "none" if data.valid is None else f"{data.valid.n_rows:,}"
    use = (
        f"in {data.n_folds} folds of a cross-validation" if data.n_folds else f"for training, {held_out} for validation"
    )
    facts = [
        target,
        *_odd_labels(data),
        ("rows", f"{data.train.n_rows:,} {use}"),
        ("features", f"{data.n_features:,} (values) in {data.n_fields} fields (columns)"),
    ]
    if memory is not None:
        facts.append(("memory", memory))
    facts += [("warning", warning) for warning in data.warnings]
    names = {"train": "training", "valid": "validation"}
    output.facts(
        [
            *facts,
            *(
                (names[part], line.replace(" unseen,", " rare,") if part == "train" else line)
                for part, report in data.reports.items()
                for line in report_lines(report)
            ),
        ],
        notes=True,
    )
    train = data.reports.get("train")
    if data.encoder is not None and any(field.n_unseen for field in train.fields):  # type: ignore[union-attr]
        output.facts([("rare", "in fewer than --min-count training rows; such values share one feature")], notes=True)


def _odd_labels(data: PreparedData) -> list[tuple[str, str]]:
    """A warning where few labels of a text file are not classes, and so make the task a regression."""
    y = data.train.y
    if data.encoder is not None or data.task.is_classification or y is None or not len(y):
        return []
    odd = ~np.isin(y, (-1.0, 0.0, 1.0))
    if not 0 < odd.mean() < _RARE_FRACTION:
        return []
    first = f"{y[int(np.argmax(odd))]:g}"
    return [("warning", f"{int(odd.sum()):,} labels, such as {first}, are not 0, 1 or -1, so the task is regression")]


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
