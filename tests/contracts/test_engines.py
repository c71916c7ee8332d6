"""What every engine promises of every model it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.engines.base import Engine
from anyfm.engines.native import NativeEngine
from anyfm.engines.registry import make_engine
from anyfm.engines.scorer import NativeScorer
from anyfm.models import AFM, FM, AFMSettings, BaseModel, DeepFM, DeepFMSettings, FMSettings, specification_logits

from .cases import KINDS, N_FEATURES, N_FIELDS, batches, models, rows

ALL_MODELS = list(models())
RELATIVE = 64 * np.finfo(np.float32).eps  # a sum of at most 64 terms in float32


def engine_for(model: BaseModel, *, n_threads: int = 2) -> Engine:
    return NativeEngine(model, n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=n_threads)


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_logits_equal_the_specification(name: str, kind: str) -> None:
    model = models()[name]
    engine = trained(model, rows(kind))
    unseen_by_training = rows(kind, seed=1)
    expected = specification_logits(model, engine.parameters(), unseen_by_training)
    scale = 1 + np.abs(expected)
    assert np.abs(engine.logits(unseen_by_training) - expected).max() <= RELATIVE * scale.max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_scorer_gives_the_engine_s_logits(name: str, kind: str) -> None:
    model = models()[name]
    engine = trained(model, rows(kind))
    scored = rows(kind, seed=1)
    scorer = NativeScorer(model, engine.parameters(), n_fields=N_FIELDS, n_threads=2)
    logits = engine.logits(scored)
    np.testing.assert_allclose(scorer.logits(scored), logits, rtol=1e-5, atol=1e-5)
    for i in range(5):
        row = scored.slice(i, i + 1)
        one = scorer.logit(row.ids.reshape(-1), None if row.values is None else row.values.reshape(-1), row.fields)
        np.testing.assert_allclose(one, logits[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_same_bytes_on_any_number_of_threads_and_twice(name: str, kind: str) -> None:
    train = rows(kind, weighted=True)
    states = [trained(models()[name], train, n_threads=n).state() for n in (1, 2, 2, 3)]
    assert all(same(states[0], other) for other in states[1:])


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", ALL_MODELS)
def test_training_lowers_the_loss(name: str, task: str) -> None:
    train = rows("fixed", 400, task=task)
    model = models(task)[name]
    engine = engine_for(model)
    engine.prepare(train, seed=0)
    order = np.arange(train.n_rows)
    losses = []
    for epoch in range(8):
        engine.begin_epoch(epoch + 1)
        losses.append(engine.step(train, order))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_step_returns_the_weighted_loss_before_the_update(kind: str, task: str) -> None:
    train = rows(kind, 4096, task=task, weighted=True)  # large enough for blocks of 64 rows
    engine = engine_for(models(task)["fm-4"])
    engine.prepare(train, seed=0)
    first = train.slice(0, 64)
    z = specification_logits(engine.model, engine.parameters(), first)
    assert first.y is not None
    assert first.weight is not None
    loss = np.logaddexp(0, z) - first.y * z if task == "binary" else (z - first.y) ** 2 / 2
    assert engine.step(train, np.arange(64)) == pytest.approx(float(loss @ first.weight), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("n_rows", [60, 300, 5000])
@pytest.mark.parametrize("n_values", [2, 4])
def test_tables_of_few_values_do_not_diverge(n_values: int, n_rows: int, task: str) -> None:
    """Every feature stands in most rows of a block, so that a block's steps pile up on the same logits."""
    rng = np.random.default_rng(n_rows)
    cells = rng.integers(0, n_values, (n_rows, 30))
    y = cells @ rng.normal(size=30)
    y = (y > np.median(y)).astype(float) if task == "binary" else y
    data = Rows(ids=(cells + n_values * np.arange(30)).astype(np.int32), y=y.astype(np.float32))
    engine = NativeEngine(models(task)["fm-8"], n_features=30 * n_values, n_fields=30, n_threads=2)
    engine.prepare(data, seed=0)
    for epoch in range(1, 21):
        engine.begin_epoch(epoch)
        loss = engine.step(data, rng.permutation(n_rows)) / n_rows
    assert loss < (0.4 if task == "binary" else 0.1 * float(np.var(y)))


@pytest.mark.parametrize("name", ALL_MODELS)
def test_state_goes_on_bit_for_bit(name: str) -> None:
    train = rows("values")
    straight = trained(models()[name], train, epochs=4)
    first = trained(models()[name], train, epochs=2)
    resumed = engine_for(models()[name], n_threads=1)
    resumed.prepare(train, seed=99)
    resumed.load_state(first.state())
    for epoch in (3, 4):
        resumed.begin_epoch(epoch)
        for order in batches(train.n_rows, 128):
            resumed.step(train, order)
    assert same(straight.state(), resumed.state())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_rows_of_weight_zero_teach_nothing(name: str, kind: str) -> None:
    train = rows(kind, 128)
    weight = np.ones(128, np.float32)
    weight[64:] = 0
    assert train.y is not None
    data = train.labelled(train.y, weight)
    engine = engine_for(models()[name])
    engine.prepare(data, seed=0)
    before = engine.parameters()
    assert engine.step(data, np.arange(64, 128)) == 0
    assert same(before, engine.parameters())


