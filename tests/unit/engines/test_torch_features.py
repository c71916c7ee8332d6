"""Per-feature parameters of the torch engine: native operations against torch expressions and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.engines.native import NativeEngine
from anyfm.models import FFM, FM, BaseModel, DeepFM, FFMSettings, FMSettings, Linear
from tests.random_rows import N_FEATURES, N_FIELDS, random_rows

torch = pytest.importorskip("torch")
torch_features = pytest.importorskip("anyfm.engines.torch_features")

MODELS = {
    "linear": Linear(),
    "fm-16": FM(FMSettings(n_factors=16)),
    "fm-5": FM(FMSettings(n_factors=5)),
    "ffm-3": FFM(FFMSettings(n_factors=3)),
    "ffm-8": FFM(FFMSettings(n_factors=8)),
    "deepfm": DeepFM(),
}
N_SLOTS = 6


def drawn_store(model: BaseModel, *, plain: bool, n_threads: int = 2, n_features: int = N_FEATURES, seed: int = 0):
    """A store with drawn weights, accumulators and penalties."""
    store = torch_features.FeatureStore(
        model.parameter_specs(n_features, N_FIELDS),
        n_features=n_features,
        device=torch.device("cpu"),
        n_threads=n_threads,
        plain=plain,
    )
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, n_features).astype(np.float32)
    store.start(counts, dict.fromkeys((group.name for group in store.groups), 0.5))
    for group in store.groups:
        store.weights(group).copy_(torch.from_numpy(rng.normal(0, 1, (n_features, group.width)).astype(np.float32)))
        penalties = rng.random((n_features, group.n_vectors)).astype(np.float32)
        store.records[:, group.penalty : group.penalty + group.n_vectors] = torch.from_numpy(penalties)
    return store


def ids_of(n_rows: int, *, n_features: int = N_FEATURES, seed: int = 1):
    """With repeated features, also within a row, and padding."""
    ids = np.random.default_rng(seed).integers(-3, n_features, (n_rows, N_SLOTS)).astype(np.int32)
    return torch.from_numpy(np.maximum(ids, -1))


def gradients_of(store, ids, seed: int = 2):
    generator = torch.Generator().manual_seed(seed)
    return {group.name: torch.randn((*ids.shape, group.width), generator=generator) for group in store.groups}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_columns_of_a_record_do_not_overlap(name: str) -> None:
    groups, count, stride = torch_features.layout(MODELS[name].parameter_specs(N_FEATURES, N_FIELDS))
    columns = [count]
    for group in groups:
        columns += range(group.first, group.first + group.width)
        for first in (group.accumulator, group.penalty, group.previous):
            columns += range(first, first + group.n_vectors)
    assert len(set(columns)) == len(columns)
    assert max(columns) < stride


@pytest.mark.parametrize("n_rows", [0, 1, 50, 5000])
@pytest.mark.parametrize("name", list(MODELS))
def test_the_native_gather_equals_torch_expressions(name: str, n_rows: int) -> None:
    native, plain = (drawn_store(MODELS[name], plain=plain) for plain in (False, True))
    ids = ids_of(n_rows)
    for group in native.groups:
        found = native.read(group, ids)
        assert torch.equal(found, plain.read(group, ids))
        assert not found[ids < 0].any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [1, 50, 5000])
@pytest.mark.parametrize("name", list(MODELS))
def test_the_native_step_equals_torch_expressions(name: str, n_rows: int, weighted: bool) -> None:
    native, plain = (drawn_store(MODELS[name], plain=plain) for plain in (False, True))
    before, ids = native.records.clone(), ids_of(n_rows)
    weight = torch.linspace(0.5, 2, n_rows) if weighted else None
    for store in (native, plain):
        store.step(ids, gradients_of(store, ids), weight, learning_rate=0.3, crowding=0.1)
    torch.testing.assert_close(native.records, plain.records, rtol=2e-4, atol=2e-5)
    touched = torch.zeros(N_FEATURES, dtype=torch.bool)
    touched[ids[ids >= 0].long()] = True
    assert torch.equal(native.records[~touched], before[~touched])
    assert (native.records[touched] != before[touched]).any(1).all()


@pytest.mark.parametrize("name", list(MODELS))
def test_a_native_step_gives_the_same_bytes_on_any_number_of_threads(name: str) -> None:
    ids, found = ids_of(5000), []
    for n_threads in (1, 2, 3):
        store = drawn_store(MODELS[name], plain=False, n_threads=n_threads)
        store.step(ids, gradients_of(store, ids), None, learning_rate=0.3, crowding=0.1)
        found.append(store.records.numpy().tobytes())
    assert found[0] == found[1] == found[2]


def test_a_parameter_without_gradients_does_not_change() -> None:
    for plain in (False, True):
        store = drawn_store(MODELS["ffm-3"], plain=plain)
        before, ids = store.records.clone(), ids_of(20)
        factors = {"field_factors": gradients_of(store, ids)["field_factors"]}
        store.step(ids, factors, None, learning_rate=0.3, crowding=0.1)
        linear = next(group for group in store.groups if group.name == "linear")
        assert torch.equal(store.weights(linear), before[:, linear.first : linear.first + 1])
        assert not torch.equal(store.records, before)


def loss_of(store, ids):
    """Some smooth function of all gathered parameters, and the dictionary in which autograd leaves their gradients."""
    gradients: dict[str, list] = {}
    parts = [torch.sin(part * 0.7).flatten(1).sum(1) ** 2 for part in store.gather(ids, gradients).values()]
    return sum(part.sum() for part in parts), gradients


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", ["linear", "fm-5", "ffm-3"])
def test_the_gradient_of_a_gather_equals_autograd_and_finite_differences(name: str, plain: bool) -> None:
    store, ids = drawn_store(MODELS[name], plain=plain), ids_of(12)
    loss, gradients = loss_of(store, ids)
    loss.backward()
    for group in store.groups:
        (of_entries,) = gradients[group.name]
        summed = torch.zeros((N_FEATURES, group.width))
        there = ids.reshape(-1) >= 0
        summed.index_add_(0, ids.reshape(-1)[there].long(), of_entries.reshape(-1, group.width)[there])

        table = store.weights(group).double().requires_grad_()
        rows_of = table[ids.clamp(min=0).long()] * (ids >= 0).unsqueeze(-1)
        exact = (torch.sin(rows_of * 0.7).flatten(1).sum(1) ** 2).sum()
        exact.backward()
        torch.testing.assert_close(summed.double(), table.grad, rtol=1e-4, atol=1e-4)

        def at(moved, ids=ids):
            rows_of = moved[ids.clamp(min=0).long()] * (ids >= 0).unsqueeze(-1)
            return float((torch.sin(rows_of * 0.7).flatten(1).sum(1) ** 2).sum())

        base = table.detach()
        for feature in ids[ids >= 0].unique()[:4].tolist():
            for column in range(min(group.width, 3)):
                h = torch.zeros_like(base)
                h[feature, column] = 1e-5
                expected = (at(base + h) - at(base - h)) / 2e-5
                assert float(summed[feature, column]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("plain", [False, True])
def test_priors_are_estimated_as_the_native_engine_does(plain: bool) -> None:
    """The same weights and accumulators give the same precisions and penalties."""
    model, train = FM(FMSettings(n_factors=5)), random_rows("fixed", 500)
    engine = NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=1)
    engine.prepare(train, seed=0)
    engine.begin_epoch(1)
    engine.step(train, np.arange(500))
    before = [prior.precision for prior in engine._priors]

    statistics = engine._training
    features = drawn_store(model, plain=plain)
    features.start(statistics.counts, {"factors": 0.1, "linear": 1.0})
    specs = model.parameter_specs(N_FEATURES, N_FIELDS)
    priors = {group.name: engine._prior(specs[group.name], statistics) for group in features.groups}
    common = {"dispersion": 1.0, "crowding": engine._crowding}
    of_store = list(priors.values())
    features.set_priors(statistics.field_of, of_store, **common, estimate=False, n_epochs=0)
    (table,) = engine._native.tables
    vector_floats = 8  # record (native/models/factor_table.hpp): 5 factors padded to 8, w, a_w, a_v, d_w, d_v, …
    np.testing.assert_array_equal(table[:, vector_floats], engine.parameters()["linear"])
    place = {"linear": 0, "factors": 1}
    for group in features.groups:
        weights = engine.parameters()[group.name].reshape(N_FEATURES, -1)
        features.weights(group).copy_(torch.from_numpy(weights))
        accumulators = table[:, vector_floats + 1 + place[group.name]].copy()
        features.records[:, group.accumulator] = torch.from_numpy(accumulators)
    features.set_priors(statistics.field_of, of_store, **common, estimate=True, n_epochs=1)
    engine.begin_epoch(2)
    for name, prior, start in zip(engine._feature_parameters(), engine._priors, before, strict=True):
        assert prior.precision != start
        np.testing.assert_allclose(priors[name].precision, prior.precision, rtol=1e-6)
    for group in features.groups:
        penalties = table[:, vector_floats + 3 + place[group.name]]
        np.testing.assert_allclose(features.records[:, group.penalty].numpy(), penalties, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.95])
def test_dropout_masks_have_the_given_rate_and_mean_one(rate: float) -> None:
    from anyfm.core.native import kernels

    masks = [np.empty(200_000, np.float32) for _ in range(3)]
    for mask, seed in zip(masks, (1, 1, 2**63 + 5), strict=True):
        kernels.dropout_mask(mask, rate=rate, seed=seed)
    present = masks[0] > 0
    assert np.unique(masks[0][present]).size == 1
    assert abs(1 - present.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / present.size) + 1e-9
    assert masks[0].mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(masks[0], masks[1])
    if rate > 0:
        other = masks[2] > 0
        assert abs(np.corrcoef(present, other)[0, 1]) < 0.02
        assert abs(np.corrcoef(present[1:], present[:-1])[0, 1]) < 0.02
        assert abs(np.corrcoef(present[64:], present[:-64])[0, 1]) < 0.02
    with pytest.raises(ValueError, match="dropout"):
        kernels.dropout_mask(masks[0], rate=1.0, seed=0)
