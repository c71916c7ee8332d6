"""The native kernels' gradients against finite differences of the specification.

A step without penalty moves a vector by −η g / √a, where a already holds the mean of g², so g is read back from the
step. Adam's first step leaves a tenth of the gradient of the mean loss as its first moment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
    """Rows of positive weight and at least two entries, all of different features: each takes one step."""
    assert data.weight is not None
    ids = [data.slice(i, i + 1).ids.reshape(-1) for i in range(data.n_rows)]
    found = [i for i in range(data.n_rows) if data.weight[i] > 0 and 2 <= len(np.unique(ids[i])) == ids[i].size]
    assert len(found) >= n_rows
    return found[:n_rows]


def without_penalty(task: str) -> dict[str, BaseModel]:
    common = {"task": task, "l2_linear": 0.0}
    return {
        "linear": Linear(LinearSettings(**common)),
        "linear-normalized": Linear(LinearSettings(**common, normalize=True)),
        **{f"fm-{k}": FM(FMSettings(**common, n_factors=k, l2_factors=0.0, init_scale=20)) for k in (1, 4, 8, 19, 70)},
        "fm-normalized": FM(FMSettings(**common, n_factors=5, l2_factors=0.0, init_scale=5, normalize=True)),
    }


def standardized(data: Rows) -> Rows:
    """The engine divides a regression target by its weighted standard deviation; here that is 1."""
    assert data.y is not None
    mean = np.average(data.y, weights=data.weight)
    deviation = np.sqrt(np.average((data.y - mean) ** 2, weights=data.weight))
    return data.labelled(((data.y - mean) / deviation).astype(np.float32), data.weight)


def prepared(model: BaseModel, data: Rows, *, seed: int, **sizes: int) -> NativeEngine:
    """An engine whose steps follow the bare gradient: no crowding, and logits are not held within the target's range.

    Linear weights are drawn, since they would start at 0.
    """
    sizes = {"n_features": N_FEATURES, "n_fields": N_FIELDS} | sizes
    engine = NativeEngine(model, **sizes, n_threads=2)
    engine.prepare(data, seed=seed)
    statistics = engine._training
    clip = None if statistics.target.clip is None else (-1e9, 1e9)
    engine._statistics = replace(statistics, total_weight=1e9, target=replace(statistics.target, clip=clip))
    linear = np.random.default_rng(seed).normal(0, 0.1, engine.n_features).astype(np.float32)
    engine._write_features("linear", linear, 0)
    return engine


def accumulators(engine: NativeEngine) -> dict[str, np.ndarray]:
    """A copy of Adagrad's accumulators by parameter: they follow the linear weight in a feature's record.

    See native/models/linear.hpp and factor_table.hpp. The linear weights, which are drawn, show where that is.
    """
    (table,) = engine._native.tables
    linear = engine._read_features("linear")
    (column,) = np.flatnonzero((table == linear[:, None]).all(axis=0))
    return {name: table[:, column + 1 + number].copy() for number, name in enumerate(engine._feature_parameters())}


def check_step(
    engine: NativeEngine,
    before: dict[str, np.ndarray],
    start: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
) -> None:
    """Check one step from parameters `before` and accumulators `start` against the gradients of features.

    The gradients are read back from the step, and the accumulators have grown by their mean squares.
    """
    after, end = engine.parameters(), accumulators(engine)
    assert expected.keys() == end.keys()
    for name, exact in expected.items():
        factor = np.sqrt(end[name]) / engine._learning_rate
        moved = (before[name] - after[name]).reshape(len(factor), -1)
        gradient = (moved * factor[:, None]).reshape(before[name].shape)
        np.testing.assert_allclose(gradient, exact, atol=2e-3 * np.abs(exact).max() + 2e-5, err_msg=name)
        squares = (exact.reshape(len(factor), -1) ** 2).mean(axis=1)
        np.testing.assert_allclose(end[name] - start[name], squares, rtol=2e-2, atol=1e-4)


def write_dense(engine: NativeEngine, values: dict[str, np.ndarray]) -> dict[str, float]:
    """Write dense parameters as the model's formula has them; the unit of each in training."""
    units = {}
    for name in values:
        unit = engine._specs[name].unit
        units[name] = 1.0 if unit is None else unit(engine._training)
    engine._write_dense({name: (array / units[name]).astype(np.float32) for name, array in values.items()}, units)
    return units


