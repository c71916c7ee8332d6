"""Tags: fields of many values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.data.coder import MISSING, Coded, Coder, Local
from anyfm.data.values import BLANKS, MISSING_MARKERS, is_list, keys, missing_mask, on, one, plain
from anyfm.data.vocabulary import Vocabulary


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
    inner = on(inner, column.str.strip_chars(BLANKS)) if inner.dtype == pl.String else inner
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
