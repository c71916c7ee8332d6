"""How a schema, and what the encoder met in a table, are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from anyfm.cli.showing import table

if TYPE_CHECKING:
    from anyfm.table.encoder import Encoder, EncodingReport
    from anyfm.table.schema import Schema


def schema_table(schema: Schema, encoder: Encoder) -> Table:
    """The kind of every field, why, and how many features it has."""
    shown = table("field", "kind", "features", "why", numbers=["features"])
    sizes = feature_counts(encoder)
    for item in schema.fields:
        style = "dim" if item.kind == "ignore" else None
        size = f"{sizes[item.name]:,}" if item.name in sizes else ""
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
    for what, counts in (("unseen or rare", report.n_unseen), ("missing", report.n_missing)):
        found = sorted(((n, field) for field, n in counts.items() if n), reverse=True)
        if found:
            listed = ", ".join(f"{field} {n:,} ({n / max(report.rows, 1):.1%})" for n, field in found[:8])
            more = f" and {len(found) - 8} more fields" if len(found) > 8 else ""
            lines.append(f"{name}: {what} values: {listed}{more}")
    return lines


def report_dict(report: EncodingReport) -> dict[str, Mapping[str, int]]:
    """The same for JSON."""
    return {
        "unseen": {field: int(n) for field, n in report.n_unseen.items() if n},
        "missing": {field: int(n) for field, n in report.n_missing.items() if n},
    }
