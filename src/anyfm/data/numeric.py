"""Numeric fields: bins of the number line, or the standardised number itself.

Local id 0 is the unseen feature (here: text that is no number), 1 the missing feature, then the bins in ascending
order, or the one feature of a scaled field.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, located
from anyfm.data.coder import FIRST, MISSING, MISSING_TEXT, UNSEEN, UNSEEN_TEXT, Coded, Coder, Local
from anyfm.data.dates import Clock, numeric_clock
from anyfm.data.values import missing_mask, one, plain

Numbers = NDArray[np.float64]


class Bins(Coder):
    r"""A number as the bin it lies in.

    With edges :math:`e_1 < \dots < e_m` there are m + 1 bins, and x lies in bin b (counted from 0) if and only if
    :math:`e_b \le x < e_{b+1}`, where :math:`e_0 = -\infty` and the last bin also holds :math:`+\infty`. Its local
    id is b + 2.

    Parameters
    ----------
    edges : float64 array of shape (n_bins − 1,)
        Finite and ascending.
    counts : float64 array of shape (n_bins + 2,)
    clock : Clock
        How the column becomes numbers; tells how the edges are written, too.
    """

    type = "bins"

    def __init__(self, edges: Numbers, counts: Numbers, clock: Clock = numeric_clock) -> None:
        self.edges = edges
        self.counts = counts
        self.clock = clock
        self._edges = edges.tolist()

    @classmethod
    def fit(
        cls,
        series: pl.Series,
        *,
        n_bins: int = 32,
        log: bool = False,
        min_count: int = 1,
        weight: pl.Series | None = None,
        clock: Clock = numeric_clock,
    ) -> tuple[Bins, Coded]:
        """Learn the edges of a column, by quantiles or by logarithm, and encode it."""
        numbers, missing = clock.numbers(series), missing_mask(plain(series))
        present = np.isfinite(numbers) & ~missing
        mass = None if weight is None else weight.cast(pl.Float64).to_numpy()
        levels, counts = _levels(numbers[present], None if mass is None else mass[present])
        edges = log_edges(levels, counts, min_count=min_count) if log else quantile_edges(levels, counts, n_bins)
        bins = cls(edges, np.zeros(len(edges) + 1 + FIRST), clock)
        ids = bins._place(numbers, missing)
        bins.counts = np.bincount(ids, weights=mass, minlength=bins.n_features).astype(np.float64)
        return bins, Coded(ids)

    def _place(self, numbers: Numbers, missing: NDArray[np.bool_]) -> Local:
        ids = (np.searchsorted(self.edges, numbers, side="right") + FIRST).astype(np.int32)
        ids[np.isnan(numbers)] = UNSEEN
        ids[missing] = MISSING
        return ids

    def encode(self, series: pl.Series) -> Coded:
        return Coded(self._place(self.clock.numbers(series), missing_mask(plain(series))))

    def encode_one(self, value: Any) -> int:
        if self.clock.is_plain and (type(value) is float or type(value) is int) and value == value:
            try:
                return bisect_right(self._edges, float(value)) + FIRST  # as in a column: an integer is a float64
            except OverflowError:
                pass
        return MISSING if value is None else int(self.encode(one(value)).ids[0])

    def labels(self) -> list[Any]:
        text = [self.clock.text(edge) for edge in self._edges]
        if not text:
            return [UNSEEN_TEXT, MISSING_TEXT, "any"]
        inner = [f"[{low}, {high})" for low, high in pairwise(text)]
        return [UNSEEN_TEXT, MISSING_TEXT, f"< {text[0]}", *inner, f"≥ {text[-1]}"]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "edges": self._edges, "clock": self.clock.unit}

    @classmethod
    def from_parts(cls, parts: dict[str, Any], texts: pl.Series, counts: Numbers) -> Bins:
        return cls(np.asarray(parts["edges"], np.float64), counts, Clock(parts["clock"]))


class Scaled(Coder):
    """A number as the value of its one feature: (x − mean) / deviation, both from training.

    Missing is the missing feature with value 1; so is ±∞, which has no standardised value. Text that is no number is
    the unseen feature with value 1.
    """

    type = "scaled"
    has_values = True

    def __init__(self, mean: float, deviation: float, counts: Numbers) -> None:
        self.mean = mean
        self.deviation = deviation
        self.counts = counts

    @classmethod
    def fit(cls, series: pl.Series, *, weight: pl.Series | None = None) -> tuple[Scaled, Coded]:
        """Learn mean and deviation (1 if the column is constant) of a column and encode it."""
        numbers = numeric_clock.numbers(series)
        present = np.isfinite(numbers) & ~missing_mask(plain(series))
        mass = None if weight is None else weight.cast(pl.Float64).to_numpy()
        if not present.any() or (mass is not None and not mass[present].sum() > 0):
            raise InputError(located("a scaled field needs at least one number", column=series.name))
        weights = None if mass is None else mass[present]
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(numbers[present], weights=weights))
            deviation = float(np.sqrt(np.average((numbers[present] - mean) ** 2, weights=weights)))
        if not np.isfinite(deviation):
            raise InputError(
                located(
                    "the numbers of a scaled field must have a finite deviation",
                    column=series.name,
                    remedy='Use kind = "numeric" (bins).',
                )
            )
        scaled = cls(mean, deviation if deviation > 0 else 1.0, np.zeros(1 + FIRST))
        coded = scaled.encode(series)
        scaled.counts = np.bincount(coded.ids, weights=mass, minlength=1 + FIRST).astype(np.float64)
        return scaled, coded

    def encode(self, series: pl.Series) -> Coded:
        numbers, missing = numeric_clock.numbers(series), missing_mask(plain(series))
        ids = np.full(len(series), FIRST, np.int32)
        ids[np.isnan(numbers)] = UNSEEN
        ids[missing | np.isinf(numbers)] = MISSING
        values = np.where(ids == FIRST, (np.where(ids == FIRST, numbers, 0.0) - self.mean) / self.deviation, 1.0)
        return Coded(ids, values.astype(np.float32))

    def encode_one(self, value: Any) -> tuple[int, float]:
        if (type(value) is float or type(value) is int) and abs(value) < 1e300:
            return FIRST, (value - self.mean) / self.deviation
        coded = self.encode(one(value))
        assert coded.values is not None
        return int(coded.ids[0]), float(coded.values[0])

    def labels(self) -> list[Any]:
        return [UNSEEN_TEXT, MISSING_TEXT, f"(x - {self.mean:.6g}) / {self.deviation:.6g}"]

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_parts(cls, parts: dict[str, Any], texts: pl.Series, counts: Numbers) -> Scaled:
        return cls(parts["mean"], parts["deviation"], counts)


def _levels(numbers: Numbers, mass: Numbers | None) -> tuple[Numbers, Numbers]:
    """Distinct numbers ascending, and how often each occurs (float64); those of no weight are left out."""
    order = None if mass is None else np.argsort(numbers, kind="stable")
    ascending = np.sort(numbers) if order is None else numbers[order]
    first = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)])
    if mass is None or order is None:
        return ascending[first], np.diff(first, append=len(ascending)).astype(np.float64)
    counts = np.add.reduceat(mass[order], first) if len(first) else np.zeros(0)
    return ascending[first][counts > 0], counts[counts > 0]


def quantile_edges(levels: Numbers, counts: Numbers, n_bins: int) -> Numbers:
    """Edges of at most `n_bins` bins of about equal mass; every bin holds at least one of the levels.

    Up to `n_bins` distinct values get a bin each. Beyond that, a value as frequent as two bins gets a bin of its own
    (the zeros of a count, say), and the others share the remaining bins by their quantiles. What is frequent is asked
    again of the others alone: beside many zeros, round numbers would not stand out.

    Parameters
    ----------
    levels, counts : float64 arrays of shape (n_levels,)
        Distinct finite numbers, ascending, and their mass.
    """
    if len(levels) <= n_bins:
        return levels[1:]
    heavy, n_rest = np.zeros(len(levels), bool), n_bins
    while n_rest > 1 and (more := ~heavy & (counts * n_rest >= 2.0 * counts[~heavy].sum())).any():
        heavy |= more
        n_rest = n_bins - 2 * int(heavy.sum())  # not below 0: of n_rest bins' mass at most n_rest / 2 can be two bins'
    light = np.flatnonzero(~heavy)
    starts: list[NDArray[np.int64]] = [np.flatnonzero(heavy), np.flatnonzero(heavy) + 1]
    if n_rest > 1 and len(light):
        cumulative = np.cumsum(counts[light])
        targets = cumulative[-1] * np.arange(1, n_rest) / n_rest
        starts.append(light[np.minimum(np.searchsorted(cumulative, targets), len(light) - 1)])
    first_of_bin = np.unique(np.concatenate(starts))
    return levels[first_of_bin[(first_of_bin > 0) & (first_of_bin < len(levels))]]


def log_edges(levels: Numbers, counts: Numbers, *, min_count: int = 1) -> Numbers:
    r"""Edges for long tails: at 0, 1, 2 and :math:`e^{\sqrt n}` for n = 1, 2, …, mirrored below zero.

    Above 2 a bin is therefore a value of :math:`\lfloor (\ln x)^2 \rfloor`, the rule of the winners of the Criteo
    challenge of 2014. Edges that would part off a bin of less mass than `min_count` are left out.
    """
    if len(levels) == 0:
        return np.zeros(0)
    top = max(abs(levels[0]), abs(levels[-1]), np.e)
    steps = np.exp(np.sqrt(np.arange(1, int(np.log(top) ** 2) + 1)))
    candidates = np.concatenate([-steps[::-1], [-2.0, -1.0, 0.0, 1.0, 2.0], steps])
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    masses, first = np.unique(cumulative[np.searchsorted(levels, candidates)], return_index=True)
    least = max(min_count, 1)
    kept, floor = [], 0.0
    for edge, mass in zip(candidates[first].tolist(), masses.tolist(), strict=True):
        if mass - floor >= least and cumulative[-1] - mass >= least:
            kept.append(edge)
            floor = mass
    return np.asarray(kept, np.float64)