def dense_gradients(engine: NativeEngine, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The gradients of the mean loss by the dense parameters in units of training, after Adam's first step."""
    first_moments = engine.state()["dense_first_moments"]
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    assert sum(sizes) == len(first_moments)
    parts = np.split(first_moments / 0.1, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


@pytest.mark.parametrize(
    ("name", "task", "kind"), pairwise(list(without_penalty("binary")), ("binary", "regression"), KINDS)
)
def test_gradients_agree_with_finite_differences(name: str, task: str, kind: str) -> None:
    model = without_penalty(task)[name]
    data = random_rows(kind, N_ROWS, task=task, weighted=True)
    if task == "regression":
        data = standardized(data)
    for i in usable(data):
        row = data.slice(i, i + 1)
        engine = prepared(model, data, seed=i)
        before, start = engine.parameters(), accumulators(engine)
        engine.step(data, np.array([i]))
        check_step(engine, before, start, {name: finite_differences(model, before, row, name) for name in start})


@pytest.mark.parametrize(
    ("optimizer", "n_factors", "normalize", "kind"),
    pairwise(("adagrad", "libffm"), (1, 4, 5, 8), (False, True), KINDS),
)
def test_gradients_of_field_factors(optimizer: str, n_factors: int, normalize: bool, kind: str) -> None:
    """A step d = η g / √(a + s), where s is g² or, with one accumulator for a vector, its mean, gives g back."""
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "init_scale": 1}  # small gradients: g is read back more precisely
    model = FFM(FFMSettings(n_factors=n_factors, normalize=normalize, optimizer=optimizer, **free))
    data, start = random_rows(kind, N_ROWS, weighted=True), 1.0 if optimizer == "libffm" else 0.1
    checked = 0
    for i in usable(data):
        row = data.slice(i, i + 1)
        engine = prepared(model, data, seed=i)
        before = engine.parameters()
        engine.step(data, np.array([i]))
        moved = before["field_factors"].astype(np.float64) - engine.parameters()["field_factors"]
        rate = engine._learning_rate
        squares = moved**2 if optimizer == "libffm" else (moved**2).mean(axis=2, keepdims=True)
        gradient = moved * np.sqrt(start / (rate**2 - squares))
        expected = finite_differences(model, before, row, "field_factors")
        largest = np.abs(expected).max()
        amplified = 8e-4 * (1 + largest**2 / start)  # g is read back from steps of a relative precision of 7e-4
        np.testing.assert_allclose(gradient, expected, atol=max(5e-3, amplified) * largest + 2e-5)
        checked += bool(np.abs(expected).max() > 1e-3)
    assert checked >= 3


ATTENTION = ("attention_weights", "attention_bias", "attention_output", "projection")


def afm(n_factors: int, attention_factors: int, **settings: object) -> AFM:
    free = {"l2_linear": 0.0, "l2_factors": 0.0, "l2_attention": 0.0, "dropout": 0.0}
    return AFM(AFMSettings(n_factors=n_factors, attention_factors=attention_factors, **(free | settings)))


def check_attention(model: AFM, data: Rows, i: int, *, n_features: int, n_fields: int, seed: int) -> int:
    """Check all gradients of row i, taken from one step, against the specification; the number of dropped factors.

    A factor without a gradient in the projection was dropped. The row then has the gradients of a model whose
    projection is 0 there and divided by 1 − dropout elsewhere.
    """
    row = data.slice(i, i + 1)
    assert row.weight is not None
    engine = prepared(model, data, seed=seed, n_features=n_features, n_fields=n_fields)
    rng = np.random.default_rng([seed, i])
    shapes = {name: engine._specs[name].shape for name in ATTENTION}
    drawn = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    drawn["attention_bias"] *= 0.3  # so that some neurons are active for some pairs and not for others
    drawn["projection"] *= 0.3  # so that no logit is so large that its loss has no gradient in float32
    units = write_dense(engine, drawn)
    assert units["attention_weights"] > 1
    assert units["projection"] >= 1
    engine._write_features("factors", rng.normal(0, 0.7, (n_features, model.settings.n_factors)).astype(np.float32), 0)
    before, start = engine.parameters(), accumulators(engine)
    engine.step(data, np.array([i]))
    found = dense_gradients(engine, shapes)
    dropped = (found["projection"] == 0) & (model.settings.dropout > 0)
    mask = np.where(dropped, 0, 1 / (1 - model.settings.dropout))
    seen = before | {"projection": before["projection"] * mask}

    # Terms g a q of the pairs cancel in the sums by hidden neuron: float32 rounds some 1e-6 of them.
    by_projection = np.abs(finite_differences(model, seen, row, "projection")) / float(row.weight[0])
    terms = float(by_projection @ np.abs(seen["projection"])) * float(np.abs(seen["attention_output"]).max())
    largest = 0.0
    for name in ATTENTION:
        expected = finite_differences(model, seen, row, name) / float(row.weight[0])
        largest = max(largest, float(np.abs(expected).max()))
        if name == "projection":
            expected = expected * mask
        atol = 2e-4 * np.abs(expected).max() + 2e-6 + 2e-6 * terms
        np.testing.assert_allclose(found[name] / units[name], expected, atol=atol, err_msg=name)
    assert largest > 1e-4 or row.ids.size < 2 or dropped.all()
    check_step(engine, before, start, {name: finite_differences(model, seen, row, name) for name in start})
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
    model = afm(*size, **settings)
    data = random_rows(kind, N_ROWS, task=model.settings.task, weighted=True)
    if model.settings.task == "regression":
        data = standardized(data)
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
        {
            "hidden_layer_sizes": (66, 5, 3),
            "n_factors": 2,
            "activation": "tanh",
        },  # more outputs than a panel of the kernels
        {"hidden_layer_sizes": (17,), "n_factors": 4, "activation": "sigmoid", "task": "regression"},
        {"hidden_layer_sizes": (), "n_factors": 5},
        {"hidden_layer_sizes": (8, 6), "n_factors": 3, "shrinkage": 20.0},
    ],
    ids=str,
)
def test_gradients_of_the_mlp(settings: dict[str, object], kind: str) -> None:
    """Adam's gradient is clipped to norm 1.

    With a shrinkage of 20, the vector of a feature with n occurrences gets n / (n + 20) of the MLP's gradient.
    """
    model = deep(**settings)
    data = random_rows(kind, N_ROWS, task=model.settings.task, weighted=True)
    if model.settings.task == "regression":
        data = standardized(data)
    for i in usable(data, 2):
        row = data.slice(i, i + 1)
        assert row.weight is not None
        engine = prepared(model, data, seed=i)
        rng = np.random.default_rng(i)
        factors = rng.normal(0, 0.7, (N_FEATURES, model.settings.n_factors)).astype(np.float32)
        engine._write_features("factors", factors, 0)
        shapes = {name: spec.shape for name, spec in model.dense_specs(N_FIELDS).items()}
        units = write_dense(engine, {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()})
        before, start = engine.parameters(), accumulators(engine)
        engine.step(data, np.array([i]))
        if shapes:
            assert units["hidden_0_weights"] > 1
            exact = {n: units[n] * finite_differences(model, before, row, n) / float(row.weight[0]) for n in shapes}
            norm = max(1.0, float(np.sqrt(sum((g**2).sum() for g in exact.values()))))
            assert norm > 1e-3
            for name, gradient in dense_gradients(engine, shapes).items():
                expected = exact[name] / norm
                np.testing.assert_allclose(gradient, expected, atol=2e-4 * np.abs(expected).max() + 2e-6, err_msg=name)
        of_features = {name: finite_differences(model, before, row, name) for name in start}
        if model.settings.shrinkage:
            without_mlp = {name: np.zeros_like(a) if name == "output_weights" else a for name, a in before.items()}
            counts = engine._training.counts[:, None]
            fraction = counts / (counts + model.settings.shrinkage)
            of_pairs = grad_logit(model, before, row) * finite_differences_of_logit(model, without_mlp, row)
            of_features["factors"] = of_pairs + fraction * (of_features["factors"] - of_pairs)
        check_step(engine, before, start, of_features)


