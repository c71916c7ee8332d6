"""How a schema, and what the encoder met in a table, are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from anyfm.cli.showing import table

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.schema import Schema

_N_LISTED = 8


def schema_table(schema: Schema, encoder: Encoder) -> Table:
    """The kind of every field, why, and how many features it has."""
    shown = table("field", "kind", "features", "why", numbers=["features"])
    sizes = feature_counts(encoder)
    for item in schema.fields:
        style = "dim" if item.kind == "ignore" else None
        size = f"{sum(sizes[name] for name in item.field_names):,}" if item.field_names else ""
        shown.add_row(escape(item.name), item.kind, size, escape(item.reason), style=style)
    return shown


def feature_counts(encoder: Encoder) -> dict[str, int]:
    """How many features each field has, unseen and missing included."""
    offsets = encoder.field_offsets
    return {name: int(offsets[i + 1] - offsets[i]) for i, name in enumerate(encoder.field_names)}


def target_text(schema: Schema) -> str:
    target = schema.target
    if target is None:
        return "none"
    if target.task == "binary":
        return f"{target.name} ({target.positive!r} counts as 1)"
    return f"{target.name} (a number)"


def report_lines(name: str, report: EncodingReport) -> list[str]:
    """What was unseen and missing in a table, the fields that had any of it, most first."""
    lines = []
    for what, counts in (
        ("unseen or rare", [(field.n_unseen, field.n_entries, field.name) for field in report.fields]),
        ("missing", [(field.n_missing, field.n_entries, field.name) for field in report.fields]),
    ):
        found = sorted((entry for entry in counts if entry[0]), reverse=True)
        if found:
            listed = ", ".join(f"{field} {n:,} ({n / n_entries:.1%})" for n, n_entries, field in found[:_N_LISTED])
            more = f" and {len(found) - _N_LISTED} more fields" if len(found) > _N_LISTED else ""
            lines.append(f"{name}: {what} values: {listed}{more}")
    return lines


def report_dict(report: EncodingReport) -> dict[str, Mapping[str, int]]:
    """The same for JSON."""
    return {
        "unseen": {field.name: field.n_unseen for field in report.fields if field.n_unseen},
        "missing": {field.name: field.n_missing for field in report.fields if field.n_missing},
    }
