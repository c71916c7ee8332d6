"""The interface of the encoders of one field: a column in, local feature ids out, and labels of the ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Ids

UNSEEN, MISSING, FIRST = 0, 1, 2
"""Local ids of the unseen feature, of the missing feature, and of the first value, bin or number."""
UNSEEN_TEXT, MISSING_TEXT = "<unseen>", "<missing>"


@dataclass(frozen=True)
class EncodedColumn:
    """One field of many rows.

    Parameters
    ----------
    ids : int32 array of shape (n_entries,)
        Local ids; one per row unless `lengths` is given.
    values : float32 array of shape (n_entries,), optional
    lengths : int64 array of shape (n_rows,), optional
        How many entries each row has.
    """

    ids: Ids
    values: Floats | None = None
    lengths: NDArray[np.int64] | None = None


class FieldEncoder(ABC):
    """Encodes one field as local ids 0 … n_features − 1.

    Attributes
    ----------
    type : str
        The name under which it is saved.
    counts : float64 array of shape (n_features,)
        How often (by row weight) each local id occurred in training.
    value_type : str
        What a raw value is: "text", "int", "float", "bool", "time" (a date or time) or "tags".
    has_values, is_ragged : bool
        Whether features carry values other than 1, and whether a row may have any number of them.
    key_type : str
        What a categorical field's values are compared as; empty for other fields.
    """

    type: ClassVar[str]
    has_values: ClassVar[bool] = False
    is_ragged: ClassVar[bool] = False
    counts: NDArray[np.float64]
    key_type: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_features={self.n_features})"

    @property
    def n_features(self) -> int:
        return len(self.counts)

    @property
    @abstractmethod
    def value_type(self) -> str: ...

    @abstractmethod
    def encode(self, series: pl.Series) -> EncodedColumn:
        """The local ids of a raw column."""

    @abstractmethod
    def encode_one(self, value: Any) -> Any:
        """Encode one raw value, fast: a local id; (id, value) with values; (ids, values) if ragged."""

    def encode_values(self, values: list[Any]) -> EncodedColumn:
        """Encode raw values as `encode_one` does, faster for many."""
        encoded = encode_distinct(self.encode_one, values)
        if self.is_ragged:
            lengths = np.array([len(ids) for ids, _ in encoded], np.int64)
            ids = np.array([i for ids, _ in encoded for i in ids], np.int32)
            return EncodedColumn(ids, np.array([x for _, xs in encoded for x in xs], np.float32), lengths)
        if self.has_values:
            ids = np.array([i for i, _ in encoded], np.int32)
            return EncodedColumn(ids, np.array([x for _, x in encoded], np.float32))
        return EncodedColumn(np.array(encoded, np.int32))

    @abstractmethod
    def labels(self) -> list[Any]:
        """What each local id stands for, in order of id."""

    def examples(self, n: int) -> list[Any]:
        """At most n raw values that have a feature of their own, the most frequent first."""
        return []

    def texts(self) -> pl.Series:
        """Every local id as text; `from_dict` restores the encoder from it, `to_dict` and `counts`."""
        return pl.Series("value", self.labels(), pl.String)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All but texts and counts, ready for JSON."""

    @classmethod
    @abstractmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> FieldEncoder:
        """Restore an encoder from `to_dict`, `texts` and `counts`."""


def weighted_counts(ids: NDArray[Any], n_features: int, weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """How often (by row weight) each local id occurs, float64 of shape (n_features,)."""
    return np.bincount(ids, weights=weight, minlength=n_features).astype(np.float64)


def encode_distinct(encode_one: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    """`encode_one` of every value, called once for equal values of one type."""
    kinds = set(map(type, values))
    if len(kinds) > 1 or not kinds <= {str, int, float, bool, NoneType}:
        return [encode_one(value) for value in values]
    found = {value: encode_one(value) for value in set(values)}
    return [found[value] for value in values]
