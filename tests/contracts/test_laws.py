"""Laws of the mathematics, held on the specification; the engines are held to the specification elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.core.rows import Rows
from anyfm.engines.scorer import NativeScorer
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
    specification_logits,
)

from .cases import KINDS, N_FEATURES, N_FIELDS, deep_models, models, rows


def parameters_for(model: BaseModel, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    specs = model.parameter_specs(N_FEATURES, N_FIELDS)
    drawn = {name: rng.normal(0, 0.5, spec.shape) for name, spec in specs.items()}
    return {name: np.abs(array) + 0.5 if name.endswith("_variance") else array for name, array in drawn.items()}


def entries(data: Rows, i: int) -> tuple[np.ndarray, np.ndarray]:
    row = data.slice(i, i + 1)
    ids = row.ids.reshape(-1)
    return ids, np.ones(len(ids)) if row.values is None else row.values.reshape(-1).astype(float)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), n_factors=st.integers(1, 12))
def test_fm_is_the_double_loop_over_pairs(kind: str, seed: int, n_factors: int) -> None:
    model = FM(FMSettings(n_factors=n_factors))
    p, data = parameters_for(model, seed), rows(kind, 5, seed=seed)
    slow = []
    for i in range(data.n_rows):
        ids, x = entries(data, i)
        z = p["bias"][0] + p["linear"][ids] @ x
        for a, b in combinations(range(len(ids)), 2):
            z += p["factors"][ids[a]] @ p["factors"][ids[b]] * x[a] * x[b]
        slow.append(z)
    np.testing.assert_allclose(specification_logits(model, p, data), slow, rtol=1e-9, atol=1e-9)


def entry_fields(data: Rows, i: int) -> np.ndarray:
    fields = data.slice(i, i + 1).fields
    return np.arange(data.ids.shape[1]) if fields is None else fields


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), n_factors=st.integers(1, 12))
def test_ffm_is_the_double_loop_over_pairs(kind: str, seed: int, n_factors: int) -> None:
    model = FFM(FFMSettings(n_factors=n_factors))
    p, data = parameters_for(model, seed), rows(kind, 5, seed=seed)
    slow = []
    for i in range(data.n_rows):
        ids, x = entries(data, i)
        fields, v = entry_fields(data, i), p["field_factors"]
        z = p["bias"][0] + p["linear"][ids] @ x
        for a, b in combinations(range(len(ids)), 2):
            z += v[ids[a], fields[b]] @ v[ids[b], fields[a]] * x[a] * x[b]
        slow.append(z)
    np.testing.assert_allclose(specification_logits(model, p, data), slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ffm_with_one_vector_for_all_fields_is_fm(kind: str, normalize: bool) -> None:
    fm = FM(FMSettings(n_factors=6, normalize=normalize))
    ffm = FFM(FFMSettings(n_factors=6, normalize=normalize))
    p, data = parameters_for(fm), rows(kind)
    same = {"bias": p["bias"], "linear": p["linear"]}
    same["field_factors"] = np.repeat(p["factors"][:, None, :], N_FIELDS, axis=1)
    expected = specification_logits(fm, p, data)
    np.testing.assert_allclose(specification_logits(ffm, same, data), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["fixed", "values", "ragged", "ragged-values"])
def test_ffm_does_not_depend_on_how_fields_are_numbered(kind: str) -> None:
    model, data = FFM(FFMSettings(n_factors=3)), rows(kind)
    p = parameters_for(model)
    number = np.array([3, 0, 4, 1, 2], np.int32)  # of field f
    fields = np.arange(N_FIELDS) if data.fields is None else data.fields
    renumbered = dict(p, field_factors=p["field_factors"][:, np.argsort(number)])
    other = replace(data, fields=number[fields])
    expected = specification_logits(model, p, data)
    np.testing.assert_allclose(specification_logits(model, renumbered, other), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", ["output_weights", "hidden"])
def test_deepfm_with_a_zero_perceptron_is_fm(zero: str, kind: str) -> None:
    deep, fm = DeepFM(DeepFMSettings(n_factors=6, hidden_layer_sizes=(7, 3))), FM(FMSettings(n_factors=6))
    p, data = parameters_for(deep), rows(kind)
    for name in p:
        if name.startswith(zero):
            p[name][:] = 0
    shared = {name: p[name] for name in ("bias", "linear", "factors")}
    expected = specification_logits(fm, shared, data)
    np.testing.assert_allclose(specification_logits(deep, p, data), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_deepfm_without_hidden_layers_is_fm(kind: str) -> None:
    p, data = parameters_for(FM(FMSettings(n_factors=6))), rows(kind)
    deep = DeepFM(DeepFMSettings(n_factors=6, hidden_layer_sizes=()))
    assert deep.parameter_specs(N_FEATURES, N_FIELDS).keys() == p.keys()
    expected = specification_logits(FM(FMSettings(n_factors=6)), p, data)
    np.testing.assert_array_equal(specification_logits(deep, p, data), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(deep_models()))
def test_deepfm_is_fm_and_a_loop_over_neurons(name: str, kind: str) -> None:
    model, data = deep_models()[name], rows(kind, 4)
    p = parameters_for(model)
    shared = {key: p[key] for key in ("bias", "linear", "factors")}
    slow = specification_logits(FM(FMSettings(n_factors=model.settings.n_factors)), shared, data)
    phi = {"relu": lambda z: max(z, 0.0), "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
    for i in range(data.n_rows):
        ids, x = entries(data, i)
        here = np.zeros((N_FIELDS, model.settings.n_factors))
        for j, field in enumerate(entry_fields(data, i)):
            here[field] += p["factors"][ids[j]] * x[j]
        here = here.reshape(-1)
        for layer in range(len(model.settings.hidden_layer_sizes)):
            of = {
                key: p.get(f"hidden_{layer}_{key}") for key in ("weights", "bias", "scale", "shift", "mean", "variance")
            }
            z = [of["bias"][j] + sum(here * of["weights"][:, j]) for j in range(len(of["bias"]))]
            if model.settings.batch_norm:
                z = of["scale"] * (z - of["mean"]) / np.sqrt(of["variance"] + 1e-5) + of["shift"]
            here = np.array([phi[model.settings.activation](number) for number in z])
        if model.settings.hidden_layer_sizes:
            slow[i] += here @ p["output_weights"]
    np.testing.assert_allclose(specification_logits(model, p, data), slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_afm_is_the_double_loop_over_pairs(kind: str, seed: int, sizes: tuple[int, int]) -> None:
    model = AFM(AFMSettings(n_factors=sizes[0], attention_factors=sizes[1]))
    p, data = parameters_for(model, seed), rows(kind, 5, seed=seed)
    slow = []
    for i in range(data.n_rows):
        ids, x = entries(data, i)
        z = p["bias"][0] + p["linear"][ids] @ x
        total, pooled = 0.0, np.zeros(sizes[0])
        for a, b in combinations(range(len(ids)), 2):
            product = p["factors"][ids[a]] * p["factors"][ids[b]] * x[a] * x[b]
            hidden = np.maximum(product @ p["attention_weights"] + p["attention_bias"], 0)
            share = np.exp(hidden @ p["attention_output"])
            total, pooled = total + share, pooled + share * product
        slow.append(z + (p["projection"] @ pooled / total if total > 0 else 0.0))
    np.testing.assert_allclose(specification_logits(model, p, data), slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_afm_with_equal_attention_is_fm_over_the_number_of_pairs(kind: str) -> None:
    afm, fm = AFM(AFMSettings(n_factors=5)), FM(FMSettings(n_factors=5))
    p, data = parameters_for(afm), rows(kind)
    p |= {"bias": np.zeros(1), "linear": np.zeros(N_FEATURES)}
    p |= {"attention_output": p["attention_output"] * 0, "projection": np.ones(5)}
    n = np.array([len(entries(data, i)[0]) for i in range(data.n_rows)])
    expected = specification_logits(fm, {name: p[name] for name in ("bias", "linear", "factors")}, data)
    expected /= np.maximum(n * (n - 1) / 2, 1)
    np.testing.assert_allclose(specification_logits(afm, p, data), expected, rtol=1e-12, atol=1e-12)
    scorer = NativeScorer(afm, {name: a.astype(np.float32) for name, a in p.items()}, n_fields=N_FIELDS)
    np.testing.assert_allclose(scorer.logits(data), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_fm_with_zero_factors_is_linear(kind: str) -> None:
    p, data = parameters_for(FM()), rows(kind)
    p["factors"][:] = 0
    linear = {name: p[name] for name in ("bias", "linear")}
    np.testing.assert_allclose(specification_logits(FM(), p, data), specification_logits(Linear(), linear, data))


@pytest.mark.parametrize("name", ["linear", "fm-8", "fm-normalized", "afm-4-3", "afm-normalized"])
def test_field_order_does_not_matter(name: str) -> None:
    model, data = models()[name], rows("values")
    p = parameters_for(model)
    assert data.values is not None
    turned = Rows(ids=np.ascontiguousarray(data.ids[:, ::-1]), values=np.ascontiguousarray(data.values[:, ::-1]))
    np.testing.assert_allclose(specification_logits(model, p, data), specification_logits(model, p, turned))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*models(), *deep_models()])
def test_splitting_a_batch_does_not_matter(name: str, kind: str) -> None:
    model, data = {**models(), **deep_models()}[name], rows(kind, 40)
    p = parameters_for(model)
    parts = [specification_logits(model, p, data.slice(i, i + 9)) for i in range(0, 40, 9)]
    np.testing.assert_allclose(specification_logits(model, p, data), np.concatenate(parts), rtol=1e-12, atol=1e-12)
