"""Laws of the mathematics, held on the specification; engines and scorers are held to it in test_engines.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.core.rows import Rows
from anyfm.models import MODELS, BaseModel, Batch, gather, specification_logits
from tests.random_rows import KINDS, N_FEATURES, N_FIELDS, entries, random_parameters, random_rows

from .cases import ALL_CASES, make_model, rounding_bound, scorer
from .pairwise import pairwise

Arrays = dict[str, np.ndarray]
seeds = st.integers(0, 2**32 - 1)
EVERY_CASE_AND_KIND = pairwise(ALL_CASES, KINDS)


def made(name: str, **settings: object) -> BaseModel:
    return MODELS[name](MODELS[name].settings_type(**settings))


def without_pairs(p: Arrays, ids: np.ndarray, x: np.ndarray) -> float:
    return float(p["bias"][0] + p["linear"][ids] @ x)


def by_pairs(p: Arrays, data: Rows, term: Callable[..., float]) -> list[float]:
    """The logit as a double loop: term(i, j, field of i, field of j) x_i x_j over the pairs of a row's entries."""
    logits = []
    for row in range(data.n_rows):
        ids, x, fields = entries(data, row)
        z = without_pairs(p, ids, x)
        for a, b in combinations(range(len(ids)), 2):
            z += term(ids[a], ids[b], fields[a], fields[b]) * x[a] * x[b]
        logits.append(z)
    return logits


def hold(found: np.ndarray, expected: object) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


# ---- each model as loops


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, n_factors=st.integers(1, 12))
def test_fm_is_the_double_loop_over_pairs(kind: str, seed: int, n_factors: int) -> None:
    model = made("fm", n_factors=n_factors)
    p, data = random_parameters(model, seed=seed), random_rows(kind, 5, seed=seed)
    v = p["factors"]
    hold(specification_logits(model, p, data), by_pairs(p, data, lambda i, j, *_: v[i] @ v[j]))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, n_factors=st.integers(1, 12))
def test_ffm_is_the_double_loop_over_pairs(kind: str, seed: int, n_factors: int) -> None:
    model = made("ffm", n_factors=n_factors)
    p, data = random_parameters(model, seed=seed), random_rows(kind, 5, seed=seed)
    v = p["field_factors"]
    hold(specification_logits(model, p, data), by_pairs(p, data, lambda i, j, f, g: v[i, g] @ v[j, f]))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_afm_is_the_double_loop_over_pairs(kind: str, seed: int, sizes: tuple[int, int]) -> None:
    model = made("afm", n_factors=sizes[0], attention_factors=sizes[1])
    p, data = random_parameters(model, seed=seed), random_rows(kind, 5, seed=seed)
    slow = []
    for row in range(data.n_rows):
        ids, x, _ = entries(data, row)
        total, pooled = 0.0, np.zeros(sizes[0])
        for a, b in combinations(np.flatnonzero(x), 2):
            product = p["factors"][ids[a]] * p["factors"][ids[b]] * x[a] * x[b]
            hidden = np.maximum(product @ p["attention_weights"] + p["attention_bias"], 0)
            weight = np.exp(hidden @ p["attention_output"])
            total, pooled = total + weight, pooled + weight * product
        slow.append(without_pairs(p, ids, x) + (p["projection"] @ pooled / total if total > 0 else 0.0))
    hold(specification_logits(model, p, data), slow)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [case for case in ALL_CASES if case.startswith("deepfm")])
