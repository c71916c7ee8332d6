"""What the torch engine promises of every model, as the native engine does (tests/contracts/test_engines.py)."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.engines.base import Engine
from anyfm.engines.native import NativeEngine
from anyfm.engines.scorer import NativeScorer
from anyfm.models import (
    AFM,
    FFM,
    FM,
    MODELS,
    AFMSettings,
    BaseModel,
    DeepFM,
    DeepFMSettings,
    FFMSettings,
    FMSettings,
    specification_logits,
)
from tests.contracts.cases import KINDS, N_FEATURES, N_FIELDS, batches, deep_models, rows, torch_models

pytest.importorskip("torch")
engine_module = pytest.importorskip("anyfm.engines.torch")

ALL_MODELS = list(torch_models())
EPS = np.finfo(np.float32).eps


def engine_for(model: BaseModel, *, n_threads: int = 2) -> Engine:
    return engine_module.TorchEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=n_threads)


def trained(model: BaseModel, train: Rows, *, n_threads: int = 2, epochs: int = 2) -> Engine:
    engine = engine_for(model, n_threads=n_threads)
    engine.prepare(train, seed=3)
    for epoch in range(epochs):
        engine.begin_epoch(epoch + 1)
        for order in batches(train.n_rows, 128):
            engine.step(train, order)
    return engine


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_all_five_models_are_tried() -> None:
    assert {model.name for model in torch_models().values()} == set(MODELS)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_logits_equal_the_specification(name: str, kind: str, task: str) -> None:
    """The parameters that leave the engine, in the target's own scale, give the engine's logits."""
    model = torch_models(task)[name]
    engine = trained(model, rows(kind, task=task))
    unseen = rows(kind, seed=1, task=task)
    expected = specification_logits(model, engine.parameters(), unseen)
    # Small perceptrons of trained size: terms of order one, of which a float32 sum has at most 400.
    assert np.abs(engine.logits(unseen) - expected).max() <= 400 * EPS * (1 + np.abs(expected)).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(deep_models()))
def test_the_scorer_that_needs_no_torch_gives_the_same(name: str, kind: str) -> None:
    model = deep_models()[name]
    engine = trained(model, rows(kind))
    scored = rows(kind, seed=1)
    logits = NativeScorer(model, engine.parameters(), n_fields=N_FIELDS, n_threads=2).logits(scored)
    expected = engine.logits(scored)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=400 * EPS * (1 + np.abs(expected)).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_same_bytes_twice(name: str, kind: str) -> None:
    train = rows(kind, weighted=True)
    assert same(trained(torch_models()[name], train).state(), trained(torch_models()[name], train).state())


@pytest.mark.parametrize("name", ALL_MODELS)
def test_state_goes_on_bit_for_bit(name: str) -> None:
    train = rows("values")
    straight = trained(torch_models()[name], train, epochs=4)
    first = trained(torch_models()[name], train, epochs=2)
    resumed = engine_for(torch_models()[name])
    resumed.prepare(rows("values", seed=8, n_rows=train.n_rows), seed=99)
    resumed.prepare(train, seed=99)
    resumed.load_state(first.state())
    for epoch in (3, 4):
        resumed.begin_epoch(epoch)
        for order in batches(train.n_rows, 128):
            resumed.step(train, order)
    assert same(straight.state(), resumed.state())


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", ALL_MODELS)
def test_training_lowers_the_loss(name: str, task: str) -> None:
    train = rows("fixed", 400, task=task)
    engine = engine_for(torch_models(task)[name])
    engine.prepare(train, seed=0)
    losses = []
    for epoch in range(8):
        engine.begin_epoch(epoch + 1)
        losses.append(engine.step(train, np.arange(train.n_rows)))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", ["fm-8", "deepfm-tanh"])
def test_step_returns_the_weighted_loss_before_the_update(name: str, kind: str, task: str) -> None:
    train = rows(kind, 10_000, task=task, weighted=True)  # so large that a batch has more than 64 rows
    engine = engine_for(torch_models(task)[name])
    engine.prepare(train, seed=0)
    first = train.slice(0, 64)
    z = specification_logits(engine.model, engine.parameters(), first)
    assert first.y is not None
    assert first.weight is not None
    loss = np.logaddexp(0, z) - first.y * z if task == "binary" else (z - first.y) ** 2 / 2
    assert engine.step(train, np.arange(64)) == pytest.approx(float(loss @ first.weight), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("n_rows", [60, 5000])
@pytest.mark.parametrize("name", ["fm-8", "deepfm-tanh"])
def test_tables_of_few_values_do_not_diverge(name: str, n_rows: int, task: str) -> None:
    rng = np.random.default_rng(n_rows)
    cells = rng.integers(0, 2, (n_rows, 30))
    y = cells @ rng.normal(size=30)
    y = (y > np.median(y)).astype(float) if task == "binary" else y
    data = Rows(ids=(cells + 2 * np.arange(30)).astype(np.int32), y=y.astype(np.float32))
    engine = engine_module.TorchEngine(torch_models(task)[name], n_features=60, n_fields=30, n_threads=2)
    engine.prepare(data, seed=0)
    for epoch in range(1, 21):
        engine.begin_epoch(epoch)
        loss = engine.step(data, rng.permutation(n_rows)) / n_rows
    assert loss < (0.4 if task == "binary" else 0.1 * float(np.var(y)))


def test_steps_rise_in_the_first_epoch_and_fall_in_every_one() -> None:
    n_rows = 64 * 128  # an epoch has 128 batches
    data = Rows(ids=np.zeros((n_rows, 1), np.int32), y=np.zeros(n_rows, np.float32))
    engine = engine_module.TorchEngine(MODELS["linear"](), n_features=1, n_fields=1, n_threads=1)
    engine.prepare(data, seed=0)
    shares: list[float] = []
    train = engine._train

    def noting(*arguments: object, share: float) -> object:
        shares.append(share)
        return train(*arguments, share=share)

    engine._train = noting
    for epoch in (1, 2):
        engine.begin_epoch(epoch)
        engine.step(data, np.arange(n_rows))
    batch = np.arange(128) / 128
    falling = np.minimum(1, 2 * (1 - batch))
    np.testing.assert_allclose(shares[:128], np.minimum(falling, 2 * (batch + 1 / 128)))
    np.testing.assert_allclose(shares[128:], falling)


@pytest.mark.parametrize("name", ["linear", "fm-8", "ffm-4"])
def test_it_learns_what_the_native_engine_learns(name: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (N_FEATURES, N_FEATURES))

    def table(n_rows: int) -> Rows:
        ids = rng.integers(0, 7, (n_rows, N_FIELDS)) + 7 * np.arange(N_FIELDS)
        logit = truth[ids[:, 0], ids[:, 1]] + truth[ids[:, 2], ids[:, 3]]
        return Rows(ids=ids.astype(np.int32), y=(rng.random(n_rows) < 1 / (1 + np.exp(-logit))).astype(np.float32))

    train, test = table(20_000), table(5000)
    losses = []
    for kind in (NativeEngine, engine_module.TorchEngine):
        engine = kind(torch_models()[name], n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
        engine.prepare(train, seed=0)
        for epoch in range(1, 11):
            engine.begin_epoch(epoch)
            engine.step(train, rng.permutation(train.n_rows))
        z, y = engine.logits(test).astype(float), test.y
        losses.append(float(np.mean(np.logaddexp(0, z) - y * z)))
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_rows_of_weight_zero_teach_nothing(name: str, kind: str) -> None:
    train = rows(kind, 128)
    weight = np.ones(128, np.float32)
    weight[64:] = 0
    assert train.y is not None
    data = train.labelled(train.y, weight)
    engine = engine_for(torch_models()[name])
    engine.prepare(data, seed=0)
    before = engine.parameters()
    assert engine.step(data, np.arange(64, 128)) == 0
    assert same(before, engine.parameters())


def test_deepfm_without_hidden_layers_trains_as_fm() -> None:
    train = rows("fixed")
    fm = trained(FM(FMSettings(learning_rate=0.4)), train).parameters()
    deep = trained(deep_models()["deepfm-none"], train).parameters()
    assert deep_models()["deepfm-none"].settings.learning_rate == 0.4
    assert same(fm, deep)


def test_deepfm_starts_as_fm() -> None:
    train = rows("fixed")
    fm, deep = engine_for(FM(FMSettings())), engine_for(deep_models()["deepfm"])
    for engine in (fm, deep):
        engine.prepare(train, seed=0)
    np.testing.assert_allclose(deep.logits(train), fm.logits(train), rtol=1e-6)
    assert all(np.array_equal(fm.parameters()[name], deep.parameters()[name]) for name in fm.parameters())


def test_a_feature_never_trained_has_no_factors() -> None:
    train = rows("fixed")
    spared = Rows(ids=np.where(train.ids == 3, 4, train.ids).astype(np.int32), y=train.y)
    parameters = trained(torch_models()["deepfm-tanh"], spared).parameters()
    assert not parameters["factors"][3].any()
    assert parameters["factors"][4].any()


def test_fixed_and_ragged_forms_of_the_same_rows_train_alike() -> None:
    fixed = rows("values")
    assert fixed.values is not None
    offsets = np.arange(fixed.n_rows + 1, dtype=np.int64) * N_FIELDS
    fields = np.tile(np.arange(N_FIELDS, dtype=np.int32), fixed.n_rows)
    ragged = Rows(ids=fixed.ids.reshape(-1), offsets=offsets, values=fixed.values.reshape(-1), fields=fields, y=fixed.y)
    model = torch_models()["deepfm-sigmoid"]
    a, b = (trained(model, data).parameters() for data in (fixed, ragged))
    assert same(a, b)


@pytest.mark.parametrize(
    "model",
    [AFM(AFMSettings(n_factors=4, attention_factors=3, dropout=0.0)), FFM(FFMSettings(n_factors=4))],
    ids=lambda model: model.name,
)
def test_a_batch_in_pieces_trains_as_a_whole(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    train = rows("ragged-values")
    whole = trained(model, train).parameters()
    monkeypatch.setattr(engine_module, "_FLOATS", 1)  # a row at a time
    pieces = trained(model, train).parameters()
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["deepfm", "deepfm-norm"])
def test_mixed_precision_learns_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train = rows("fixed", 2000)
    z, losses = [], []
    for mixed in (False, True):
        monkeypatch.setattr(engine_module, "_mixed", lambda *_, mixed=mixed: mixed)
        engine = trained(deep_models()[name], train, epochs=3)
        assert all(array.dtype == np.float32 for array in engine.parameters().values())
        z.append(engine.logits(train).astype(float))
        losses.append(float(np.mean(np.logaddexp(0, z[-1]) - train.y * z[-1])))
    assert np.abs(z[0] - z[1]).max() > 0
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("bad", [-1, N_FEATURES, 2**31 - 1])
def test_ids_out_of_bounds_name_their_row(bad: int) -> None:
    data = rows("fixed", 10)
    data.ids[6, 2] = bad
    engine = engine_for(torch_models()["deepfm-1"])
    with pytest.raises(InputError, match=rf"row 7.*{bad}"):
        engine.logits(data)
    engine.prepare(rows("fixed", 10), seed=0)
    with pytest.raises(InputError, match=rf"row 7.*{bad}"):
        engine.step(data, np.arange(10))


@pytest.mark.parametrize("bad", [-1, N_FIELDS])
def test_fields_out_of_bounds_are_refused(bad: int) -> None:
    data = rows("ragged", 10)
    assert data.fields is not None
    data.fields[3] = bad
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*row .*{bad}"):
        engine_for(torch_models()["deepfm-1"]).logits(data)


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(SettingError, match="libffm"):
        engine_for(FFM(FFMSettings(optimizer="libffm")))
    with pytest.raises(SettingError, match=r"device must be .*nowhere"):
        engine_module.TorchEngine(FM(), n_features=3, n_fields=1, device="nowhere")
    engine = engine_for(FM())
    with pytest.raises(SettingError, match="prepared"):
        engine.step(rows("fixed"), np.arange(3))
    with pytest.raises(SettingError, match="target"):
        engine.prepare(Rows(ids=np.zeros((3, 2), np.int32)), seed=0)
    with pytest.raises(SettingError, match="records must have shape"):
        engine.load_state(trained(torch_models()["linear"], rows("fixed")).state())


def test_no_rows_no_logits() -> None:
    engine = engine_for(torch_models()["deepfm-norm"])
    assert engine.logits(Rows(ids=np.zeros((0, N_FIELDS), np.int32))).shape == (0,)
    empty = Rows(ids=np.zeros(0, np.int32), offsets=np.zeros(3, np.int64), fields=np.zeros(0, np.int32))
    np.testing.assert_array_equal(engine.logits(empty), np.zeros(2, np.float32))


def test_the_threads_of_others_stay_as_they_are() -> None:
    import torch

    before = torch.get_num_threads()
    trained(torch_models()["deepfm-1"], rows("fixed"), n_threads=before + 1)
    assert torch.get_num_threads() == before


def test_rare_features_feel_less_of_the_perceptron() -> None:
    """The share is n / (n + shrinkage) of a feature with n occurrences; at 0 all features feel all of it."""
    train, moved = rows("fixed", 400), {}
    for trust in (0.0, 50.0, 1e12):
        model = DeepFM(DeepFMSettings(hidden_layer_sizes=(8,), dropout=0.0, shrinkage=trust, learning_rate=1e-6))
        engine = engine_for(model)
        engine.prepare(train, seed=0)
        for _ in range(20):  # the output leaves zero
            engine.step(train, np.arange(400))
        before = engine.state()["records"]
        engine.step(train, np.arange(400))
        moved[trust] = (engine.state()["records"] - before)[:, 17]  # accumulators of the factors
    assert moved[1e12].max() < moved[50.0].max() < moved[0.0].max()
