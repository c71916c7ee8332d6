from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.core.errors import InputError, SettingError
from anyfm.training.split import split_by, split_fraction, split_last_of_groups

FRACTIONS = st.floats(0.01, 0.99)


def assert_partition(split, n_rows):
    training, validation = split
    assert training.dtype == validation.dtype == np.int64
    assert len(training) > 0
    assert len(validation) > 0
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(n_rows))
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()


@given(st.integers(2, 200), FRACTIONS, st.integers(0, 5))
def test_a_fraction_divides_all_rows(n_rows, fraction, seed):
    split = split_fraction(n_rows, fraction, seed=seed)
    assert_partition(split, n_rows)
    assert abs(len(split[1]) - n_rows * fraction) <= 1
    np.testing.assert_array_equal(split[1], split_fraction(n_rows, fraction, seed=seed)[1])


def test_another_seed_is_another_split():
    assert not np.array_equal(split_fraction(100, 0.3, seed=0)[1], split_fraction(100, 0.3, seed=1)[1])


def test_stratified_split_keeps_the_fraction_of_each_class():
    classes = np.array([1] * 20 + [0] * 980)
    training, validation = split_fraction(1000, 0.1, seed=0, stratify=classes)
    assert_partition((training, validation), 1000)
    assert classes[validation].sum() == 2
    assert len(validation) == 100


def test_stratified_split_keeps_a_class_of_one_row_in_training():
    _, validation = split_fraction(5, 0.4, seed=0, stratify=["a", "a", "a", "a", "b"])
    assert 4 not in validation
    with pytest.raises(InputError, match="at least two rows"):
        split_fraction(2, 0.5, seed=0, stratify=["a", "b"])


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda v: len(set(v)) > 1), FRACTIONS)
def test_split_by_puts_later_values_into_validation_and_is_nearest(values, fraction):
    values = np.array(values)
    training, validation = split_by(values, fraction)
    assert_partition((training, validation), len(values))
    assert values[training].max() < values[validation].min()
    wanted = min(max(round(len(values) * fraction), 1), len(values) - 1)
    possible = [(values >= value).sum() for value in np.unique(values)[1:]]
    assert abs(len(validation) - wanted) == min(abs(size - wanted) for size in possible)


def test_split_by_takes_dates_and_texts():
    days = np.array(["2024-01-02", "2024-01-03", "2024-01-01", "2024-01-04"], "datetime64[D]")
    np.testing.assert_array_equal(split_by(days, 0.25)[1], [3])
    np.testing.assert_array_equal(split_by(np.array(["b", "c", "a", "d"], object), 0.5)[1], [1, 3])


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan, 2.0]),
        np.array(["2024-01-01", "NaT", "2024-01-02"], "datetime64[D]"),
        np.array(["a", None, "b"], object),
        np.array(["a", float("nan"), "b"], object),
    ],
)
def test_missing_values_are_refused_by_row(values):
    with pytest.raises(InputError, match=r"missing values \(row 2\)"):
        split_by(values, 0.5)


def test_what_cannot_be_split():
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(SettingError, match="above 0 and below 1"):
            split_fraction(10, fraction, seed=0)
    with pytest.raises(InputError, match="at least two rows, got n_rows=1"):
        split_fraction(1, 0.5, seed=0)
    with pytest.raises(InputError, match="two different values"):
        split_by(np.array([3, 3, 3]), 0.5)
    with pytest.raises(SettingError, match=r"shape \(3,\)"):
        split_fraction(3, 0.5, seed=0, stratify=[1, 0])


def test_the_last_row_of_each_group_is_held_out():
    users = ["a", "b", "a", "c", "b", "a"]
    times = [3, 5, 9, 1, 5, 2]
    training, validation = split_last_of_groups(users, times)
    assert_partition((training, validation), 6)
    assert validation.tolist() == [2, 4]  # of b's equal times the later row; c has one row only


def test_groups_and_times_may_be_of_any_kind():
    expected = split_last_of_groups([1, 1, 2, 2], [1, 2, 2, 1])
    times = np.array(["2020-01-01", "2021-05-01", "2021-05-01", "2020-01-01"])
    for groups in (["x", "x", "y", "y"], np.array(["x", "x", "y", "y"], object), [2**53, 2**53, 2**53 + 1, 2**53 + 1]):
        for order in (times, times.astype("datetime64[D]"), times.astype(object)):
            np.testing.assert_array_equal(split_last_of_groups(groups, order)[1], expected[1])


@pytest.mark.parametrize(
    ("groups", "times", "text"),
    [
        ([1.0, np.nan], [1, 2], "row 2"),
        ([1, 1], np.array([None, 1], object), "row 1"),
        ([1, 2], [1, 2], "a group of two rows"),
    ],
)
def test_the_last_row_needs_groups_and_times(groups, times, text):
    with pytest.raises(InputError, match=text):
        split_last_of_groups(groups, times)
