"""Tag fields: any number of values per row, as a list or as text with a separator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.rows import Ids
from anyfm.data.categorical import CategoricalEncoder
from anyfm.data.field_encoder import MISSING, EncodedColumn, FieldEncoder
from anyfm.data.values import (
    MISSING_WORDS,
    WHITESPACE,
    as_basic,
    as_text,
    is_list,
    is_text,
    missing_mask,
    series_of,
)


class TagsEncoder(FieldEncoder):
    """Encodes the set of a row's values, each with value 1/n.

    No value at all (null, an empty list, blank text) is the missing feature with value 1. Missing elements are left
    out of a list that has others.
    """

    type = "tags"
    has_values = True
    is_ragged = True

    def __init__(self, separator: str | None, categories: CategoricalEncoder) -> None:
        self.separator = separator
        self.categories = categories
        self.counts = categories.counts
        self.key_type = categories.key_type

    @classmethod
    def fit(
        cls, series: pl.Series, *, separator: str | None, min_count: int = 1, weight: pl.Series | None = None
    ) -> tuple[TagsEncoder, EncodedColumn]:
        """Learn the tags of a column and encode it."""
        tags, lengths = split_tags(series, separator)
        row_weight = np.ones(len(lengths)) if weight is None else weight.to_numpy()
        per_tag = None if weight is None else pl.Series(np.repeat(row_weight, lengths))
        categories, encoded = CategoricalEncoder.fit(tags, min_count=min_count, weight=per_tag)
        categories.counts[MISSING] += row_weight[lengths == 0].sum()
        return cls(separator, categories), _averaged(encoded.ids, lengths)

    def encode(self, series: pl.Series) -> EncodedColumn:
        tags, lengths = split_tags(series, self.separator)
        return _averaged(self.categories.encode(tags).ids, lengths)

    @property
    def value_type(self) -> str:
        return "tags"

    def examples(self, n: int) -> list[Any]:
        return self.categories.examples(n)

    def encode_one(self, value: Any) -> tuple[list[int], list[float]]:
        if type(value) is str:
            items = [value] if self.separator is None else value.split(self.separator)
        elif value is None:
            return [MISSING], [1.0]
        elif type(value) in (list, tuple):
            items = value
        else:
            encoded = self.encode(series_of(value))
            assert encoded.values is not None
            return encoded.ids.tolist(), encoded.values.tolist()
        stripped = (item.strip(WHITESPACE) if type(item) is str else item for item in items)
        distinct = list(dict.fromkeys(item for item in stripped if not _is_missing(item)))
        if not distinct:
            return [MISSING], [1.0]
        return [self.categories.encode_one(item) for item in distinct], [1.0 / len(distinct)] * len(distinct)

    def labels(self) -> list[Any]:
        return self.categories.labels()

    def texts(self) -> pl.Series:
        return self.categories.texts()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "separator": self.separator, "key_type": self.key_type}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> TagsEncoder:
        return cls(saved["separator"], CategoricalEncoder.from_dict(saved, texts, counts))


def split_tags(series: pl.Series, separator: str | None) -> tuple[pl.Series, NDArray[np.int64]]:
    """The distinct tags of each row, row after row, and how many each row has, int64 of shape (n_rows,)."""
    if is_list(series):
        lists = series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    else:
        text = as_text(as_basic(series))
        lists = text.str.split(separator) if separator is not None else text.reshape((-1, 1)).cast(pl.List(pl.String))
    exploded = pl.DataFrame({"row": np.arange(len(lists)), "tag": lists}).explode("tag")
    tags = as_basic(exploded["tag"])
    tags = tags.str.strip_chars(WHITESPACE) if is_text(tags) else tags
    present = pl.DataFrame({"row": exploded["row"], "tag": tags}).filter(pl.Series(~missing_mask(tags)))
    present = present.unique(maintain_order=True)
    return present["tag"].rename(series.name), np.bincount(present["row"], minlength=len(series)).astype(np.int64)


def _averaged(ids: Ids, lengths: NDArray[np.int64]) -> EncodedColumn:
    """Insert the missing feature in empty rows and give every entry the value 1/n."""
    starts = np.cumsum(lengths) - lengths
    ids = np.insert(ids, starts[lengths == 0], MISSING)
    n_entries = np.maximum(lengths, 1)
    return EncodedColumn(ids.astype(np.int32), np.repeat(1.0 / n_entries, n_entries).astype(np.float32), n_entries)


def _is_missing(item: Any) -> bool:
    return item is None or item != item or (type(item) is str and item in MISSING_WORDS)
