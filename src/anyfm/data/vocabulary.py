"""Vocabularies: the values of a field as local ids, by falling frequency.

Local id 0 is the unseen feature, shared by values never seen in training and values seen there less than
`min_count` times; 1 is the missing feature; 2, 3, … are the values, the most frequent first, ties by value.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.data.coder import FIRST, MISSING, MISSING_TEXT, UNSEEN, UNSEEN_TEXT, Coded, Coder
from anyfm.data.values import (
    BLANKS,
    KEY_TYPES,
    MISSING_MARKERS,
    is_list,
    keys,
    missing_mask,
    on,
    one,
    plain,
    whole_numbers,
)

SMALL = 512
"""So many rows are sooner looked up one by one than joined, which walks the whole vocabulary."""


class Vocabulary(Coder):
    """The values of a categorical field.

    Parameters
    ----------
    key : {"int", "float", "text", "bool"}
        What the values are compared as. Fixed in training: "int" when every value was a whole number.
    values : polars series
        The kept values, in order of their local ids from 2 on.
    counts : float64 array of shape (n_features,)
    """

    type = "vocabulary"

    def __init__(self, key: str, values: pl.Series, counts: NDArray[np.float64]) -> None:
        if len(counts) != len(values) + FIRST:
            raise SettingError(got("counts must have one entry a feature", n=len(counts), expected=len(values) + 2))
        self.key = key
        self.values = values.rename("key")
        self.counts = counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, min_count: int = 1, weight: pl.Series | None = None, key: str | None = None
    ) -> tuple[Vocabulary, Coded]:
        """Learn the values of a column and encode it, in one pass."""
        series = plain(series)
        distinct = _distinct(series, weight)
        key = key or key_of(distinct["raw"])
        missing = pl.Series("missing", missing_mask(distinct["raw"]))
        table = distinct.with_columns(keys(distinct["raw"], key).alias("key"), missing)
        known = pl.col("key").is_not_null() & ~pl.col("missing")
        totals = (
            table.filter(known)
            .group_by("key")
            .agg(pl.col("count").sum())
            .sort("count", "key", descending=[True, False])
        )
        kept = totals.filter(pl.col("count") >= min_count)
        vocabulary = cls(key, kept["key"], np.zeros(len(kept) + FIRST))
        lookup = table.join(vocabulary._table, on="key", how="left", maintain_order="left").select(
            "raw",
            "count",
            pl.when("missing").then(MISSING).otherwise(pl.col("id").fill_null(UNSEEN)).cast(pl.Int32).alias("id"),
        )
        np.add.at(vocabulary.counts, lookup["id"].to_numpy(), lookup["count"].to_numpy())
        ids: pl.Series = _join(series, lookup.select(pl.col("raw").alias("key"), "id"))
        return vocabulary, Coded(ids.fill_null(MISSING).to_numpy())

    @cached_property
    def _table(self) -> pl.DataFrame:
        ids = pl.Series("id", np.arange(FIRST, FIRST + len(self.values), dtype=np.int32))
        return pl.DataFrame([self.values, ids])

    @cached_property
    def _markers_and_table(self) -> pl.DataFrame:
        markers = pl.DataFrame({"key": list(MISSING_MARKERS), "id": [MISSING] * len(MISSING_MARKERS)})
        return pl.concat([markers.cast({"id": pl.Int32}), self._table])

    def encode(self, series: pl.Series) -> Coded:
        series = plain(series).rename("key")
        if len(series) <= SMALL and series.dtype == KEY_TYPES[self.key] and self.key != "float":
            return Coded(np.fromiter(map(self.encode_one, series.to_list()), np.int32, len(series)))
        if self.key != "text" or series.dtype != pl.String:
            ids = _join(keys(series, self.key).rename("key"), self._table).fill_null(UNSEEN).to_numpy().copy()
            ids[missing_mask(series)] = MISSING
            return Coded(ids)
        found = _join(series, self._markers_and_table)
        ids = found.fill_null(UNSEEN).to_numpy().copy()
        ids[series.is_null().to_numpy()] = MISSING
        rest = np.flatnonzero((found.is_null() & series.is_not_null()).to_numpy())
        if len(rest):  # unseen, or surrounded by blanks
            stripped = on(series.gather(rest), pl.col("x").str.strip_chars(BLANKS)).rename("key")
            ids[rest] = _join(stripped, self._markers_and_table).fill_null(UNSEEN).to_numpy()
        return Coded(ids)

    @cached_property
    def _lookup(self) -> dict[Any, int]:
        lookup: dict[Any, int] = dict(zip(self.values.to_list(), range(FIRST, self.n_features), strict=True))
        lookup.update(dict.fromkeys(MISSING_MARKERS, MISSING))
        lookup[None] = MISSING
        return lookup

    def encode_one(self, value: Any) -> int:
        try:
            found = self._lookup.get(value)
        except TypeError:  # not hashable
            found = None
        return self._resolve(value) if found is None else found

    def _resolve(self, value: Any) -> int:
        if type(value) is float and value != value:
            return MISSING
        if type(value) is str and self.key == "text":
            return self._lookup.get(value.strip(BLANKS), UNSEEN)
        if type(value) is int:
            return UNSEEN if self.key != "text" else self._lookup.get(str(value), UNSEEN)
        return int(self.encode(one(value)).ids[0])

    def labels(self) -> list[Any]:
        values = self.values.to_list()
        return [UNSEEN_TEXT, MISSING_TEXT, *(map(bool, values) if self.key == "bool" else values)]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "key": self.key}

    @classmethod
    def from_parts(cls, parts: dict[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> Vocabulary:
        """Put together again from `to_dict`, and text and count of every local id."""
        return cls(parts["key"], texts[FIRST:].cast(KEY_TYPES[parts["key"]]), counts)

    def texts(self) -> pl.Series:
        """Every local id as text from which `from_parts` reads it back."""
        special = pl.Series("value", [UNSEEN_TEXT, MISSING_TEXT])
        return pl.concat([special, on(self.values, pl.col("x").cast(pl.String)).rename("value")])


def key_of(distinct: pl.Series) -> str:
    """What the values of a `plain` column are compared as."""
    if distinct.dtype == pl.Boolean:
        return "bool"
    if distinct.dtype == pl.Int64:
        return "int"
    if distinct.dtype == pl.Float64:
        present = distinct.drop_nulls().drop_nans()
        return "int" if whole_numbers(present).null_count() == 0 else "float"
    return "text"


def _distinct(series: pl.Series, weight: pl.Series | None) -> pl.DataFrame:
    """Distinct values with their counts (float64), or the sums of their weights."""
    if is_list(series):
        raise InputError(
            located(
                "a categorical field must hold one value a row, but this column holds lists",
                column=series.name,
                remedy='Give it kind = "tags".',
            )
        )
    frame = pl.DataFrame({"raw": series})
    if weight is None:
        return frame.group_by("raw").agg(pl.len().cast(pl.Float64).alias("count"))
    return frame.with_columns(weight.cast(pl.Float64).alias("w")).group_by("raw").agg(pl.col("w").sum().alias("count"))


def _join(series: pl.Series, lookup: pl.DataFrame) -> pl.Series:
    """The Int32 ids of `series` in `lookup` (key, id), null where absent, in the order of the series."""
    frame = pl.DataFrame({"key": series})
    ids: pl.Series = frame.join(lookup, on="key", how="left", maintain_order="left")["id"]
    return ids
