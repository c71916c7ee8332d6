"""The generated effects have the stated size, and there are no others."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from anyfm.core.errors import SettingError
from anyfm.datasets.synthetic import GENERATORS, MAIN_STRENGTHS, PAIR_STRENGTHS, ad_clicks, criteo_like


def one_hot(column):
    values, index = np.unique(np.asarray(column), return_inverse=True)
    matrix = np.zeros((len(index), len(values)))
    matrix[np.arange(len(index)), index] = 1.0
    return matrix


@pytest.mark.parametrize("kind", sorted(GENERATORS))
def test_the_same_seed_gives_the_same_table_and_another_seed_another(kind):
    first, again, other = (GENERATORS[kind](500, seed=seed) for seed in (3, 3, 4))
    assert first.truth == again.truth
    assert all(list(first.columns[name]) == list(again.columns[name]) for name in first.columns)
    assert any(list(first.columns[name]) != list(other.columns[name]) for name in first.columns)


@pytest.mark.parametrize("kind", sorted(GENERATORS))
@pytest.mark.parametrize("n_rows", [1, 17])
def test_every_column_has_all_rows_and_the_truth_is_json(kind, n_rows):
    table = GENERATORS[kind](n_rows)
    assert {len(column) for column in table.columns.values()} == {n_rows}
    assert json.loads(json.dumps(table.truth, allow_nan=False)) == table.truth


@pytest.mark.parametrize("kind", sorted(GENERATORS))
@pytest.mark.parametrize(("arguments", "rule"), [((0,), "n_rows"), ((2.5,), "n_rows"), ((True,), "n_rows")])
def test_a_bad_number_of_rows_is_refused(kind, arguments, rule):
    with pytest.raises(SettingError, match=f"{rule} must be an integer of at least 1, got {rule}="):
        GENERATORS[kind](*arguments)


def test_a_negative_seed_is_refused():
    with pytest.raises(SettingError, match="seed must be"):
        ad_clicks(5, seed=-1)


def test_stated_strengths_are_the_constants():
    truth = ad_clicks(100_000, seed=1).truth
    stated = {tuple(pair["fields"]): pair["strength"] for pair in truth["pairs"]}
    assert len(stated) == 8 * 7 // 2
    assert [pair["strength"] for pair in truth["pairs"]] == sorted(stated.values(), reverse=True)
    for pair, strength in stated.items():
        assert strength == pytest.approx(PAIR_STRENGTHS.get(pair, 0.0), rel=0.05)
    assert truth["fields"] == {name: pytest.approx(MAIN_STRENGTHS[name], rel=0.05) for name in MAIN_STRENGTHS}
    assert stated["gender", "ad_category"] == max(stated.values())
    assert stated["gender", "ad_size"] == 0


def test_clicks_depend_on_the_strong_pair_and_not_on_a_pair_without_effect():
    """Chi-square of the clicks against a table of two fields, beyond the main effects of both fields."""
    columns = ad_clicks(200_000, seed=2).columns
    click = np.asarray(columns["click"], float)

    def excess(first, second):
        a, b = one_hot(columns[first]), one_hot(columns[second])
        counts = a.T @ b
        residual = (a * (click - click.mean())[:, None]).T @ b / counts
        # the fields are drawn independently, so that centring by counts removes the main effects
        residual -= (residual * counts).sum(1, keepdims=True) / counts.sum(1, keepdims=True)
        residual -= (residual * counts).sum(0, keepdims=True) / counts.sum(0, keepdims=True)
        degrees = (counts.shape[0] - 1) * (counts.shape[1] - 1)
        return float((counts * residual**2).sum() / click.var()), degrees

    strong, _ = excess("gender", "ad_category")
    none, degrees = excess("gender", "ad_size")
    assert strong > 5_000
    assert none < degrees + 6 * np.sqrt(2 * degrees)  # six standard deviations of chi-square


def test_best_logloss_is_that_of_the_true_probabilities():
    """The true probabilities are much better than a constant."""
    table = ad_clicks(50_000)
    rate = table.truth["click_rate"]
    constant = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert np.mean(np.asarray(table.columns["click"])) == pytest.approx(rate)
    assert 0.3 < table.truth["best_logloss"] < constant - 0.1


def test_criteo_has_the_documented_shape():
    table = criteo_like(20_000)
    assert list(table.columns) == ["click", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    for name in ("C1", "C3", "C20"):
        present = [value for value in table.columns[name] if value is not None]
        assert all(isinstance(value, str) and len(value) == 8 for value in present)
    missing = np.mean([value is None for value in table.columns["I1"]])
    assert missing == pytest.approx(0.45, abs=0.02)
    counts = np.unique(np.asarray(table.columns["C1"]), return_counts=True)[1]
    assert counts.max() > 50 * np.median(counts)  # a long tail
    distinct = sum(len({value for value in column if value is not None}) for column in table.columns.values())
    assert distinct == table.truth["distinct_values"] + 2  # and the two clicks


@pytest.mark.slow
def test_many_criteo_rows_have_many_values_and_are_generated_fast():
    start = time.perf_counter()
    truth = criteo_like(250_000).truth
    assert truth["distinct_values"] > 500_000
    assert time.perf_counter() - start < 30
