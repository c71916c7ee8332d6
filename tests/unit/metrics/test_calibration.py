from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from anyfm.core.task import TASKS
from anyfm.metrics import probability, reliability


def test_bins_of_distinct_logits_hold_equally_many_rows_and_agree_with_sklearn():
    rng = np.random.default_rng(0)
    z = rng.normal(size=1000)
    y = rng.random(1000) < probability(z)
    table = reliability(y, z, n_bins=10)
    np.testing.assert_array_equal(table.n_rows, 100)
    observed, predicted = calibration_curve(y, probability(z), n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table.mean_observed, observed, rtol=1e-12)
    np.testing.assert_allclose(table.mean_predicted, predicted, rtol=1e-12)
    assert (table.lowest[1:] > table.highest[:-1]).all()
    assert (table.lowest <= table.mean_predicted).all()
    assert (table.mean_predicted <= table.highest).all()


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_a_table_depends_neither_on_order_nor_on_copies(rows, n_bins, random):
    y, z, w = np.array(rows, float).T
    copies = np.repeat(np.arange(len(y)), w.astype(int))
    random.shuffle(copies)
    for task in ("binary", "regression"):
        weighted = reliability(y, z, w, task=TASKS[task], n_bins=n_bins)
        copied = reliability(y[copies], z[copies], task=TASKS[task], n_bins=n_bins)
        assert len(weighted.weight) <= n_bins
        assert weighted.weight.sum() == copied.n_rows.sum() == w.sum()
        for name in ("weight", "lowest", "highest", "mean_predicted", "mean_observed", "lower", "upper"):
            np.testing.assert_allclose(getattr(weighted, name), getattr(copied, name), rtol=1e-12, atol=1e-12)


def test_equal_logits_are_never_divided():
    table = reliability(np.array([0, 1, 1, 0, 1]), np.array([0, 0, 0, 0, 5.0]), n_bins=5)
    np.testing.assert_array_equal(table.n_rows, [4, 1])
    np.testing.assert_array_equal(table.mean_observed, [0.5, 1.0])


@pytest.mark.parametrize(
    ("weights", "n_bins", "expected"),
    [
        ([6, 1, 1, 1, 1, 1, 1], 2, [6, 6]),  # equal weight, not equally many distinct logits
        ([1, 3], 2, [1, 3]),  # by the middle of the weight: 0.5 of 4 and 2.5 of 4
        ([3, 1], 2, [3, 1]),
        ([1, 1, 6, 1, 1], 5, [2, 6, 2]),  # a heavy logit leaves bins empty
    ],
)
def test_which_bin_a_logit_falls_into(weights, n_bins, expected):
    logits = np.arange(len(weights), dtype=float)
    table = reliability(np.zeros(len(weights)), logits, weights, n_bins=n_bins)
    np.testing.assert_array_equal(table.weight, expected)


def test_wilson_interval_of_a_textbook_case():
    # 8 of 10: Wilson's 95 % interval is .4902 to .9433 (Newcombe, Statistics in Medicine 17, 1998, method 3 by formula)
    table = reliability(np.array([1] * 8 + [0] * 2), np.zeros(10), n_bins=1)
    assert table.lower[0] == pytest.approx(0.4901625, abs=1e-6)
    assert table.upper[0] == pytest.approx(0.9433178, abs=1e-6)
    # 0 of 10 still leaves an upper bound above, no lower one
    table = reliability(np.zeros(10), np.zeros(10), n_bins=1)
    assert table.lower[0] == 0.0
    assert table.upper[0] == pytest.approx(0.2775328, abs=1e-6)


def test_95_percent_intervals_cover_about_95_percent():
    rng = np.random.default_rng(1)
    for task, allowed in (("binary", (0.90, 0.99)), ("regression", (0.90, 0.99))):
        held = []
        for _ in range(100):
            z = rng.normal(size=600)
            y = rng.random(600) < probability(z) if task == "binary" else z + rng.normal(size=600)
            table = reliability(y.astype(float), z, task=TASKS[task], n_bins=5)
            held.append((table.lower <= table.mean_predicted) & (table.mean_predicted <= table.upper))
        assert allowed[0] < np.mean(held) < allowed[1]


def test_regression_interval_by_hand():
    y = np.array([1.0, 3.0, 10.0, 14.0])
    table = reliability(y, np.array([0, 0, 1.0, 1.0]), task=TASKS["regression"], n_bins=2)
    np.testing.assert_allclose(table.mean_observed, [2, 12])
    np.testing.assert_allclose(table.upper - table.mean_observed, 1.959964 * np.array([1, 2]) / np.sqrt(2), rtol=1e-6)
