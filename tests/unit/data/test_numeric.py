"""Bins follow their rule exactly, and hold about equal numbers of rows."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.core.errors import InputError
from anyfm.data.numeric import BinEncoder, ScaledEncoder, log_edges, quantile_edges

finite = st.floats(allow_nan=False, allow_infinity=False)
columns = st.lists(
    st.one_of(finite, st.sampled_from([0.0, 1.0, 2.0]), st.integers(-5, 5).map(float)), min_size=1, max_size=80
)


class TestBins:
    @given(columns, st.integers(2, 12), st.booleans(), st.lists(st.floats(), max_size=20))
    def test_x_is_in_bin_b_iff_it_lies_between_its_edges(
        self, train: list[float], n_bins: int, log: bool, others: list[float]
    ):
        bins, _ = BinEncoder.fit(pl.Series("x", train), n_bins=n_bins, log=log)
        bounds = [-math.inf, *bins.edges.tolist(), math.inf]
        for x in [*train, *others, *bins.edges.tolist(), *np.nextafter(bins.edges, -np.inf).tolist()]:
            local = int(bins.encode(pl.Series("x", [x], pl.Float64)).ids[0])
            assert local == bins.encode_one(x)
            if math.isnan(x):
                assert local == 1
                continue
            for b in range(len(bounds) - 1):
                inside = bounds[b] <= x < bounds[b + 1] or (b == len(bounds) - 2 and x == math.inf)
                assert (local == b + 2) == inside

    @given(columns, st.integers(2, 12))
    def test_quantile_bins_are_no_more_than_asked_and_none_is_empty(self, train: list[float], n_bins: int):
        bins, coded = BinEncoder.fit(pl.Series("x", train), n_bins=n_bins)
        assert (np.diff(bins.edges) > 0).all()
        assert len(bins.edges) + 1 <= n_bins
        assert (bins.counts[2:] > 0).all()
        assert bins.counts.tolist() == np.bincount(coded.ids, minlength=bins.n_features).tolist()

    @given(columns, st.integers(1, 5))
    def test_log_bins_hold_at_least_min_count(self, train: list[float], min_count: int):
        bins, _ = BinEncoder.fit(pl.Series("x", train), log=True, min_count=min_count)
        assert (np.diff(bins.edges) > 0).all()
        if len(bins.edges):
            assert (bins.counts[2:] >= min_count).all()

    def test_numbers_farther_apart_than_float64_reaches(self):
        bins, _ = BinEncoder.fit(pl.Series("x", [-1.7e308, 1.7e308]), n_bins=4)
        assert bins.edges.tolist() == [1.7e308]

    def test_few_values_get_a_bin_each(self):
        bins, _ = BinEncoder.fit(pl.Series("x", [3, 1, 2, 2, 7]), n_bins=4)
        assert bins.labels() == ["<unseen>", "<missing>", "< 2", "[2, 3)", "[3, 7)", "≥ 7"]

    def test_bins_hold_equal_numbers_of_rows(self):
        bins, _ = BinEncoder.fit(pl.Series("x", np.random.default_rng(0).normal(size=10_000)), n_bins=10)
        np.testing.assert_allclose(bins.counts[2:], 1000, atol=2)

    def test_a_frequent_value_has_its_own_bin_and_the_others_share_the_rest(self):
        rest = np.arange(1.0, 1001.0)
        bins, _ = BinEncoder.fit(pl.Series("x", np.concatenate([np.zeros(9000), rest])), n_bins=10)
        assert bins.counts[2] == 9000
        assert bins.edges[0] == 1.0
        np.testing.assert_allclose(bins.counts[3:], 1000 / 8, atol=1)

    @pytest.mark.parametrize(
        ("others", "n", "frequent", "n_bins"),
        [
            ([*range(100), *range(51, 100)], 100, 50.5, 8),
            ([0] * 9000 + [*range(1, 601)], 400, 300.5, 10),  # another value is more frequent
        ],
    )
    def test_a_frequent_value_between_others_has_its_own_bin(
        self, others: list[int], n: int, frequent: float, n_bins: int
    ):
        bins, _ = BinEncoder.fit(pl.Series("x", [*map(float, others), *[frequent] * n]), n_bins=n_bins)
        own = bins.encode_one(frequent)
        assert bins.counts[own] == n
        assert bins.encode_one(frequent - 0.5) == own - 1
        assert bins.encode_one(frequent + 0.5) == own + 1

    def test_infinities_lie_in_the_outer_bins_and_do_not_change_the_edges(self):
        train = pl.Series("x", [math.inf, -math.inf, *range(100)], dtype=pl.Float64, strict=False)
        bins, _ = BinEncoder.fit(train, n_bins=4)
        assert np.isfinite(bins.edges).all()
        assert bins.encode(pl.Series("x", [-math.inf, math.inf])).ids.tolist() == [2, 5]

    def test_a_column_without_numbers_has_one_bin(self):
        bins, coded = BinEncoder.fit(pl.Series("x", [None, None], dtype=pl.Float64))
        assert bins.labels() == ["<unseen>", "<missing>", "any"]
        assert coded.ids.tolist() == [1, 1]
        assert bins.encode_one(3.0) == 2

    @pytest.mark.parametrize("value", [2**54 - 1, 2**54 + 1, -(2**62) - 1, 2**80, -(2**80), 10**400])
    def test_huge_integers_are_rounded_alike_alone_and_in_a_column(self, value: int):
        bins, _ = BinEncoder.fit(pl.Series("x", [0.0, 2.0**54, -(2.0**62), 2.0**80]), n_bins=9)
        column = pl.Series("x", [value]) if abs(value) < 2**63 else pl.Series("x", [str(value)])
        assert bins.encode_one(value) == bins.encode(column).ids[0]

    def test_labels_are_exact(self):
        bins, _ = BinEncoder.fit(pl.Series("x", [0.1, 0.30000000000000004, 1e20]), n_bins=3)
        assert bins.labels()[2:] == ["< 0.30000000000000004", "[0.30000000000000004, 1e+20)", "≥ 1e+20"]

    @given(st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 3)), min_size=1, max_size=30))
    def test_a_weight_counts_as_copies(self, pairs: list[tuple[int, int]]):
        values = [float(v) for v, _ in pairs]
        copies = [float(v) for v, n in pairs for _ in range(n)]
        weighted, _ = BinEncoder.fit(pl.Series("x", values), n_bins=4, weight=pl.Series([float(n) for _, n in pairs]))
        plain, _ = BinEncoder.fit(pl.Series("x", copies, pl.Float64), n_bins=4)
        assert weighted.edges.tolist() == plain.edges.tolist()
        assert weighted.counts.tolist() == plain.counts.tolist()


class TestQuantileEdges:
    @given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60), st.integers(2, 10))
    def test_frequent_values_have_their_own_bins(self, counts: list[float], n_bins: int):
        weight = np.array(counts)
        levels = np.arange(len(weight), dtype=np.float64)
        edges = quantile_edges(levels, weight, n_bins)
        which = np.searchsorted(edges, levels, side="right")
        assert which.max() + 1 <= n_bins
        frequent = weight >= 2 * weight.sum() / n_bins
        if len(levels) > n_bins:
            for b in np.unique(which[frequent]):
                assert (which == b).sum() == 1


class TestLogEdges:
    def test_above_two_a_bin_is_a_value_of_the_squared_logarithm(self):
        levels = np.arange(0.0, 5000.0)
        edges = log_edges(levels, np.ones(len(levels)))
        which = np.searchsorted(edges, levels, side="right")
        above = levels > 2
        squared = np.floor(np.log(levels[above]) ** 2)
        assert ((np.diff(which[above]) != 0) == (np.diff(squared) != 0)).all()
        assert which[:3].tolist() == [0, 1, 2]

    def test_edges_are_mirrored_below_zero(self):
        levels = np.arange(-100.0, 101.0)
        edges = log_edges(levels, np.ones(len(levels)))
        which = np.searchsorted(edges, [-2.0, -1.0, 0.0, 1.0, 2.0], side="right")
        assert (np.diff(which) == 1).all()


class TestScaled:
    def test_values_are_standardised_numbers(self):
        series = pl.Series("x", [1.0, 2.0, 3.0, None])
        scaled, coded = ScaledEncoder.fit(series)
        assert coded.ids.tolist() == [2, 2, 2, 1]
        assert coded.values is not None
        np.testing.assert_allclose(coded.values, [-(1.5**0.5), 0, 1.5**0.5, 1], rtol=1e-6)
        assert scaled.counts.tolist() == [0, 1, 3]

    @given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=20))
    def test_values_are_always_finite(self, values: list[float | None]):
        scaled = ScaledEncoder(0.0, 1.0, np.zeros(3))
        series = pl.Series("x", [None if v is not None and abs(v) > 1e30 else v for v in values], pl.Float64)
        coded = scaled.encode(series)
        assert coded.values is not None
        assert np.isfinite(coded.values).all()
        for value, local, x in zip(series.to_list(), coded.ids, coded.values, strict=True):
            one = scaled.encode_one(value)
            assert (one[0], np.float32(one[1])) == (local, x)

    def test_infinity_and_words_have_no_number(self):
        scaled, _ = ScaledEncoder.fit(pl.Series("x", [1.0, 2.0]))
        assert scaled.encode_one(math.inf) == (1, 1.0)
        assert scaled.encode_one("word") == (0, 1.0)
        assert scaled.encode_one(math.nan) == (1, 1.0)

    def test_a_constant_has_deviation_one(self):
        scaled, coded = ScaledEncoder.fit(pl.Series("x", [5.0, 5.0]))
        assert scaled.deviation == 1.0
        assert coded.values is not None
        assert coded.values.tolist() == [0, 0]

    def test_a_column_without_numbers_is_refused(self):
        with pytest.raises(InputError, match=r"at least one number \(column 'x'\)"):
            ScaledEncoder.fit(pl.Series("x", [None, None], dtype=pl.Float64))
        with pytest.raises(InputError, match="finite standard deviation"):
            ScaledEncoder.fit(pl.Series("x", [1e300, -1e300]))
