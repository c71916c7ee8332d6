"""The native kernels' gradients against finite differences of the specification.

A step without penalty moves a parameter by −η g / √(a + g²), so g is read back from the step itself; Adam's first step
leaves a tenth of the gradient of the mean loss as its first moment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anyfm.engines.attention import NAMES as NETWORK
from anyfm.engines.attention import AttentionNetwork

from anyfm.core.rows import Rows
from anyfm.engines.native import NativeEngine
from anyfm.models import (
    AFM,
    FFM,
    FM,
    AFMSettings,
    BaseModel,
    DeepFM,
    DeepFMSettings,
    FFMSettings,
    FMSettings,
    Linear,
    LinearSettings,
    specification_logits,
)

from tests.contracts.cases import finite_differences
from tests.contracts.pairwise import pairwise
from tests.random_rows import KINDS, N_FEATURES, N_FIELDS, random_rows


N_ROWS = 16  # to choose from


def usable(data: Rows, n_rows: int = 4) -> list[int]:
    """Rows of at least two entries and with a weight, in which no feature is twice (it would take two steps)."""
    assert data.weight is not None
    ids = [data.slice(i, i + 1).ids.reshape(-1) for i in range(data.n_rows)]
    found = [i for i in range(data.n_rows) if data.weight[i] > 0 and 2 <= len(np.unique(ids[i])) == ids[i].size]
    assert len(found) >= n_rows
    return found[:n_rows]


def free_of_penalty(task: str) -> dict[str, BaseModel]:
    common = {"task": task, "l2_linear": 0.0}
    return {
        "linear": Linear(LinearSettings(**common)),
        "linear-normalized": Linear(LinearSettings(**common, normalize=True)),
        **{f"fm-{k}": FM(FMSettings(**common, n_factors=k, l2_factors=0.0, init_scale=20)) for k in (1, 4, 8, 19, 70)},
        "fm-normalized": FM(FMSettings(**common, n_factors=5, l2_factors=0.0, init_scale=5, normalize=True)),
    }


def standardised(data: Rows) -> Rows:
    """The engine divides a regression target by its weighted deviation; with deviation 1 that changes nothing."""
    assert data.y is not None
    mean = np.average(data.y, weights=data.weight)
    deviation = np.sqrt(np.average((data.y - mean) ** 2, weights=data.weight))
    return data.labelled(((data.y - mean) / deviation).astype(np.float32), data.weight)


def hold_steps(
    engine: NativeEngine,
    before: dict[str, np.ndarray],
    accumulators: np.ndarray,
    expected: dict[str, np.ndarray],
) -> None:
    """Hold one step from `before` against gradients per feature, which stand in the order of the accumulators.

    They are read back from the step; and the accumulators have grown by their mean squares.
    """
    assert engine._recipe is not None
    after, grown = engine.parameters(), engine._column("accumulators")
    rate = engine._recipe.step_size(engine.model.settings.learning_rate)
    for position, (name, exact) in enumerate(expected.items()):
        by = rate / np.sqrt(grown[:, position : position + 1])
        gradient = ((before[name] - after[name]).reshape(len(grown), -1) / by).reshape(before[name].shape)
        np.testing.assert_allclose(gradient, exact, atol=2e-3 * np.abs(exact).max() + 2e-5, err_msg=name)
        squares = (exact.reshape(len(grown), -1) ** 2).mean(axis=1)
        np.testing.assert_allclose(grown[:, position] - accumulators[:, position], squares, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "task", "kind"), pairwise(list(free_of_penalty("binary")), ("binary", "regression"), KINDS)
)
def test_gradients_agree_with_finite_differences(name: str, task: str, kind: str) -> None:
    model = free_of_penalty(task)[name]
    data = random_rows(kind, N_ROWS, task=task, weighted=True)
    if task == "regression":
        data = standardised(data)
    wide = {"binary": None, "regression": (-1e9, 1e9)}
    for i in usable(data):
        row = data.slice(i, i + 1)
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None  # a wide target range and no crowding: the bare gradient
        engine._recipe = replace(engine._recipe, target_range=wide[task], total_weight=1e9)
        before, accumulators = engine.parameters(), engine._column("accumulators").copy()
        engine.step(data, np.array([i]))
        parts = [part for part in before if part != "bias"]
        hold_steps(engine, before, accumulators, {p: finite_differences(model, before, row, p) for p in parts})


@pytest.mark.parametrize(
    ("rule", "n_factors", "normalize", "kind"),
    pairwise(("adagrad", "libffm"), (1, 4, 5, 8), (False, True), KINDS),
)
def test_gradients_of_field_factors(rule: str, n_factors: int, normalize: bool, kind: str) -> None:
    """A step d = η g / √(a + s), where s is g² or, for one accumulator a vector, its mean, gives g back."""
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "init_scale": 1}  # small gradients, so that the step tells them well
    model = FFM(FFMSettings(n_factors=n_factors, normalize=normalize, optimizer=rule, **free))
    data, start = random_rows(kind, N_ROWS, weighted=True), 1.0 if rule == "libffm" else 0.1
    checked = 0
    for i in usable(data):
        row = data.slice(i, i + 1)
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None
        engine._recipe = replace(engine._recipe, total_weight=1e9)
        before = engine.parameters()
        engine.step(data, np.array([i]))
        moved = before["field_factors"].astype(np.float64) - engine.parameters()["field_factors"]
        rate = engine._recipe.step_size(model.settings.learning_rate)
        squares = moved**2 if rule == "libffm" else (moved**2).mean(axis=2, keepdims=True)
        gradient = moved * np.sqrt(start / (rate**2 - squares))
        expected = finite_differences(model, before, row, "field_factors")
        largest = np.abs(expected).max()
        amplified = 8e-4 * (1 + largest**2 / start)  # steps are good to 7e-4; g is read back from them
        np.testing.assert_allclose(gradient, expected, atol=max(5e-3, amplified) * largest + 2e-5)
        checked += bool(np.abs(expected).max() > 1e-3)
    assert checked >= 3


def attentive(n_factors: int, attention_factors: int, **settings: object) -> AFM:
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "l2_attention": 0.0, "dropout": 0.0}
    return AFM(AFMSettings(n_factors=n_factors, attention_factors=attention_factors, **(free | settings)))


def check_attention(model: AFM, data: Rows, i: int, *, n_features: int, n_fields: int, seed: int) -> int:
    """Hold all gradients of row i, taken from one step, against the specification. How many factors were dropped.

    Adam's first moment is a tenth of the gradient after one step. A factor without a gradient in the projection was
    dropped; the row then has the gradients of a machine whose projection is 0 there and over 1 − dropout elsewhere.
    """
    row = data.slice(i, i + 1)
    assert row.weight is not None
    wide = None if model.settings.task == "binary" else (-1e9, 1e9)
    engine = NativeEngine(model, n_features=n_features, n_fields=n_fields, n_threads=2)
    engine.prepare(data, seed=seed)
    assert engine._recipe is not None
    assert isinstance(engine._network, AttentionNetwork)
    engine._recipe = replace(engine._recipe, target_range=wide, total_weight=1e9)
    rng = np.random.default_rng([seed, i])
    shapes = {name: spec.shape for name, spec in model.parameter_specs(n_features, n_fields).items()}
    drawn = {name: rng.normal(0, 1, shapes[name]).astype(np.float32) for name in NETWORK}
    drawn["attention_bias"] *= 0.3  # so that some neurons are on for some pairs and off for others
    drawn["projection"] *= 0.3  # so that no logit is so large that its loss has no slope in float32
    engine._network.write(drawn)
    engine._column("factors")[:] = rng.normal(0, 0.7, (n_features, model.settings.n_factors))
    before, accumulators = engine.parameters(), engine._column("accumulators").copy()
    engine.step(data, np.array([i]))
    sizes = np.cumsum([drawn[name].size for name in NETWORK])
    flat = np.split(engine._native.dense[1] / 0.1, sizes[:-1])
    dense = {name: part.reshape(shapes[name]) for name, part in zip(NETWORK, flat, strict=True)}
    dropped = (dense["projection"] == 0) & (model.settings.dropout > 0)
    kept = np.where(dropped, 0, 1 / (1 - model.settings.dropout))
    seen = before | {"projection": before["projection"] * kept}

    # Terms g a q of the pairs cancel in the sums by hidden neuron: float32 is good to some 1e-6 of them.
    by_projection = np.abs(finite_differences(model, seen, row, "projection")) / float(row.weight[0])
    terms = float(by_projection @ np.abs(seen["projection"])) * float(np.abs(seen["attention_output"]).max())
    largest = 0.0
    for name in NETWORK:
        expected = finite_differences(model, seen, row, name) / float(row.weight[0])
        largest = max(largest, float(np.abs(expected).max()))
        if name == "projection":
            expected = expected * kept
        np.testing.assert_allclose(
            dense[name], expected, atol=2e-4 * np.abs(expected).max() + 2e-6 + 2e-6 * terms, err_msg=name
        )
    assert largest > 1e-4 or row.ids.size < 2 or dropped.all()
    parts = ("linear", "factors")
    hold_steps(engine, before, accumulators, {p: finite_differences(model, seen, row, p) for p in parts})
    return int(dropped.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((1, 1), {}),
        ((4, 3), {"dropout": 0.4}),
        ((8, 17), {"task": "regression"}),
        ((16, 16), {}),
        ((21, 4), {"dropout": 0.2}),
        ((5, 6), {"normalize": True}),
    ],
    ids=str,
)
def test_gradients_of_attention(size: tuple[int, int], settings: dict[str, object], kind: str) -> None:
    model = attentive(*size, **settings)
    data = random_rows(kind, N_ROWS, task=model.settings.task, weighted=True)
    if model.settings.task == "regression":
        data = standardised(data)
    dropped = [
        check_attention(model, data, i, n_features=N_FEATURES, n_fields=N_FIELDS, seed=3) for i in usable(data, 3)
    ]
    assert (sum(dropped) > 0) == (model.settings.dropout > 0)


def deep(**settings: object) -> DeepFM:
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "weight_decay": 0.0, "dropout": 0.0, "shrinkage": 0.0}
    return DeepFM(DeepFMSettings(**(free | settings)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": (9, 4), "n_factors": 3},
        {"hidden_layer_sizes": (66, 5, 3), "n_factors": 2, "activation": "tanh"},  # more outputs than a panel
        {"hidden_layer_sizes": (17,), "n_factors": 4, "activation": "sigmoid", "task": "regression"},
        {"hidden_layer_sizes": (), "n_factors": 5},
        {"hidden_layer_sizes": (8, 6), "n_factors": 3, "shrinkage": 20.0},
    ],
    ids=str,
)
def test_gradients_of_the_perceptron(settings: dict[str, object], kind: str) -> None:
    """Adam's first moment is a tenth of the gradient, which is cut to norm 1, after one step.

    With a trust of 20, the vector of a feature of n occurrences feels n / (n + 20) of the perceptron's gradient.
    """
    model = deep(**settings)
    data = random_rows(kind, N_ROWS, task=model.settings.task, weighted=True)
    if model.settings.task == "regression":
        data = standardised(data)
    for i in usable(data, 2):
        row = data.slice(i, i + 1)
        assert row.weight is not None
        wide = None if model.settings.task == "binary" else (-1e9, 1e9)
        engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(data, seed=i)
        assert engine._recipe is not None
        engine._recipe = replace(engine._recipe, target_range=wide, total_weight=1e9)
        rng = np.random.default_rng(i)
        engine._column("factors")[:] = rng.normal(0, 0.7, (N_FEATURES, model.settings.n_factors))
        if model.settings.hidden_layer_sizes:
            state = engine.state()
            state["perceptron_values"] = rng.normal(0, 0.4, state["perceptron_values"].shape).astype(np.float32)
            engine.load_state(state)
        before, accumulators = engine.parameters(), engine._column("accumulators").copy()
        engine.step(data, np.array([i]))
        shapes = {name: a.shape for name, a in before.items() if name.startswith(("hidden_", "output_"))}
        if shapes:
            found, first = engine.state()["perceptron_first"] / 0.1, 0
            of_weights = {n: finite_differences(model, before, row, n) / float(row.weight[0]) for n in shapes}
            of_weights["hidden_0_weights"] *= engine._native.unit
            norm = max(1.0, float(np.sqrt(sum((g**2).sum() for g in of_weights.values()))))
            assert norm > 1e-3
            for name, shape in shapes.items():
                size = int(np.prod(shape))
                part, first = found[first : first + size].reshape(shape), first + size
                expected = of_weights[name] / norm
                np.testing.assert_allclose(part, expected, atol=2e-4 * np.abs(expected).max() + 2e-6, err_msg=name)
        trust = model.settings.shrinkage
        wide_only = {name: np.zeros_like(a) if name == "output_weights" else a for name, a in before.items()}
        expected = {part: finite_differences(model, before, row, part) for part in ("linear", "factors")}
        if trust:
            counts = engine._recipe.counts[:, None]
            share = counts / (counts + trust)
            of_wide = slope_of(model, before, row) * finite_differences_of_logit(model, wide_only, row)
            expected["factors"] = of_wide + share * (expected["factors"] - of_wide)
        hold_steps(engine, before, accumulators, expected)


def slope_of(model: BaseModel, parameters: dict[str, np.ndarray], row: Rows) -> float:
    """The derivative of a row's weighted loss by its logit."""
    z = float(specification_logits(model, parameters, row)[0])
    assert row.y is not None
    assert row.weight is not None
    value = 1 / (1 + np.exp(-z)) if model.settings.task == "binary" else z
    return float(row.weight[0]) * (value - float(row.y[0]))


