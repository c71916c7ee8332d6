"""Categorical fields: each value is a feature, and the most frequent values come first.

Local id 0 is the unseen feature, shared by values never seen in training and values seen there less than
`min_count` times; 1 is the missing feature; 2, 3, … are the values by descending frequency, ties by value.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cached_property
from types import NoneType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.data.field_encoder import FIRST, MISSING, MISSING_TEXT, UNSEEN, UNSEEN_TEXT, EncodedColumn, FieldEncoder
from anyfm.data.messages import input_error
from anyfm.data.moments import iso_text, local_time
from anyfm.data.values import (
    EXACT,
    FALSE_WORDS,
    KEY_TYPES,
    MISSING_WORDS,
    TRUE_WORDS,
    WHITESPACE,
    as_basic,
    as_integers,
    as_keys,
    is_list,
    is_text,
    may_be_number,
    missing_mask,
    number_in,
    series_of,
)

SMALL = 512
"""Up to this many rows are looked up one by one: a join would walk the whole vocabulary."""


LARGEST_FLOAT = 10**308  # about; whole numbers beyond have no float


class CategoricalEncoder(FieldEncoder):
    """Encodes a value as its own feature.

    Parameters
    ----------
    key_type : {"int", "float", "text", "bool"}
        What the values are compared as. Fixed in training: "int" if every value was a whole number.
    values : polars series
        The values with a feature of their own, in order of their local ids from 2 on.
    counts : float64 array of shape (n_features,)
    """

    type = "categorical"

    def __init__(self, key_type: str, values: pl.Series, counts: NDArray[np.float64]) -> None:
        if len(counts) != len(values) + FIRST:
            raise SettingError(
                got("counts must have one entry per feature", n=len(counts), expected=len(values) + FIRST)
            )
        self.key_type = key_type
        self.values = values.rename("key")
        self.counts = counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, min_count: int = 1, weight: pl.Series | None = None, key_type: str | None = None
    ) -> tuple[CategoricalEncoder, EncodedColumn]:
        """Learn the values of a column and encode it, in one pass."""
        series = as_basic(series)
        distinct = _distinct(series, weight)
        raw = distinct["raw"]
        key_type = key_type or _key_type(raw)
        table = distinct.with_columns(as_keys(raw, key_type).alias("key"), pl.Series("missing", missing_mask(raw)))
        known = (
            table.filter(pl.col("key").is_not_null() & ~pl.col("missing"))
            .group_by("key")
            .agg(pl.col("count").sum())
            .filter(pl.col("count") >= min_count)
            .sort("count", "key", descending=[True, False])
        )
        encoder = cls(key_type, known["key"], np.zeros(len(known) + FIRST))
        id_of_raw = table.join(encoder._ids, on="key", how="left", maintain_order="left").select(
            pl.col("raw").alias("key"),
            "count",
            pl.when("missing").then(MISSING).otherwise(pl.col("id").fill_null(UNSEEN)).cast(pl.Int32).alias("id"),
        )
        np.add.at(encoder.counts, id_of_raw["id"].to_numpy(), id_of_raw["count"].to_numpy())
        return encoder, EncodedColumn(_join(series, id_of_raw.drop("count")).fill_null(MISSING).to_numpy())

    @cached_property
    def _ids(self) -> pl.DataFrame:
        """The values (key) and their local ids (id)."""
        return pl.DataFrame([self.values, pl.Series("id", np.arange(FIRST, self.n_features, dtype=np.int32))])

    @cached_property
    def _ids_with_missing(self) -> pl.DataFrame:
        missing = pl.DataFrame({"key": MISSING_WORDS}).with_columns(pl.lit(MISSING, pl.Int32).alias("id"))
        return pl.concat([missing, self._ids])

    @property
    def value_type(self) -> str:
        return self.key_type

    @cached_property
    def _lookup(self) -> dict[Any, int]:
        lookup: dict[Any, int] = dict(zip(self.values.to_list(), range(FIRST, self.n_features), strict=True))
        return lookup | dict.fromkeys((*MISSING_WORDS, None), MISSING)

    def encode(self, series: pl.Series) -> EncodedColumn:
        series = as_basic(series)
        if len(series) <= SMALL and series.dtype == KEY_TYPES[self.key_type] and self.key_type != "float":
            return EncodedColumn(np.fromiter(map(self.encode_one, series.to_list()), np.int32, len(series)))
        if self.key_type == "text" and is_text(series):
            found = _join(series.fill_null(""), self._ids_with_missing)
            rest = found.is_null().arg_true()  # unseen, or with whitespace around it
            found.scatter(rest, _join(series.gather(rest).str.strip_chars(WHITESPACE), self._ids_with_missing))
            return EncodedColumn(found.fill_null(UNSEEN).to_numpy())
        ids = _join(as_keys(series, self.key_type), self._ids).fill_null(UNSEEN).to_numpy().copy()
        ids[missing_mask(series)] = MISSING
        return EncodedColumn(ids)

    def encode_values(self, values: list[Any]) -> EncodedColumn:
        if not set(map(type, values)) <= {str, int, bool, NoneType}:  # floats of 2^53 or more have rules of their own
            return super().encode_values(values)
        ids = list(map(self._lookup.get, values))
        if None in ids:
            ids = [self.encode_one(value) if id_ is None else id_ for id_, value in zip(ids, values, strict=True)]
        return EncodedColumn(np.array(ids, np.int32))

    def encode_one(self, value: Any) -> int:
        kind = type(value)
        if kind is str:
            return self._encode_text(value)
        if kind in (int, bool) or value is None:
            return self._encode_integer(value)
        if kind is float:
            if value != value:
                return MISSING
            if abs(value) < EXACT and (self.key_type != "text" or value == round(value)):
                return self._encode_integer(int(value)) if self.key_type == "text" else self._lookup.get(value, UNSEEN)
            if self.key_type == "text" and 1e-3 <= abs(value) < 1e6:  # written alike by Python and by polars
                return self._lookup.get(repr(value), UNSEEN)
        elif isinstance(value, datetime.date):
            if self.key_type != "text":
                return UNSEEN if value == value else MISSING
            if kind is datetime.date:
                return self._lookup.get(value.isoformat(), UNSEEN)
            if isinstance(value, datetime.datetime) and value == value:  # NaT is not equal to itself
                return self._lookup.get(iso_text(local_time(value, None)), UNSEEN)
        return int(self.encode(series_of(value)).ids[0])

    def _encode_text(self, value: str) -> int:
        found = self._lookup.get(value)
        if found is None:
            found = self._lookup.get(value.strip(WHITESPACE))
        if found is not None or self.key_type == "text":
            return UNSEEN if found is None else found
        if self.key_type == "bool":
            word = value.strip(WHITESPACE).lower()
            return self._lookup.get(1 if word in TRUE_WORDS else 0 if word in FALSE_WORDS else word, UNSEEN)
        number = number_in(value)
        if number is None:
            return int(self.encode(series_of(value)).ids[0]) if may_be_number(value) else UNSEEN
        if isinstance(number, float) and self.key_type == "int" and abs(number) >= EXACT:
            digits = value.strip(WHITESPACE)
            if digits.lstrip("+-").isdecimal():
                return self._lookup.get(int(digits), UNSEEN)
            return int(self.encode(series_of(value)).ids[0])
        return self._lookup.get(number if self.key_type == "int" else float(number), UNSEEN)

    def _encode_integer(self, value: int | None) -> int:
        if value is None:
            return MISSING
        if self.key_type == "text":
            word = str(value) if type(value) is int else "true" if value else "false"
            return self._lookup.get(word, UNSEEN)
        if self.key_type == "float":
            return self._lookup.get(float(value), UNSEEN) if abs(value) < LARGEST_FLOAT else UNSEEN
        return self._lookup.get(value, UNSEEN)

    def labels(self) -> list[Any]:
        values = self.values.to_list()
        return [UNSEEN_TEXT, MISSING_TEXT, *(map(bool, values) if self.key_type == "bool" else values)]

    def examples(self, n: int) -> list[Any]:
        return self.labels()[FIRST : FIRST + n]

    def texts(self) -> pl.Series:
        texts = pl.Series("value", [UNSEEN_TEXT, MISSING_TEXT])
        texts.append(self.values.cast(pl.String))
        return texts

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "key_type": self.key_type}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> CategoricalEncoder:
        keys = texts[FIRST:].cast(KEY_TYPES[saved["key_type"]])
        if keys.n_unique() < len(keys):
            raise ValueError("every value of a field must stand in its vocabulary once")
        return cls(saved["key_type"], keys, counts)


def _key_type(distinct: pl.Series) -> str:
    """What the values of a basic column are compared as."""
    if distinct.dtype == pl.Float64:
        present = distinct.drop_nulls().drop_nans()
        return "int" if as_integers(present).null_count() == 0 else "float"
    return {pl.Boolean: "bool", pl.Int64: "int"}.get(distinct.dtype.base_type(), "text")


def _distinct(series: pl.Series, weight: pl.Series | None) -> pl.DataFrame:
    """Distinct values (raw) with their counts (float64), or the sums of their weights (count)."""
    if is_list(series):
        raise input_error(
            "a categorical field must hold one value per row, but this column holds lists",
            column=series.name,
            remedy='Give it kind = "tags".',
        )
    frame = pl.DataFrame({"raw": series})
    if weight is None:
        return frame.group_by("raw").agg(pl.len().cast(pl.Float64).alias("count"))
    return frame.with_columns(count=weight.cast(pl.Float64)).group_by("raw").agg(pl.col("count").sum())


def _join(keys: pl.Series, ids: pl.DataFrame) -> pl.Series:
    """The Int32 ids of the keys in a table (key, id), null where absent, in the order of the keys."""
    found: pl.Series = pl.DataFrame({"key": keys}).join(ids, on="key", how="left", maintain_order="left")["id"]
    return found