def test_deepfm_is_fm_and_a_loop_over_neurons(case: str, kind: str) -> None:
    model, data = make_model(case), random_rows(kind, 4)
    p, settings = random_parameters(model), model.settings
    slow = by_pairs(p, data, lambda i, j, *_: p["factors"][i] @ p["factors"][j])
    phi = {"relu": lambda z: max(z, 0.0), "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
    for row in range(data.n_rows):
        ids, x, fields = entries(data, row)
        by_field = np.zeros((N_FIELDS, settings.n_factors))
        for j, field in enumerate(fields):
            by_field[field] += p["factors"][ids[j]] * x[j]
        here = by_field.reshape(-1)
        for layer in range(len(settings.hidden_layer_sizes)):
            of = {
                key: p.get(f"hidden_{layer}_{key}") for key in ("weights", "bias", "scale", "shift", "mean", "variance")
            }
            z = [of["bias"][j] + sum(here * of["weights"][:, j]) for j in range(len(of["bias"]))]
            if settings.batch_norm:
                z = of["scale"] * (z - of["mean"]) / np.sqrt(of["variance"] + 1e-5) + of["shift"]
            here = np.array([phi[settings.activation](number) for number in z])
        if settings.hidden_layer_sizes:
            slow[row] += here @ p["output_weights"]
    hold(specification_logits(model, p, data), slow)


# ---- a model that is another


@pytest.mark.parametrize("kind", KINDS)
def test_fm_with_zero_factors_is_linear(kind: str) -> None:
    model, data = made("fm"), random_rows(kind)
    p = random_parameters(model)
    p["factors"][:] = 0
    linear = {name: p[name] for name in ("bias", "linear")}
    hold(specification_logits(model, p, data), specification_logits(made("linear"), linear, data))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ffm_with_one_vector_for_all_fields_is_fm(kind: str, normalize: bool) -> None:
    fm, ffm = (made(name, n_factors=6, normalize=normalize) for name in ("fm", "ffm"))
    p, data = random_parameters(fm), random_rows(kind)
    repeated = {"bias": p["bias"], "linear": p["linear"]}
    repeated["field_factors"] = np.repeat(p["factors"][:, None, :], N_FIELDS, axis=1)
    hold(specification_logits(ffm, repeated, data), specification_logits(fm, p, data))


@pytest.mark.parametrize("kind", KINDS)
def test_fwfm_with_pair_weights_of_one_is_fm(kind: str) -> None:
    fm, fwfm = (made(name, n_factors=6) for name in ("fm", "fwfm"))
    p, data = random_parameters(fm), random_rows(kind)
    specs = fwfm.parameter_specs(N_FEATURES, N_FIELDS)
    ones = {name: p[name] if name in p else np.ones(spec.shape) for name, spec in specs.items()}
    hold(specification_logits(fwfm, ones, data), specification_logits(fm, p, data))


@pytest.mark.parametrize("kind", KINDS)
def test_afm_with_equal_attention_is_fm_over_the_number_of_pairs(kind: str) -> None:
    afm, fm = made("afm", n_factors=5), made("fm", n_factors=5)
    p, data = random_parameters(afm), random_rows(kind)
    p |= {"bias": np.zeros(1), "linear": np.zeros(N_FEATURES)}
    p |= {"attention_output": p["attention_output"] * 0, "projection": np.ones(5)}
    n = np.array([np.count_nonzero(entries(data, i)[1]) for i in range(data.n_rows)])
    expected = specification_logits(fm, {name: p[name] for name in ("bias", "linear", "factors")}, data)
    expected /= np.maximum(n * (n - 1) / 2, 1)
    hold(specification_logits(afm, p, data), expected)
    rounded = {name: array.astype(np.float32) for name, array in p.items()}
    assert (np.abs(scorer(afm, rounded).logits(data) - expected) <= rounding_bound(afm, p, data)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", ["output_weights", "hidden"])
def test_deepfm_with_a_zero_mlp_is_fm(zero: str, kind: str) -> None:
    deep, fm = made("deepfm", n_factors=6, hidden_layer_sizes=(7, 3)), made("fm", n_factors=6)
    p, data = random_parameters(deep), random_rows(kind)
    for name in p:
        if name.startswith(zero):
            p[name][:] = 0
    of_fm = {name: p[name] for name in ("bias", "linear", "factors")}
    hold(specification_logits(deep, p, data), specification_logits(fm, of_fm, data))


@pytest.mark.parametrize("kind", KINDS)
def test_deepfm_without_hidden_layers_is_fm(kind: str) -> None:
    deep, fm = made("deepfm", n_factors=6, hidden_layer_sizes=()), made("fm", n_factors=6)
    p, data = random_parameters(fm), random_rows(kind)
    assert deep.parameter_specs(N_FEATURES, N_FIELDS).keys() == p.keys()
    np.testing.assert_array_equal(specification_logits(deep, p, data), specification_logits(fm, p, data))


# ---- what a logit does not depend on


@pytest.mark.parametrize("kind", ["values", "repeated", "shared"])
@pytest.mark.parametrize("case", ALL_CASES)
def test_the_order_of_slots_does_not_matter(case: str, kind: str) -> None:
    """Where every slot takes its field along."""
    model, data = make_model(case), random_rows(kind)
    p = random_parameters(model, dtype=np.float32)
    order = np.array([3, 0, 4, 1, 2])
    fields = np.arange(N_FIELDS, dtype=np.int32) if data.fields is None else data.fields
    turned = replace(
        data,
        ids=np.ascontiguousarray(data.ids[:, order]),
        values=None if data.values is None else np.ascontiguousarray(data.values[:, order]),
        fields=fields[order],
    )
    expected = specification_logits(model, p, data)
    hold(specification_logits(model, p, turned), expected)
    assert (np.abs(scorer(model, p).logits(turned) - expected) <= rounding_bound(model, p, data)).all()


@pytest.mark.parametrize("kind", ["fixed", "values", "ragged", "ragged-values"])
def test_ffm_does_not_depend_on_how_fields_are_numbered(kind: str) -> None:
    model, data = made("ffm", n_factors=3), random_rows(kind)
    p = random_parameters(model)
    number = np.array([3, 0, 4, 1, 2], np.int32)  # of field f
    fields = np.arange(N_FIELDS) if data.fields is None else data.fields
    renumbered = dict(p, field_factors=p["field_factors"][:, np.argsort(number)])
    other = replace(data, fields=number[fields])
    hold(specification_logits(model, renumbered, other), specification_logits(model, p, data))


@pytest.mark.parametrize(("case", "kind"), EVERY_CASE_AND_KIND)
def test_splitting_a_batch_does_not_matter(case: str, kind: str) -> None:
    model, data = make_model(case), random_rows(kind, 40)
    p = random_parameters(model)
    parts = [specification_logits(model, p, data.slice(i, i + 9)) for i in range(0, 40, 9)]
    np.testing.assert_allclose(specification_logits(model, p, data), np.concatenate(parts), rtol=1e-12, atol=1e-12)


# ---- one expression for numpy and torch


def torch_batch(batch: Batch) -> Batch:
    torch = pytest.importorskip("torch")
    parameters = {name: torch.tensor(array, requires_grad=True) for name, array in batch.parameters.items()}
    return replace(
        batch,
        parameters=parameters,
        values=torch.tensor(np.ascontiguousarray(batch.values)),
        fields=torch.tensor(np.ascontiguousarray(batch.fields)),
        present=torch.tensor(batch.present),
    )


@pytest.mark.parametrize(("case", "kind"), EVERY_CASE_AND_KIND)
def test_the_torch_expression_and_its_gradient_are_those_of_numpy(case: str, kind: str) -> None:
    """The logit in float64; and the directional derivative by all parameters, against a central difference."""
    model, data = make_model(case), random_rows(kind, 6)
    p = random_parameters(model)
    specs = model.parameter_specs(N_FEATURES, N_FIELDS)
    batch = gather(p, data, specs, normalize=bool(getattr(model.settings, "normalize", False)))
    tensors = torch_batch(batch)
    logits = model.logits(tensors)
    hold(logits.detach().numpy(), specification_logits(model, p, data))
    logits.sum().backward()

    rng = np.random.default_rng(5)
    for name, array in batch.parameters.items():
        direction = rng.normal(size=array.shape)
        step = 1e-6
        above, below = (
            model.logits(replace(batch, parameters=batch.parameters | {name: array + sign * step * direction})).sum()
            for sign in (1, -1)
        )
        gradient = tensors.parameters[name].grad
        found = 0.0 if gradient is None else float((gradient.numpy() * direction).sum())
        assert found == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6), name