def grad_logit(model: BaseModel, parameters: dict[str, np.ndarray], row: Rows) -> float:
    """The derivative of a row's weighted loss by its logit."""
    z = float(specification_logits(model, parameters, row)[0])
    assert row.y is not None
    assert row.weight is not None
    prediction = 1 / (1 + np.exp(-z)) if model.settings.task == "binary" else z
    return float(row.weight[0]) * (prediction - float(row.y[0]))


def finite_differences_of_logit(model: BaseModel, parameters: dict[str, np.ndarray], row: Rows) -> np.ndarray:
    """The derivatives of a row's logit by the factors: those of the squared loss with a target one below the logit."""
    z = specification_logits(model, parameters, row).astype(np.float32)
    squared = type(model)(replace(model.settings, task="regression"))
    return finite_differences(squared, parameters, row.labelled(z - 1, np.ones(1, np.float32)), "factors")


@pytest.mark.parametrize("length", [2, 15, 16, 17, 31, 32, 33, 45, 46, 64])
def test_gradients_of_attention_over_blocks_and_chunks(length: int) -> None:
    """A block has as many slots as a register has lanes, 4 to 16; a chunk has 1,024 pairs.

    With 16 lanes, the pairs of 45 entries take 64 registers and those of 46 entries 68.
    """
    ids = np.arange(length, dtype=np.int32)
    values = np.random.default_rng(2).normal(0, 1, length).astype(np.float32)
    labels = np.array([1, 0], np.float32)  # an empty row beside it, so that the bias starts at 0
    offsets = np.array([0, length, length])
    data = Rows(ids=ids, values=values, offsets=offsets, fields=ids * 0, y=labels, weight=labels * 0 + 1)
    check_attention(afm(3, 4), data, 0, n_features=length, n_fields=1, seed=1)
