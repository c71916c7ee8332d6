"""Targets: the inferred task, the positive class, and errors that name the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import InputError
from anyfm.data.target import encode_target, encode_weight, infer_target


def series(values: Any) -> pl.Series:
    return pl.Series("y", values)


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["<=50K", ">50K"], ">50K"),
        (["yes", "no"], "yes"),
        (["no", "Yes"], "Yes"),
        ([True, False], "true"),
        ([0, 1], "1"),
        ([1, 0], "1"),
        ([-1, 1], "1"),
        ([1.0, 0.0], "1"),
        ([2, 10], "10"),
        (["2", "10"], "10"),
        (["N", "Y"], "Y"),
        (["click", "skip"], "click"),
        (["bad", "good"], "good"),
    ],
)
def test_two_values_are_binary_and_one_is_positive(values: Any, positive: str):
    target = infer_target(series(values * 3))
    assert (target.task, target.positive) == ("binary", positive)
    assert target.classes is not None
    assert target.classes[1] == positive
    assert repr(positive) in target.reason
    encoded = encode_target(series(values), target)
    assert encoded.dtype == np.float32
    assert sorted(encoded.tolist()) == [0, 1]


def test_the_positive_class_can_be_given():
    target = infer_target(series(["yes", "no", "no"]), positive="no")
    assert encode_target(series(["yes", "no"]), target).tolist() == [0, 1]
    assert infer_target(series([1, 2, 2]), positive=1).positive == "1"
    with pytest.raises(InputError, match=r"positive class must be one of 'no' and 'yes' \(column 'y', value 'maybe'\)"):
        infer_target(series(["yes", "no"]), positive="maybe")


def test_many_numbers_are_regression():
    for values in ([1, 2, 3], [0.5, 1.5, 2.5], ["1", "2.5", "3"]):
        target = infer_target(series(values))
        assert target.task == "regression"
        np.testing.assert_allclose(encode_target(series(values), target), [float(v) for v in values])


def test_two_numbers_may_be_regression():
    assert infer_target(series([1.0, 4.5]), task="regression").task == "regression"


@pytest.mark.parametrize("values", [["0", "1"], [0.0, 1.0], [False, True], ["0.0", "1.0"], ["false", "True"], [0, 1]])
def test_column_types_may_differ_from_training(values: Any):
    target = infer_target(series([0, 1]))
    assert encode_target(series(values), target).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([1, 1, 1], "auto", r"at least two distinct values, but every row has the same \(column 'y', value '1'\)"),
        (["a", "a"], "binary", "at least two distinct values"),
        ([0, 1, None], "auto", r"must not be missing, but it is in 1 of 3 rows; the first \(row 3, column 'y'"),
        ([0.0, float("nan"), 1.0], "auto", r"must not be missing.*row 2"),
        (["a", "b", "?"], "auto", r"must not be missing.*row 3, column 'y', value '\?'"),
        (
            ["a", "b", "c"],
            "auto",
            r"but it has 3: 'a', 'b', 'c'; the third first occurs \(row 3.*value 'c'",
        ),
        ([0, 1, 0, 2], "binary", r"two values, but it has 3.*row 4, column 'y', value 2\).*task = \"regression\""),
        (["a", "b"], "regression", r"must be a number \(row 1, column 'y', value 'a'\)"),
        ([1.0, 2.0, float("inf")], "auto", r"finite number of at most 3\.4e38 \(row 3, column 'y', value inf\)"),
        ([1.0, 2.0, 1e300], "auto", r"finite number.*row 3"),
        ([], "auto", "at least one row"),
        ([[1], [2]], "auto", "holds lists"),
    ],
)
def test_unusable_targets_name_the_place(values: Any, task: str, message: str):
    with pytest.raises(InputError, match=message):
        infer_target(series(values), task=task)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["yes", "no", "maybe"], r"must be 'no' or 'yes', as in training \(row 3, column 'y', value 'maybe'\)"),
        (["yes", None], "must not be missing.*row 2"),
        ([1, 0], r"must be 'no' or 'yes'.*row 1, column 'y', value 1"),
    ],
)
def test_later_targets_must_have_the_classes_of_training(values: Any, message: str):
    target = infer_target(series(["yes", "no"]))
    with pytest.raises(InputError, match=message):
        encode_target(series(values), target)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -1.0], r"finite number from 0 to 1,000,000,000,000 \(row 2, column 'y', value -1\.0\)"),
        ([1.0, None], r"row 2, column 'y', value 'missing'"),
        ([float("inf"), 1.0], "row 1"),
        (["1", "heavy"], r"row 2, column 'y', value 'heavy'"),
        ([0, 0], "must not all be 0"),
    ],
)
def test_unusable_weights_name_the_place(values: Any, message: str):
    with pytest.raises(InputError, match=message):
        encode_weight(series(values))


def test_weights_may_be_text():
    assert encode_weight(series(["1", "2.5"])).tolist() == [1, 2.5]
