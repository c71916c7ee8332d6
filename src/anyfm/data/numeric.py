"""Numeric fields: a number as the bin it lies in, or as the standardised value of one feature.

Local id 0 is the unseen feature (text that is not a number), 1 the missing feature, then the bins in ascending order,
or the one feature of a scaled field.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import got
from anyfm.core.rows import Ids
from anyfm.data.dates import EPOCH_UNITS, check_unit, number_label, number_of, numbers_of
from anyfm.data.field_encoder import (
    FIRST,
    MISSING,
    MISSING_TEXT,
    UNSEEN,
    UNSEEN_TEXT,
    EncodedColumn,
    FieldEncoder,
    weighted_counts,
)
from anyfm.data.messages import input_error
from anyfm.data.values import as_basic, missing_mask, number_text, series_of

Doubles = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)


class BinEncoder(FieldEncoder):
    r"""Encodes a number as the bin it lies in.

    With edges :math:`e_1 < \dots < e_m` there are m + 1 bins, and x lies in bin b (counted from 0) if and only if
    :math:`e_b \le x < e_{b+1}`, where :math:`e_0 = -\infty` and the last bin also holds :math:`+\infty`. Its local
    id is b + 2.

    Parameters
    ----------
    edges : float64 array of shape (n_bins − 1,)
        Finite and ascending.
    counts : float64 array of shape (n_bins + 2,)
    unit : str
        "" for numbers; the unit of dates and times, see `anyfm.data.dates`.
    """

    type = "bins"

    def __init__(self, edges: Doubles, counts: Doubles, unit: str = "") -> None:
        self.edges = edges
        self.counts = counts
        self.unit = check_unit(unit)
        self._edges: list[float] = edges.tolist()

    @classmethod
    def fit(
        cls,
        series: pl.Series,
        *,
        n_bins: int = 32,
        log: bool = False,
        min_count: int = 1,
        weight: pl.Series | None = None,
        unit: str = "",
    ) -> tuple[BinEncoder, EncodedColumn]:
        """Learn the edges of a column, by quantiles or by logarithm, and encode it."""
        numbers, missing = numbers_of(series, unit), missing_mask(as_basic(series))
        row_weight = None if weight is None else weight.cast(pl.Float64).to_numpy()
        present = np.isfinite(numbers) & ~missing
        levels, counts = _levels(numbers[present], None if row_weight is None else row_weight[present])
        edges = log_edges(levels, counts, min_count=min_count) if log else quantile_edges(levels, counts, n_bins)
        encoder = cls(edges, np.zeros(len(edges) + 1 + FIRST), unit)
        ids = encoder._bin_ids(numbers, missing)
        encoder.counts = weighted_counts(ids, encoder.n_features, row_weight)
        return encoder, EncodedColumn(ids)

    def _bin_ids(self, numbers: Doubles, missing: NDArray[np.bool_]) -> Ids:
        ids = (np.searchsorted(self.edges, numbers, side="right") + FIRST).astype(np.int32)
        ids[np.isnan(numbers)] = UNSEEN
        ids[missing] = MISSING
        return ids

    def encode(self, series: pl.Series) -> EncodedColumn:
        return EncodedColumn(self._bin_ids(numbers_of(series, self.unit), missing_mask(as_basic(series))))

    @property
    def value_type(self) -> str:
        return "time" if self.unit else "float"

    def encode_values(self, values: list[Any]) -> EncodedColumn:
        if not set(map(type, values)) <= {int, float}:
            return super().encode_values(values)
        numbers = _float64(values)
        if numbers is None:
            return super().encode_values(values)
        numbers = numbers / EPOCH_UNITS[self.unit] if self.unit else numbers
        return EncodedColumn(self._bin_ids(numbers, np.isnan(numbers)))

    def examples(self, n: int) -> list[Any]:
        """A number of each bin but the first, the most frequent first."""
        if self.unit or not self._edges:
            return []
        order = np.argsort(-self.counts[FIRST + 1 :], kind="stable")[:n]
        return [number_label(self._edges[at], "") for at in order.tolist()]

    def encode_one(self, value: Any) -> int:
        if value is None:
            return MISSING
        number = number_of(value, self.unit)
        if number is None:
            return int(self.encode(series_of(value)).ids[0])
        return UNSEEN if number != number else bisect_right(self._edges, number) + FIRST  # as in a column: a float64

    def labels(self) -> list[Any]:
        text = [number_label(edge, self.unit) for edge in self._edges]
        bins = (
            [f"< {text[0]}", *(f"[{low}, {high})" for low, high in pairwise(text)), f"≥ {text[-1]}"]
            if text
            else ["any"]
        )
        return [UNSEEN_TEXT, MISSING_TEXT, *bins]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "edges": self._edges, "unit": self.unit}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: Doubles) -> BinEncoder:
        edges = np.asarray(saved["edges"], np.float64)
        if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ValueError(got("edges must be ascending numbers", edges=edges))
        return cls(edges, counts, saved["unit"])


class ScaledEncoder(FieldEncoder):
    """Encodes a number as the value of one feature: (x − mean) / deviation, both from training.

    A number outside the range of training counts as the end of the range that it is beyond. Missing is the missing
    feature with value 1; so is ±∞, which has no standardized value. Text that is not a number is the unseen feature
    with value 1.
    """

    type = "scaled"
    has_values = True

    def __init__(
        self, mean: float, deviation: float, counts: Doubles, low: float = -LARGEST, high: float = LARGEST
    ) -> None:
        self.mean = mean
        self.deviation = deviation
        self.low, self.high = low, high
        self.counts = counts

    @classmethod
    def fit(cls, series: pl.Series, *, weight: pl.Series | None = None) -> tuple[ScaledEncoder, EncodedColumn]:
        """Learn mean and deviation (1 if the column is constant) of a column and encode it."""
        numbers = numbers_of(series, "")
        present = np.isfinite(numbers) & ~missing_mask(as_basic(series))
        row_weight = None if weight is None else weight.cast(pl.Float64).to_numpy()
        weights = None if row_weight is None else row_weight[present]
        if not present.any() or (weights is not None and not weights.sum() > 0):
            raise input_error("a scaled field needs at least one number", column=series.name)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(numbers[present], weights=weights))
            deviation = float(np.sqrt(np.average((numbers[present] - mean) ** 2, weights=weights)))
        if not np.isfinite(deviation):
            raise input_error(
                "the numbers of a scaled field must have a finite standard deviation",
                column=series.name,
                remedy='Use kind = "numeric" (bins).',
            )
        encoder = cls(mean, deviation if deviation > 0 else 1.0, np.zeros(1 + FIRST), *_range(numbers[present]))
        encoded = encoder.encode(series)
        encoder.counts = weighted_counts(encoded.ids, encoder.n_features, row_weight)
        return encoder, encoded

    def encode(self, series: pl.Series) -> EncodedColumn:
        numbers = numbers_of(series, "")
        ids = np.full(len(series), FIRST, np.int32)
        ids[np.isnan(numbers)] = UNSEEN
        ids[missing_mask(as_basic(series)) | np.isinf(numbers)] = MISSING
        is_number = ids == FIRST
        clipped = np.clip(np.where(is_number, numbers, self.mean), self.low, self.high)
        values = np.where(is_number, (clipped - self.mean) / self.deviation, 1.0)
        return EncodedColumn(ids, values.astype(np.float32))

    @property
    def value_type(self) -> str:
        return "float"

    def encode_values(self, values: list[Any]) -> EncodedColumn:
        numbers = _float64(values) if set(map(type, values)) <= {int, float} else None
        if numbers is None or not (abs(numbers) < 1e300).all():
            return super().encode_values(values)
        scaled = (np.clip(numbers, self.low, self.high) - self.mean) / self.deviation
        return EncodedColumn(np.full(len(values), FIRST, np.int32), scaled.astype(np.float32))

    def examples(self, n: int) -> list[Any]:
        return [number_text(float(f"{self.mean:.6g}"))]

    def encode_one(self, value: Any) -> tuple[int, float]:
        if value is None:
            return MISSING, 1.0
        number = number_of(value, "")
        if number is None or not abs(number) < 1e300:
            encoded = self.encode(series_of(value))
            assert encoded.values is not None
            return int(encoded.ids[0]), float(encoded.values[0])
        return FIRST, (min(max(number, self.low), self.high) - self.mean) / self.deviation

    def labels(self) -> list[Any]:
        return [UNSEEN_TEXT, MISSING_TEXT, f"(x - {self.mean:.6g}) / {self.deviation:.6g}"]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "mean": self.mean, "deviation": self.deviation, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: Doubles) -> ScaledEncoder:
        mean, deviation, low, high = (float(saved[name]) for name in ("mean", "deviation", "low", "high"))
        if not (math.isfinite(mean) and 0 < deviation < math.inf and low <= high):
            raise ValueError(got("a scaled field must have finite moments", mean=mean, deviation=deviation))
        return cls(mean, deviation, counts, low, high)


def _float64(values: list[Any]) -> Doubles | None:
    """Whole numbers and floats as float64; None where one is beyond it."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None


