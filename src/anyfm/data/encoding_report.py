"""What happened to values while they were encoded: counted, never silent."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

MANY = 20
"""So many values that are all unseen are worth a warning: fewer are no surprise."""


@dataclass(frozen=True)
class FieldReport:
    """Of one field: how many entries were unseen or rare, and how many missing. One entry a row, but for tags."""

    name: str
    n_unseen: int
    n_missing: int
    n_entries: int


@dataclass(frozen=True)
class EncodingReport:
    """Of all fields, over `n_rows` rows."""

    n_rows: int
    fields: tuple[FieldReport, ...]

    @property
    def n_unseen(self) -> int:
        return sum(field.n_unseen for field in self.fields)

    @property
    def n_missing(self) -> int:
        return sum(field.n_missing for field in self.fields)

    def to_dict(self) -> dict[str, Any]:
        return {
            "n_rows": self.n_rows,
            "fields": {
                f.name: {"n_unseen": f.n_unseen, "n_missing": f.n_missing, "n_entries": f.n_entries}
                for f in self.fields
            },
        }

    def describe(self) -> str:
        """One line for each field that had unseen or missing values, the most unseen first."""
        lines = [
            f"{f.name}: {_share(f.n_unseen, f.n_entries)} unseen, {_share(f.n_missing, f.n_entries)} missing"
            for f in sorted(self.fields, key=lambda f: (-f.n_unseen, -f.n_missing))
            if f.n_unseen or f.n_missing
        ]
        return "\n".join(lines)

    def log(self, logger: logging.Logger) -> None:
        """Log the fields with unseen values (info), and warn of those where every value was."""
        for field in self.fields:
            if field.n_unseen == field.n_entries >= MANY:
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


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / max(whole, 1):.3g}%)"
