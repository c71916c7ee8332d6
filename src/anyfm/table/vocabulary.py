"""Vocabularies: the values of a field as local ids, by falling frequency.

Local id 0 is the unseen feature, shared by values never seen in training and values seen there less than
`min_count` times; 1 is the missing feature; 2, 3, … are the values, the most frequent first, ties by value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.errors import InputError, SettingError, however, located
from anyfm.rows import Floats
from anyfm.table.values import (
    BLANKS,
    KEY_TYPES,
    MISSING_MARKERS,
    is_list,
    keys,
    missing_mask,
    one,
    plain,
    whole_numbers,
)

UNSEEN, MISSING, FIRST = 0, 1, 2
UNSEEN_TEXT, MISSING_TEXT = "<unseen>", "<missing>"
Local = NDArray[np.int32]


@dataclass(frozen=True)
class Coded:
    """One field of many rows.

    Parameters
    ----------
    ids : int32 array of shape (n_entries,)
        Local ids; one a row unless `lengths` is given.
    values : float32 array of shape (n_entries,), optional
    lengths : int64 array of shape (n_rows,), optional
        How many entries each row has.
    """

    ids: Local
    values: Floats | None = None
    lengths: NDArray[np.int64] | None = None


class Coder(ABC):
    """How one field becomes local ids.

    Attributes
    ----------
    type : str
        The name under which it is saved.
    counts : float64 array of shape (n_features,)
        How often (by row weight) each local id occurred in training.
    has_values, is_ragged : bool
        Whether features carry values other than 1, and whether a row may have any number of them.
    """

    type: str
    counts: NDArray[np.float64]
    has_values: bool = False
    is_ragged: bool = False

    @property
    def n_features(self) -> int:
        return len(self.counts)

    @abstractmethod
    def encode(self, series: pl.Series) -> Coded:
        """The local ids of a raw column."""

    @abstractmethod
    def encode_one(self, value: Any) -> Any:
        """The same of one raw value, fast: a local id; (id, value) with values; (ids, values) where ragged."""

    @abstractmethod
    def labels(self) -> list[Any]:
        """What each local id stands for, in order of id."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All but values and counts, ready for JSON."""


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
            raise SettingError(however("counts must have one entry a feature", n=len(counts), expected=len(values) + 2))
        self.key = key
        self.values = values.rename("key")
        self.counts = counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, min_count: int = 1, weight: pl.Series | None = None, key: str | None = None
    ) -> tuple[Vocabulary, Coded]:
        """Learn the values of a column and encode it, in one pass."""
        series = plain(series).rename("raw")
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
        ids = _join(series, lookup.select(pl.col("raw").alias("key"), "id"))
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
        if self.key != "text" or series.dtype != pl.String:
            ids = _join(keys(series, self.key).rename("key"), self._table).fill_null(UNSEEN).to_numpy().copy()
            ids[missing_mask(series)] = MISSING
            return Coded(ids)
        found = _join(series, self._markers_and_table)
        ids = found.fill_null(UNSEEN).to_numpy().copy()
        ids[series.is_null().to_numpy()] = MISSING
        rest = np.flatnonzero((found.is_null() & series.is_not_null()).to_numpy())
        if len(rest):  # unseen, or surrounded by blanks
            stripped = series.gather(rest).str.strip_chars(BLANKS)
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
        if value != value:
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
        return pl.concat([pl.Series("value", [UNSEEN_TEXT, MISSING_TEXT]), self.values.cast(pl.String).rename("value")])


class Tags(Coder):
    """A field of many values: a list, or text with a separator. A row's values are a set, each with value 1/n.

    No value at all (null, an empty list, blank text) is the missing feature with value 1. Missing elements are left
    out of a list that has others.
    """

    type = "tags"
    has_values = True
    is_ragged = True

    def __init__(self, separator: str | None, vocabulary: Vocabulary) -> None:
        self.separator = separator
        self.vocabulary = vocabulary
        self.counts = vocabulary.counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, separator: str | None, min_count: int = 1, weight: pl.Series | None = None
    ) -> tuple[Tags, Coded]:
        items, lengths = split_tags(series, separator)
        per_item = None if weight is None else pl.Series(np.repeat(weight.to_numpy(), lengths))
        vocabulary, coded = Vocabulary.fit(items, min_count=min_count, weight=per_item)
        tags = cls(separator, vocabulary)
        empty = lengths == 0
        vocabulary.counts[MISSING] += empty.sum() if weight is None else weight.to_numpy()[empty].sum()
        return tags, _averaged(coded.ids, lengths)

    def encode(self, series: pl.Series) -> Coded:
        items, lengths = split_tags(series, self.separator)
        return _averaged(self.vocabulary.encode(items).ids, lengths)

    def encode_one(self, value: Any) -> tuple[list[int], list[float]]:
        if type(value) is str and self.separator is not None:
            items = value.split(self.separator)
        elif type(value) in (list, tuple):
            items = value
        else:
            coded = self.encode(one(value))
            assert coded.values is not None
            return coded.ids.tolist(), coded.values.tolist()
        stripped = (item.strip(BLANKS) if type(item) is str else item for item in items)
        distinct = list(dict.fromkeys(item for item in stripped if not _blank(item)))
        if not distinct:
            return [MISSING], [1.0]
        return [self.vocabulary.encode_one(item) for item in distinct], [1.0 / len(distinct)] * len(distinct)

    def labels(self) -> list[Any]:
        return self.vocabulary.labels()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "separator": self.separator, "key": self.vocabulary.key}

    @classmethod
    def from_parts(cls, parts: dict[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> Tags:
        return cls(parts["separator"], Vocabulary.from_parts(parts, texts, counts))

    def texts(self) -> pl.Series:
        return self.vocabulary.texts()


def split_tags(series: pl.Series, separator: str | None) -> tuple[pl.Series, NDArray[np.int64]]:
    """All tags of a column one after the other, and how many each row has, int64 of shape (n_rows,)."""
    column = pl.col("x")
    frame = pl.DataFrame({"x": series})
    if is_list(series):
        lists = column.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    else:
        frame = pl.DataFrame({"x": keys(plain(series), "text")})
        lists = column.str.split(separator) if separator is not None else pl.concat_list(column)
    filled = frame.select(pl.when(lists.list.len() > 0).then(lists))["x"]  # empty lists become null
    inner = plain(filled.explode())
    row = np.repeat(np.arange(len(filled)), filled.list.len().fill_null(1).to_numpy())
    inner = inner.str.strip_chars(BLANKS) if inner.dtype == pl.String else inner
    kept = pl.DataFrame({"row": row, "item": inner}).filter(pl.Series(~missing_mask(inner)))
    kept = kept.unique(maintain_order=True)
    lengths = np.bincount(kept["row"].to_numpy(), minlength=len(filled)).astype(np.int64)
    return kept["item"].rename(series.name), lengths


def _averaged(ids: Local, lengths: NDArray[np.int64]) -> Coded:
    """Insert the missing feature in empty rows and give every entry the value 1/n."""
    starts = np.cumsum(lengths) - lengths
    ids = np.insert(ids, starts[lengths == 0], MISSING)
    filled = np.maximum(lengths, 1)
    return Coded(ids.astype(np.int32), np.repeat(1.0 / filled, filled).astype(np.float32), filled)


def _blank(item: Any) -> bool:
    return item is None or item != item or (type(item) is str and item in MISSING_MARKERS)


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
                "a categorical field must hold one value a row, however this column holds lists",
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
    return frame.join(lookup, on="key", how="left", maintain_order="left")["id"]