def _range(numbers: Doubles) -> tuple[float, float]:
    return float(numbers.min()), float(numbers.max())


def _levels(numbers: Doubles, weight: Doubles | None) -> tuple[Doubles, Doubles]:
    """Distinct numbers ascending, and how often (by weight) each occurs; those of weight 0 are left out."""
    if weight is None:
        levels, occurrences = np.unique(numbers, return_counts=True)
        return levels, occurrences.astype(np.float64)
    levels, index = np.unique(numbers, return_inverse=True)
    counts = weighted_counts(index, len(levels), weight)
    return levels[counts > 0], counts[counts > 0]


def quantile_edges(levels: Doubles, counts: Doubles, n_bins: int) -> Doubles:
    """Edges of at most `n_bins` bins of about equal weight; every bin holds at least one of the levels.

    Up to `n_bins` distinct values get one bin each. Beyond that, a value as frequent as two bins gets its own bin
    (the zeros of a count, say), and the other values share the remaining bins by their quantiles. Which values are
    that frequent is then decided again among the other values alone: beside many zeros, round numbers would not
    stand out.

    Parameters
    ----------
    levels, counts : float64 arrays of shape (n_levels,)
        Distinct finite numbers, ascending, and how often (by weight) each occurs.
    """
    if len(levels) <= n_bins:
        return levels[1:]
    frequent, n_rest = np.zeros(len(levels), bool), n_bins
    while n_rest > 1 and (more := ~frequent & (counts * n_rest >= 2.0 * counts[~frequent].sum())).any():
        frequent |= more
        n_rest = n_bins - 2 * int(frequent.sum())  # not below 0: at most n_rest / 2 values weigh as much as two bins
    own, rest = np.flatnonzero(frequent), np.flatnonzero(~frequent)
    starts = [own, own + 1]
    if n_rest > 1 and len(rest):
        cumulative = np.cumsum(counts[rest])
        targets = cumulative[-1] * np.arange(1, n_rest) / n_rest
        starts.append(rest[np.minimum(np.searchsorted(cumulative, targets), len(rest) - 1)])
    first_of_bin = np.unique(np.concatenate(starts))
    return levels[first_of_bin[(first_of_bin > 0) & (first_of_bin < len(levels))]]


def log_edges(levels: Doubles, counts: Doubles, *, min_count: int = 1) -> Doubles:
    r"""Edges for long tails: at 0, 1, 2 and :math:`e^{\sqrt n}` for n = 1, 2, …, mirrored below zero.

    Above 2 a bin is therefore a value of :math:`\lfloor (\ln x)^2 \rfloor`, the rule of the winners of the Criteo
    challenge of 2014. Edges that would create a bin of less weight than `min_count` are left out.
    """
    if len(levels) == 0:
        return np.zeros(0)
    largest = max(abs(levels[0]), abs(levels[-1]), np.e)
    powers = np.exp(np.sqrt(np.arange(1, int(np.log(largest) ** 2) + 1)))
    candidates = np.concatenate([-powers[::-1], [-2.0, -1.0, 0.0, 1.0, 2.0], powers])
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    below, first = np.unique(cumulative[np.searchsorted(levels, candidates)], return_index=True)
    least = max(min_count, 1)
    edges, last = [], 0.0
    for edge, weight_below in zip(candidates[first].tolist(), below.tolist(), strict=True):
        if weight_below - last >= least and cumulative[-1] - weight_below >= least:
            edges.append(edge)
            last = weight_below
    return np.asarray(edges, np.float64)
