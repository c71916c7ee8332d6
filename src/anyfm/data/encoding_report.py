"""What happened to values while they were encoded: how many were unseen, and how many missing."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from anyfm.core.html import html_table

MIN_WARNED = 20
"""A warning that all values are unseen needs at least this many: fewer may be chance."""


@dataclass(frozen=True)
class FieldReport:
    """Of one field: how many entries were unseen or rare, and how many missing. One entry per row, except for tags."""

    name: str
    n_unseen: int
    n_missing: int
    n_entries: int


@dataclass(frozen=True)
class EncodingReport:
    """Of all fields, over `n_rows` rows."""

    n_rows: int
    fields: tuple[FieldReport, ...]

    def __repr__(self) -> str:
        counts = f"{self.n_unseen:,} unseen and {self.n_missing:,} missing values"
        return f"EncodingReport({self.n_rows:,} rows, {len(self.fields)} fields: {counts})"

    def _repr_html_(self) -> str:
        rows = [(f.name, _of(f.n_unseen, f.n_entries), _of(f.n_missing, f.n_entries)) for f in self.fields]
        return html_table(("field", "unseen", "missing"), rows)

    @property
    def n_unseen(self) -> int:
        return sum(field.n_unseen for field in self.fields)

    @property
    def n_missing(self) -> int:
        return sum(field.n_missing for field in self.fields)

    def to_dict(self) -> dict[str, Any]:
        fields = {}
        for field in self.fields:
            counts = asdict(field)
            fields[counts.pop("name")] = counts
        return {"n_rows": self.n_rows, "fields": fields}

    def describe(self) -> str:
        """One line for each field that had unseen or missing values, the most unseen first."""
        return "\n".join(
            f"{f.name}: {_of(f.n_unseen, f.n_entries)} unseen, {_of(f.n_missing, f.n_entries)} missing"
            for f in sorted(self.fields, key=lambda f: (-f.n_unseen, -f.n_missing))
            if f.n_unseen or f.n_missing
        )

    def log(self, logger: logging.Logger) -> None:
        """Log the fields with unseen values (info), and warn of those whose values were all unseen."""
        for field in self.fields:
            if field.n_unseen == field.n_entries >= MIN_WARNED:
                logger.warning("field %s: none of its %s values was seen in training", field.name, field.n_entries)
            elif field.n_unseen:
                logger.info("field %s: %s of %s values unseen", field.name, field.n_unseen, field.n_entries)

    def __add__(self, other: EncodingReport) -> EncodingReport:
        """The report of both chunks together."""
        fields = tuple(
            FieldReport(a.name, a.n_unseen + b.n_unseen, a.n_missing + b.n_missing, a.n_entries + b.n_entries)
            for a, b in zip(self.fields, other.fields, strict=True)
        )
        return EncodingReport(self.n_rows + other.n_rows, fields)


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / max(whole, 1):.3g}%)"
