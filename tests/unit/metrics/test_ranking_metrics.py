"""Metrics of rankings: cases worked by hand, scikit-learn's, and ties against the mean over all orders."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from anyfm.core.errors import InputError, SettingError
from anyfm.core.task import get_task
from anyfm.metrics import evaluate_groups

BINARY, REGRESSION = get_task("binary"), get_task("regression")


def of_ranking(y: list[float], k: int) -> dict[str, float]:
    """The metrics of one group by their definitions, its targets best row first."""
    n = len(y)
    discounts = [1 / np.log2(rank + 2) for rank in range(n)]
    ideal = sum(g * d for g, d in zip(sorted(y, reverse=True)[:k], discounts, strict=False))
    places = [rank for rank in range(n) if y[rank] > 0]
    return {
        f"ndcg@{k}": sum(g * d for g, d in zip(y[:k], discounts, strict=False)) / ideal,
        f"recall@{k}": sum(y[:k]) / len(places),
        f"hit_rate@{k}": float(any(y[:k])),
        "mrr": 1 / (places[0] + 1),
        "map": float(np.mean([(at + 1) / (place + 1) for at, place in enumerate(places)])),
    }


def test_cases_worked_by_hand() -> None:
    """Group a ranks its rows 0 1 0 1 0, group b 1 0."""
    y = [1, 0, 0, 0, 1, 0, 1]
    logits = [4, 5, 3, 1, 2, -1, 9]
    group = ["a", "a", "a", "a", "a", "b", "b"]
    found = evaluate_groups(BINARY, y, logits, group, k=2)
    ideal, second = 1 + 1 / np.log2(3), 1 / np.log2(3)
    assert found == pytest.approx(
        {
            "ndcg@2": (second / ideal + 1) / 2,
            "recall@2": (1 / 2 + 1) / 2,
            "hit_rate@2": 1.0,
            "mrr": (1 / 2 + 1) / 2,
            "map": ((1 / 2 + 2 / 4) / 2 + 1) / 2,
            "group_auc": (3 / 6 + 1) / 2,
            "gauc": (5 * 3 / 6 + 2 * 1) / 7,
            "n_groups": 2,
        }
    )


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("ties", [False, True])
def test_ndcg_and_auc_are_those_of_scikit_learn(k: int, ties: bool) -> None:
    random = np.random.default_rng(k)
    y, logits = (random.random((30, 12)) < 0.3).astype(float), random.normal(size=(30, 12))
    y[:, 0], y[:, 1] = 1, 0
    if ties:
        logits = logits.round()
    group = np.repeat(random.permutation(30), 12)
    shuffled = random.permutation(group.size)
    found = evaluate_groups(BINARY, y.ravel()[shuffled], logits.ravel()[shuffled], group[shuffled], k=k)
    assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score(y, logits, k=k))
    assert found["group_auc"] == pytest.approx(np.mean([roc_auc_score(*pair) for pair in zip(y, logits, strict=True)]))
    if not ties:
        expected = np.mean([average_precision_score(*pair) for pair in zip(y, logits, strict=True)])
        assert found["map"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 2, 4])
def test_ties_give_the_mean_over_all_orders(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    n = 6
    y = (random.random(n) < 0.5).astype(float)
    y[random.integers(n)] = 1
    logits = random.integers(0, 3, n).astype(float)
    orders = [p for p in permutations(range(n)) if all(logits[a] >= logits[b] for a, b in pairwise(p))]
    rankings = [of_ranking(y[list(order)].tolist(), k) for order in orders]
    found = evaluate_groups(BINARY, y, logits, np.zeros(n), k=k)
    for name in rankings[0]:
        assert found[name] == pytest.approx(np.mean([ranking[name] for ranking in rankings])), name


def test_one_score_for_all_is_chance_wherever_the_positive_row_stands() -> None:
    """The protocol of 1 positive and 99 negative rows, the positive one first in the table."""
    y = np.tile(np.eye(100)[0], 5)
    found = evaluate_groups(BINARY, y, np.zeros(500), np.repeat(np.arange(5), 100))
    assert found["hit_rate@10"] == pytest.approx(0.1)
    assert found["group_auc"] == 0.5


def test_weights() -> None:
    y, logits, group = [1, 0, 0, 1, 0], [1, 2, 3, 1, 0], [0, 0, 0, 1, 1]
    absent = evaluate_groups(BINARY, y, logits, group, [1, 1, 0, 1, 1])
    assert absent == pytest.approx(evaluate_groups(BINARY, [1, 0, 1, 0], [1, 2, 1, 0], [0, 0, 1, 1]))
    heavy = evaluate_groups(BINARY, y, logits, group, [1, 1, 1, 3, 3])
    assert heavy["gauc"] == pytest.approx((3 * 0 + 6 * 1) / 9)


def test_groups_that_do_not_define_a_metric_are_left_out() -> None:
    found = evaluate_groups(BINARY, [1, 0, 0, 0, 1], [2, 1, 5, 6, 0], [0, 0, 1, 1, 2])
    assert found["mrr"] == 1.0
    assert found["group_auc"] == 1.0
    assert found["n_groups"] == 3
    assert set(evaluate_groups(BINARY, [0, 0], [1, 2], [0, 0])) == {"n_groups"}


def test_a_regression_has_ndcg_alone() -> None:
    y, logits = [3.0, 2.0, 0.5, 1.0], [1.0, 2.0, 3.0, -1.0]
    found = evaluate_groups(REGRESSION, y, logits, [0, 0, 0, 0], k=3)
    assert found == pytest.approx({"ndcg@3": ndcg_score([y], [logits], k=3), "n_groups": 1})
    assert set(evaluate_groups(REGRESSION, [-1.0, 2.0], [1.0, 2.0], [0, 0])) == {"n_groups"}


def test_groups_of_any_kind() -> None:
    y, logits = [1, 0, 1, 0], [1, 2, 3, 0]
    expected = evaluate_groups(BINARY, y, logits, [0, 0, 1, 1])
    for group in (["u", "u", "v", "v"], [None, None, "v", "v"], [2**53, 2**53, 2**53 + 1, 2**53 + 1]):
        assert evaluate_groups(BINARY, y, logits, np.array(group)) == expected


def test_refusals() -> None:
    with pytest.raises(SettingError, match=r"k must be .* k=0"):
        evaluate_groups(BINARY, [1], [1], [0], k=0)
    with pytest.raises(SettingError, match="one value per row"):
        evaluate_groups(BINARY, [1, 0], [1, 0], [0])
    with pytest.raises(InputError, match="0 or 1"):
        evaluate_groups(BINARY, [2, 0], [1, 0], [0, 0])
