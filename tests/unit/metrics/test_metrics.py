"""Metrics against scikit-learn and against slow, obvious definitions; and the laws of weights, order and ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given
from hypothesis import strategies as st

from anyfm import metrics
from anyfm.core.errors import DivergenceError, InputError, SettingError
from anyfm.core.task import TASKS
from anyfm.metrics import probability

BINARY = [
    metrics.logloss,
    metrics.auc,
    metrics.normalized_entropy,
    metrics.calibration_error,
    metrics.calibration_ratio,
]
BINARY_TASK, REGRESSION_TASK = TASKS["binary"], TASKS["regression"]
REGRESSION = [metrics.rmse, metrics.mae, metrics.r2]


@st.composite
def scored(draw, *, binary=True, max_weight=4):
    """Targets, logits (few distinct ones, so that ties are common) and whole weights; both classes present."""
    n = draw(st.integers(2, 30))
    column = lambda values: np.array(draw(st.lists(values, min_size=n, max_size=n)))  # noqa: E731
    y = column(st.integers(0, 1) if binary else st.integers(-5, 5)).astype(float)
    grid = st.integers(-8, 8).map(lambda step: step / 4)
    logits = column(st.one_of(grid, st.floats(-12, 12, width=32)))
    weight = column(st.integers(0, max_weight)).astype(float)
    present = y[weight > 0]
    assume(len(present) > 1 and present.min() != present.max())
    return y, logits, weight


def test_logloss_matches_sklearn_in_the_range_that_probabilities_can_hold():
    rng = np.random.default_rng(0)
    y, z, w = rng.integers(0, 2, 500), rng.normal(0, 3, 500), rng.exponential(size=500)
    assert metrics.logloss(y, z) == pytest.approx(reference.log_loss(y, probability(z)), rel=1e-12)
    assert metrics.logloss(y, z, w) == pytest.approx(reference.log_loss(y, probability(z), sample_weight=w), rel=1e-12)


@given(scored())
def test_auc_matches_sklearn(rows):
    y, z, w = rows
    keep = w > 0
    assert metrics.auc(y, z, w) == pytest.approx(
        reference.roc_auc_score(y[keep], z[keep], sample_weight=w[keep]), abs=1e-12
    )


@given(scored())
def test_auc_is_the_fraction_of_pairs_won_with_ties_half(rows):
    y, z, w = rows
    won = pairs = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] == 1 and y[j] == 0:
                pairs += w[i] * w[j]
                won += w[i] * w[j] * (1.0 if z[i] > z[j] else 0.5 if z[i] == z[j] else 0.0)
    assert metrics.auc(y, z, w) == pytest.approx(won / pairs, abs=1e-14)


def test_auc_with_fractional_weights_on_many_rows_matches_sklearn():
    rng = np.random.default_rng(1)
    y, w = rng.integers(0, 2, 20_000), rng.exponential(size=20_000)
    z = np.round(rng.normal(y, 1.0), 2)
    assert metrics.auc(y, z, w) == pytest.approx(reference.roc_auc_score(y, z, sample_weight=w), abs=1e-12)


@given(scored(binary=False))
def test_regression_metrics_match_sklearn(rows):
    y, z, w = rows
    squared = reference.mean_squared_error(y, z, sample_weight=w)
    assert metrics.rmse(y, z, w) == pytest.approx(math.sqrt(squared), rel=1e-12)
    assert metrics.mae(y, z, w) == pytest.approx(reference.mean_absolute_error(y, z, sample_weight=w), rel=1e-12)
    assert metrics.r2(y, z, w) == pytest.approx(reference.r2_score(y, z, sample_weight=w), rel=1e-9, abs=1e-12)


@given(scored())
def test_weights_are_copies_binary(rows):
    y, z, w = rows
    copies = np.repeat(np.arange(len(y)), w.astype(int))
    for metric in BINARY:
        assert metric(y, z, w) == pytest.approx(metric(y[copies], z[copies]), rel=1e-12, abs=1e-14), metric


@given(scored(binary=False))
def test_weights_are_copies_regression(rows):
    y, z, w = rows
    copies = np.repeat(np.arange(len(y)), w.astype(int))
    for metric in REGRESSION:
        assert metric(y, z, w) == pytest.approx(metric(y[copies], z[copies]), rel=1e-9, abs=1e-12), metric


@given(scored(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    y, z, w = rows
    order = list(range(len(y)))
    random.shuffle(order)
    for metric in BINARY:
        assert metric(y, z, w) == pytest.approx(metric(y[order], z[order], w[order]), rel=1e-12, abs=1e-14), metric


@given(scored())
def test_rows_of_weight_zero_may_hold_anything(rows):
    y, z, w = rows
    assume((w == 0).any())
    spoiled_y, spoiled_z = np.where(w == 0, math.nan, y), np.where(w == 0, math.inf, z)
    assert metrics.evaluate(BINARY_TASK, spoiled_y, spoiled_z, w) == metrics.evaluate(BINARY_TASK, y, z, w)


@given(scored(), st.floats(0.25, 4), st.floats(-3, 3))
def test_auc_sees_only_the_order_of_logits(rows, scale, shift):
    y, z, w = rows
    moved = np.round(z * 4) / 4 * scale + shift  # a quarter apart stays apart
    assert metrics.auc(y, moved, w) == pytest.approx(metrics.auc(y, np.round(z * 4) / 4, w), abs=1e-14)
    assert metrics.auc(y, -z, w) == pytest.approx(1 - metrics.auc(y, z, w), abs=1e-14)


def test_logits_of_a_thousand_cost_a_thousand_nats_and_no_warning():
    assert metrics.logloss([0, 1], [1000.0, -1000.0]) == 1000.0
    assert metrics.logloss([1, 0], [1000.0, -1000.0]) == 0.0
    # ln(1 + e^-40) has all its digits; 1 - p would have none
    assert metrics.logloss([1, 1], [40.0, 40.0]) == pytest.approx(math.exp(-40), rel=1e-12)
    scores = metrics.evaluate(BINARY_TASK, [0, 1, 1], np.float32([-1000, 1000, 999]))
    assert scores["auc"] == 1.0
    assert scores["calibration_error"] == 0.0
    assert scores["calibration_ratio"] == 1.0
    # Both are 1.0 as probabilities, even in float64; as logits they have an order.
    assert metrics.auc([0, 1], [100.0, 101.0]) == 1.0


def test_probability_is_the_logistic_function_and_symmetric():
    z = np.array([-1000, -40, -1.5, 0, 1.5, 40, 1000])
    np.testing.assert_allclose(probability(z)[2:5], 1 / (1 + np.exp(-z[2:5])), rtol=1e-15)
    assert probability(-40.0) == pytest.approx(math.exp(-40), rel=1e-15)
    np.testing.assert_array_equal(probability(z) + probability(-z), 1.0)


def test_normalized_entropy_of_the_base_rate_is_one():
    y = np.array([1, 0, 0, 0])
    at_base_rate = np.full(4, math.log(0.25 / 0.75))
    assert metrics.normalized_entropy(y, at_base_rate) == pytest.approx(1.0, rel=1e-14)
    weight = np.array([3, 1, 0, 0])
    assert metrics.normalized_entropy(y, np.full(4, math.log(3)), weight) == pytest.approx(1.0, rel=1e-14)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert metrics.normalized_entropy(y, np.zeros(4)) == pytest.approx(math.log(2) / entropy, rel=1e-14)


def test_calibration_ratio_is_predicted_over_observed():
    assert metrics.calibration_ratio([1, 0, 0, 0], np.zeros(4)) == 2.0
    assert metrics.calibration_ratio([1, 0], np.zeros(2), [3, 1]) == pytest.approx(0.5 / 0.75)


def test_calibration_error_by_hand():
    y = np.array([0, 1, 1, 1])
    logits = np.array([-1.0, -1.0, 1.0, 1.0])  # two bins: p = .269 observed .5, p = .731 observed 1
    p = 1 / (1 + math.exp(1))
    assert metrics.calibration_error(y, logits, n_bins=2) == pytest.approx(((0.5 - p) + p) / 2)
    # all in one bin: mean predicted .5, mean observed .75
    assert metrics.calibration_error(y, logits, n_bins=1) == pytest.approx(0.25)


def test_calibration_error_of_true_probabilities_is_small_and_of_wrong_ones_is_not():
    rng = np.random.default_rng(2)
    z = rng.normal(-3, 1, 200_000)
    y = rng.random(len(z)) < probability(z)
    assert metrics.calibration_error(y, z) < 0.003
    assert metrics.calibration_error(y, z + 1) > 0.05


def test_logloss_and_friends_do_not_round_to_float32():
    z = np.float32([0.1, 0.2, 0.3])
    exact = np.mean([math.log1p(math.exp(-float(v))) for v in z])
    assert metrics.logloss([1, 1, 1], z) == pytest.approx(exact, rel=1e-15)


def test_evaluate_gives_every_metric_and_leaves_out_what_is_undefined():
    assert set(metrics.evaluate(BINARY_TASK, [0, 1], [0.1, 0.2])) == {
        "logloss",
        "auc",
        "normalized_entropy",
        "calibration_error",
        "calibration_ratio",
    }
    assert set(metrics.evaluate(BINARY_TASK, [0, 0], [0.1, 0.2])) == {"logloss", "calibration_error"}
    assert set(metrics.evaluate(BINARY_TASK, [1, 1], [0.1, 0.2])) == {
        "logloss",
        "calibration_error",
        "calibration_ratio",
    }
    assert set(metrics.evaluate(BINARY_TASK, [1, 0], [0.1, 0.2], [1, 0])) == {
        "logloss",
        "calibration_error",
        "calibration_ratio",
    }
    assert set(metrics.evaluate(REGRESSION_TASK, [1, 2], [0.1, 0.2])) == {"rmse", "mae", "r2"}
    assert set(metrics.evaluate(REGRESSION_TASK, [2, 2], [0.1, 0.2])) == {"rmse", "mae"}


def test_evaluate_agrees_with_the_single_metrics():
    rng = np.random.default_rng(3)
    y, z, w = rng.integers(0, 2, 100), rng.normal(size=100), rng.integers(0, 3, 100)
    assert metrics.evaluate(BINARY_TASK, y, z, w) == {metric.__name__: metric(y, z, w) for metric in BINARY}
    assert metrics.evaluate(REGRESSION_TASK, y, z, w) == {metric.__name__: metric(y, z, w) for metric in REGRESSION}
    assert metrics.mean_loss(BINARY_TASK, y, z, w) == metrics.logloss(y, z, w)
    assert metrics.mean_loss(REGRESSION_TASK, y, z, w) == pytest.approx(metrics.rmse(y, z, w) ** 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", BINARY + REGRESSION)
def test_a_logit_that_is_not_finite_is_an_error_that_names_the_row(metric, bad):
    with pytest.raises(DivergenceError, match=r"1 of 3 are not \(row 2"):
        metric([0, 1, 1], [0.0, bad, 1.0])


@pytest.mark.parametrize("metric", [metrics.auc, metrics.normalized_entropy])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_an_error(metric, label):
    with pytest.raises(InputError, match=f"both classes, got only_class={label}"):
        metric([label, label], [0.0, 1.0])
    with pytest.raises(InputError, match="both classes"):  # the other class has no weight
        metric([label, 1 - label], [0.0, 1.0], [1, 0])


@pytest.mark.parametrize(
    ("y", "logits", "weight", "error", "text"),
    [
        ([0, 2], [0.0, 0.0], None, InputError, "0 or 1.*row 2, value 2.0"),
        ([0, math.nan], [0.0, 0.0], None, InputError, "row 2, value nan"),
        ([0, 1], [0.0, 0.0], [1, -1], InputError, "weight must be.*row 2, value -1"),
        ([0, 1], [0.0, 0.0], [math.nan, 1], InputError, "weight must be.*row 1, value nan"),
        ([0, 1], [0.0, 0.0], [0, 0], InputError, "at least one row of positive weight.*n_rows=2"),
        ([], [], None, InputError, "n_rows=0"),
        ([0, 1], [0.0], None, SettingError, "equally long"),
        ([[0, 1]], [[0.0, 0.0]], None, SettingError, "one-dimensional"),
        ([0, 1], [0.0, 0.0], [1], SettingError, r"shape \(2,\)"),
    ],
)
def test_bad_input_is_named(y, logits, weight, error, text):
    with pytest.raises(error, match=text):
        metrics.logloss(y, logits, weight)


def test_undefined_ratios_are_errors():
    with pytest.raises(InputError, match="positive row"):
        metrics.calibration_ratio([0, 0], [0.0, 1.0])
    with pytest.raises(InputError, match="varies"):
        metrics.r2([3, 3], [0.0, 1.0])
    with pytest.raises(SettingError, match="n_bins must be an integer of at least 1, got n_bins=0"):
        metrics.calibration_error([0, 1], [0.0, 1.0], n_bins=0)


def test_the_registry_says_which_direction_is_better():
    rng = np.random.default_rng(5)
    z = rng.normal(size=2000)
    targets = {
        "binary": rng.random(2000) < probability(z),
        "regression": z + 0.1 * rng.normal(size=2000),
        "poisson": rng.poisson(np.exp(z)),
    }
    for task in TASKS.values():
        assert task.loss_metric in task.metrics
        for name in task.metrics:
            metric = metrics.METRICS[name]
            good = metric(targets[task.name], z)
            bad = metric(targets[task.name], 3 - z)
            assert metric.__name__ == name
            assert metric.greater_is_better == (None if name == "calibration_ratio" else good > bad), name