@pytest.mark.parametrize("kind", ["native", "torch"])
def test_afm_starts_as_fm(kind: str) -> None:
    """Where rows are of one length: equal attention, and a projection that undoes the division."""
    train = rows("fixed", 300)
    assert train.y is not None
    if kind == "torch":
        pytest.importorskip("torch")
    made = {
        model.name: make_engine(model, engine=kind, n_features=N_FEATURES, n_fields=N_FIELDS)
        for model in (FM(FMSettings(init_scale=5)), AFM(AFMSettings(init_scale=5)))
    }
    for engine in made.values():
        engine.prepare(train, seed=4)
    factors = [engine.parameters()["factors"] for engine in made.values()]
    np.testing.assert_array_equal(*factors)
    np.testing.assert_allclose(made["afm"].logits(train), made["fm"].logits(train), rtol=1e-5, atol=1e-5)
    assert np.ptp(made["fm"].logits(train)) > 0.01


@pytest.mark.parametrize(
    ("model", "numbers", "last"),
    [
        (AFM(AFMSettings(n_factors=8, attention_factors=17, dropout=0.0)), "dense", (0, slice(-25, -8))),
        (
            DeepFM(DeepFMSettings(hidden_layer_sizes=(9, 4), activation="tanh", dropout=0.0)),
            "perceptron_values",
            slice(-4, None),
        ),
    ],
    ids=["attention", "perceptron"],
)
def test_weight_three_is_three_copies_to_a_network(model: BaseModel, numbers: str, last: Any) -> None:
    """To Adam's moments: no dropout, which falls on every copy in another way; and an output, `last` among the numbers,
    without which what lies below has no gradient."""
    once = rows("values", 4096)  # large enough for blocks of many rows
    assert once.y is not None
    assert once.values is not None
    first = np.array([0, 0, 0, *range(3, 4096)])
    copies = Rows(ids=once.ids[first], values=once.values[first], y=once.y[first])
    weighted = once.labelled(once.y, np.where(np.arange(4096) == 0, 3, 1).astype(np.float32))
    moments = []
    for data, order in ((weighted, [0, 5]), (copies, [0, 1, 2, 5])):
        engine = engine_for(model)
        engine.prepare(once, seed=1)
        state = engine.state()
        state[numbers][last] = 0.5
        engine.load_state(state)
        engine.step(data, np.array(order))
        state = engine.state()
        moments.append(state["dense"][1] if numbers == "dense" else state["perceptron_first"])
    assert (moments[0] != 0).mean() > 0.5
    np.testing.assert_allclose(*moments, rtol=1e-4, atol=1e-5 * np.abs(moments[0]).max())


def test_fixed_and_ragged_forms_of_the_same_rows_train_alike() -> None:
    fixed = rows("values")
    assert fixed.values is not None
    offsets = np.arange(fixed.n_rows + 1, dtype=np.int64) * N_FIELDS
    fields = np.tile(np.arange(N_FIELDS, dtype=np.int32), fixed.n_rows)
    ragged = Rows(ids=fixed.ids.reshape(-1), offsets=offsets, values=fixed.values.reshape(-1), fields=fields, y=fixed.y)
    model = models()["fm-8"]
    a, b = (trained(model, data).parameters() for data in (fixed, ragged))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_values_of_one_are_the_same_as_none() -> None:
    plain = rows("fixed")
    ones = Rows(ids=plain.ids, values=np.ones(plain.ids.shape, np.float32), y=plain.y)
    a, b = (trained(models()["fm-8"], data).parameters() for data in (plain, ones))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_a_feature_never_trained_has_no_factors() -> None:
    train = rows("fixed")
    spared = Rows(ids=np.where(train.ids == 3, 4, train.ids).astype(np.int32), y=train.y)
    parameters = trained(models()["fm-8"], spared).parameters()
    assert not parameters["factors"][3].any()
    assert parameters["factors"][4].any()


@pytest.mark.parametrize("bad", [-1, N_FEATURES, 2**31 - 1])
def test_ids_out_of_bounds_name_their_row(bad: int) -> None:
    data = rows("fixed", 10)
    data.ids[6, 2] = bad
    engine = engine_for(models()["fm-4"])
    with pytest.raises(InputError, match=rf"row 7.*{bad}"):
        engine.logits(data)


@pytest.mark.parametrize("bad", [-1, N_FIELDS])
def test_fields_out_of_bounds_are_refused(bad: int) -> None:
    model = models()["ffm-4"]
    engine = trained(model, rows("ragged"))
    data = rows("ragged", 10)
    assert data.fields is not None
    data.fields[3] = bad
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*row .*{bad}"):
        engine.logits(data)
    scorer = NativeScorer(model, engine.parameters(), n_fields=N_FIELDS)
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*{bad}"):
        scorer.logit(data.ids[:5], None, data.fields[:5])


def test_ragged_rows_of_ffm_must_name_their_fields() -> None:
    data = rows("ragged", 10)
    nameless = Rows(ids=data.ids, offsets=data.offsets, y=data.y)
    with pytest.raises(SettingError, match="state a field per entry"):
        trained(models()["ffm-4"], rows("ragged")).logits(nameless)


def test_rows_without_a_target_cannot_train() -> None:
    data = Rows(ids=np.zeros((3, 2), np.int32))
    with pytest.raises(SettingError, match="target"):
        engine_for(models()["fm-4"]).prepare(data, seed=0)


def test_no_rows_no_logits() -> None:
    engine = engine_for(models()["fm-4"])
    assert engine.logits(Rows(ids=np.zeros((0, 3), np.int32))).shape == (0,)
    empty = Rows(ids=np.zeros(0, np.int32), offsets=np.zeros(3, np.int64))
    np.testing.assert_array_equal(engine.logits(empty), np.zeros(2, np.float32))
