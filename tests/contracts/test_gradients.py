"""The kernels' gradients against finite differences of the specification.

A step without penalty moves a parameter by −η g / √(a + g²), so g is read back from the step itself; Adam's first step
leaves a tenth of the gradient of the mean loss as its first moment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anyfm.engines.attention import NAMES as NETWORK
from anyfm.engines.native import NativeEngine
from anyfm.models import (
    AFM,
    FFM,
    FM,
    AFMConfig,
    FFMConfig,
    FMConfig,
    Linear,
    LinearConfig,
    Model,
    specification_logits,
)
from anyfm.rows import Rows

from .cases import KINDS, N_FEATURES, N_FIELDS, rows


def free_of_penalty(task: str) -> dict[str, Model]:
    common = {"task": task, "l2_linear": 0.0}
    return {
        "linear": Linear(LinearConfig(**common)),
        "linear-normalized": Linear(LinearConfig(**common, normalize=True)),
        **{f"fm-{k}": FM(FMConfig(**common, n_factors=k, l2_factors=0.0, init=20)) for k in (1, 4, 8, 19, 70)},
        "fm-normalized": FM(FMConfig(**common, n_factors=5, l2_factors=0.0, init=5, normalize=True)),
        **{f"afm-{k}-{t}": attentional(task, k, t) for k, t in ((1, 1), (8, 17), (16, 16), (21, 4))},
        "afm-normalized": attentional(task, 5, 3, normalize=True),
    }


def attentional(task: str, n_factors: int, attention_factors: int, *, normalize: bool = False) -> Model:
    sizes = {"n_factors": n_factors, "attention_factors": attention_factors}
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "dropout": 0.0, "init": 2}  # so large that attention is uneven
    return AFM(AFMConfig(task=task, normalize=normalize, **sizes, **free))


def standardised(data: Rows) -> Rows:
    """The engine divides a regression target by its weighted deviation; with deviation 1 that changes nothing."""
    assert data.y is not None
    mean = np.average(data.y, weights=data.weight)
    deviation = np.sqrt(np.average((data.y - mean) ** 2, weights=data.weight))
    return data.labelled(((data.y - mean) / deviation).astype(np.float32), data.weight)


def loss(model: Model, parameters: dict[str, np.ndarray], row: Rows) -> float:
    z = float(specification_logits(model, parameters, row)[0])
    assert row.y is not None
    y = float(row.y[0])
    value = np.logaddexp(0, z) - y * z if model.config.task == "binary" else (z - y) ** 2 / 2
    return float(value) * (1.0 if row.weight is None else float(row.weight[0]))


def finite_differences(
    model: Model, parameters: dict[str, np.ndarray], row: Rows, name: str, *, h: float = 1e-5
) -> np.ndarray:
    exact = {key: array.astype(np.float64) for key, array in parameters.items()}
    gradient = np.zeros(exact[name].shape)
    touched = np.unique(row.ids)
    per_feature = model.parameter_specs(N_FEATURES, N_FIELDS)[name].per_feature
    for index in np.ndindex(gradient.shape):
        if per_feature and index[0] not in touched:
            continue
        kept = exact[name][index]
        exact[name][index] = kept + h
        above = loss(model, exact, row)
        exact[name][index] = kept - h
        gradient[index] = (above - loss(model, exact, row)) / (2 * h)
        exact[name][index] = kept
    return gradient


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "shared"])
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", list(free_of_penalty("binary")))
def test_gradients_agree_with_finite_differences(name: str, task: str, kind: str) -> None:
    model = free_of_penalty(task)[name]
    data = rows(kind, 12, task=task, weighted=True)
    if task == "regression":
        data = standardised(data)
    wide = {"binary": None, "regression": (-1e9, 1e9)}
    checked = 0
    for i in range(data.n_rows):
        row = data.slice(i, i + 1)
        ids = row.ids.reshape(-1)
        assert row.weight is not None
        if row.weight[0] == 0 or len(np.unique(ids)) < len(ids):
            continue
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None  # a wide target range and no crowding: the bare gradient
        engine._recipe = replace(engine._recipe, target_range=wide[task], total_weight=1e9)
        before, accumulators = engine.parameters(), engine._column("accumulators").copy()
        engine.step(data, np.array([i]))
        after, grown = engine.parameters(), engine._column("accumulators")
        rate = engine._recipe.step_size(model.config.learning_rate)
        for position, part in enumerate(name for name in before if name not in ("bias", *NETWORK)):
            by = rate / np.sqrt(grown[:, position : position + 1])
            gradient = ((before[part] - after[part]).reshape(N_FEATURES, -1) / by).reshape(before[part].shape)
            expected = finite_differences(model, before, row, part)
            tolerance = 2e-3 * np.abs(expected).max() + 2e-5
            np.testing.assert_allclose(gradient, expected, atol=tolerance)
            squares = (expected.reshape(N_FEATURES, -1) ** 2).mean(axis=1)
            np.testing.assert_allclose(grown[:, position] - accumulators[:, position], squares, rtol=2e-2, atol=1e-4)
        checked += 1
    assert checked > 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("sizes", [(1, 1), (4, 3), (8, 17), (16, 16)])
def test_gradients_of_the_attention_network(sizes: tuple[int, int], task: str, kind: str) -> None:
    model, data = attentional(task, *sizes), rows(kind, 8, task=task, weighted=True)
    if task == "regression":
        data = standardised(data)
    checked = 0
    for i in range(data.n_rows):
        row = data.slice(i, i + 1)
        assert row.weight is not None
        if row.weight[0] == 0:
            continue
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None
        if task == "regression":
            engine._recipe = replace(engine._recipe, target_range=(-1e9, 1e9))
        before = engine.parameters()
        engine.step(data, np.array([i]))
        state, first = engine.state()["dense"], 0
        # Terms g a q of the pairs cancel in the sums by hidden neuron: float32 is good to some 1e-6 of them.
        terms = np.abs(finite_differences(model, before, row, "projection")) @ np.abs(before["projection"])
        rounding = 2e-5 * terms * np.abs(before["attention_output"]).max() + 1e-6
        for name in NETWORK:
            size = before[name].size
            gradient = state[1, first : first + size].reshape(before[name].shape) / (1 - 0.9) * row.weight[0]
            expected = finite_differences(model, before, row, name, h=1e-6)
            np.testing.assert_allclose(gradient, expected, atol=1e-3 * np.abs(expected).max() + rounding)
            first += size
            checked += bool(np.abs(expected).max() > 1e-4)
    assert checked > 6


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "shared"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n_factors", [1, 4, 5, 8])
@pytest.mark.parametrize("rule", ["vector", "libffm"])
def test_gradients_of_field_factors(rule: str, n_factors: int, normalize: bool, kind: str) -> None:
    """A step d = η g / √(a + s), where s is g² or, for one accumulator a vector, its mean, gives g back."""
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "init": 1}  # small gradients, so that the step tells them well
    model = FFM(FFMConfig(n_factors=n_factors, normalize=normalize, adagrad=rule, **free))
    data, start = rows(kind, 12, weighted=True), 1.0 if rule == "libffm" else 0.1
    checked = 0
    for i in range(data.n_rows):
        row = data.slice(i, i + 1)
        assert row.weight is not None
        if row.weight[0] == 0 or len(np.unique(row.ids)) < row.ids.size:
            continue
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None
        engine._recipe = replace(engine._recipe, total_weight=1e9)
        before = engine.parameters()
        engine.step(data, np.array([i]))
        moved = before["field_factors"].astype(np.float64) - engine.parameters()["field_factors"]
        rate = engine._recipe.step_size(model.config.learning_rate)
        squares = moved**2 if rule == "libffm" else (moved**2).mean(axis=2, keepdims=True)
        gradient = moved * np.sqrt(start / (rate**2 - squares))
        expected = finite_differences(model, before, row, "field_factors")
        largest = np.abs(expected).max()
        amplified = 8e-4 * (1 + largest**2 / start)  # steps are good to 7e-4; g is read back from them
        np.testing.assert_allclose(gradient, expected, atol=max(5e-3, amplified) * largest + 2e-5)
        checked += bool(np.abs(expected).max() > 1e-3)
    assert checked > 3