def finite_differences_of_logit(model: BaseModel, parameters: dict[str, np.ndarray], row: Rows) -> np.ndarray:
    """The derivatives of a row's logit by the factors: those of the squared loss of a target one below it."""
    z = specification_logits(model, parameters, row).astype(np.float32)
    squared = type(model)(replace(model.settings, task="regression"))
    return finite_differences(squared, parameters, row.labelled(z - 1, np.ones(1, np.float32)), "factors")


@pytest.mark.parametrize("length", [2, 15, 16, 17, 31, 32, 33, 45, 46, 64])
def test_gradients_of_attention_over_blocks_and_chunks(length: int) -> None:
    """Slots go in blocks of as many as a register has lanes, 4 to 16; 1,024 lanes of pairs are a chunk.

    With 16 lanes, 45 entries take 64 registers and 46 take 68.
    """
    ids = np.arange(length, dtype=np.int32)
    values = np.random.default_rng(2).normal(0, 1, length).astype(np.float32)
    labels = np.array([1, 0], np.float32)  # an empty row beside it, so that the bias starts at 0
    offsets = np.array([0, length, length])
    data = Rows(ids=ids, values=values, offsets=offsets, fields=ids * 0, y=labels, weight=labels * 0 + 1)
    check_attention(attentive(3, 4), data, 0, n_features=length, n_fields=1, seed=1)
