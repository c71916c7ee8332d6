"""Tasks: the loss, its derivative and its link agree, in numpy and in torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.core.task import TASKS, get_task

LOGITS = np.array([-30.0, -2.0, -0.5, 0.25, 1.0, 3.0, 30.0])
TARGETS = {
    "binary": np.array([0.0, 1, 0, 1, 1, 0, 1]),
    "regression": np.array([-20.0, 1.5, 0, 0.2, 7, -3, 31]),
    "poisson": np.array([0.0, 1, 0, 2, 1, 7, 3e12]),
}
tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@tasks
def test_the_gradient_is_the_derivative_of_the_loss(task):
    y, step = TARGETS[task.name], 1e-6
    slope = (task.loss(LOGITS + step, y) - task.loss(LOGITS - step, y)) / (2 * step)
    np.testing.assert_allclose(task.gradient(LOGITS, y, None), slope, rtol=1e-5, atol=1e-8)


@tasks
def test_predictions_minimize_the_mean_loss(task):
    """The mean of the targets is predicted by the base logit, and no other logit costs less."""
    y, weight = TARGETS[task.name], np.array([1.0, 2, 0, 3, 1, 1, 2])
    base = task.statistics(y, weight).base_logit
    assert task.predictions(np.array([base]))[0] == pytest.approx(np.average(y, weights=weight))
    cost = [np.average(task.loss(np.full(7, base + change), y), weights=weight) for change in (-0.1, 0, 0.1)]
    assert cost[1] == min(cost)


@tasks
def test_torch_tensors_give_the_same_numbers(task):
    torch = pytest.importorskip("torch")
    y = TARGETS[task.name]
    z, y_tensor = torch.tensor(LOGITS), torch.tensor(y)
    np.testing.assert_allclose(task.loss(z, y_tensor), task.loss(LOGITS, y), rtol=1e-12)
    np.testing.assert_allclose(task.reported_loss(z, y_tensor), task.reported_loss(LOGITS, y), rtol=1e-12)
    for clip in (None, (-1.0, 2.0)):
        np.testing.assert_allclose(task.gradient(z, y_tensor, clip), task.gradient(LOGITS, y, clip), rtol=1e-12)
    np.testing.assert_allclose(task.predictions(z), task.predictions(LOGITS), rtol=1e-12)


def test_logistic_loss_keeps_its_digits_and_does_not_overflow():
    binary = get_task("binary")
    loss = binary.loss(np.array([40.0, -40.0, 1000.0, -1000.0]), np.array([1.0, 0, 0, 1]))
    np.testing.assert_allclose(loss, [math.exp(-40), math.exp(-40), 1000, 1000], rtol=1e-14)
    np.testing.assert_array_equal(binary.predictions(np.array([-1000.0, 0, 1000])), [0, 0.5, 1])


def test_binary_statistics_stay_finite_for_one_class():
    for y in (np.zeros(3), np.ones(3)):
        assert math.isfinite(get_task("binary").statistics(y, np.ones(3)).base_logit)


def test_regression_scales_the_target_by_its_deviation_and_clips_within_a_margin_of_its_range():
    regression = get_task("regression")
    statistics = regression.statistics(np.array([10.0, 10, 16]), np.array([1.0, 1, 2]))
    assert (statistics.base_logit, statistics.offset, statistics.scale) == (13, 13, 3)
    assert statistics.clip == (7, 19)
    assert regression.statistics(np.full(3, 5.0), np.ones(3)).scale == 5  # no deviation
    assert regression.statistics(np.zeros(3), np.ones(3)).scale == 1
    assert regression.gradient(np.array([1e6]), np.array([2.0]), (-4.0, 6.0))[0] == 4
    np.testing.assert_array_equal(regression.reported_loss(np.array([3.0]), np.array([1.0])), [4])
    assert regression.dispersion(0.5) == 1
    assert get_task("binary").dispersion(0.5) == 1


def test_targets_are_checked_where_they_count():
    present = np.array([True, True, False])
    get_task("binary").check_target(np.array([0, 1, np.nan]), present)
    get_task("regression").check_target(np.array([0.5, -3, np.inf]), present)
    with pytest.raises(InputError, match=r"must be 0 or 1.*row 2, value 2\.0"):
        get_task("binary").check_target(np.array([0, 2.0, 1]), present)
    with pytest.raises(InputError, match=r"finite number.*row 1, value nan"):
        get_task("regression").check_target(np.array([np.nan, 2.0, 1]), present)
    with pytest.raises(InputError, match=r"at least 0.*row 2, value -1\.0"):
        get_task("poisson").check_target(np.array([0, -1.0, 1]), present)
    with pytest.raises(SettingError, match="task must be one of binary, regression, poisson, got task='ranking'"):
        get_task("ranking")
