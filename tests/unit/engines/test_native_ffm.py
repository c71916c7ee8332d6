"""The native engine's field-aware factorization machine: groups of fields, libffm's rule, its threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.engines.native import NativeEngine
from anyfm.engines.scorer import NativeScorer
from anyfm.models import FFM, FFMSettings, specification_logits
from tests.contracts.cases import finite_differences, rounding_bound
from tests.contracts.pairwise import pairwise
from tests.random_rows import as_ragged, random_parameters, random_rows

FIELD_SIZE = 4


def rows_of(kind: str, n_fields: int, n_rows: int = 60) -> Rows:
    return random_rows(kind, n_rows, n_fields=n_fields, field_size=FIELD_SIZE)


def engine_on(rows: Rows, n_fields: int, *, n_threads: int = 2, **changes: object) -> NativeEngine:
    model = FFM(FFMSettings(**changes))
    engine = NativeEngine(model, n_features=n_fields * FIELD_SIZE, n_fields=n_fields, n_threads=n_threads)
    engine.prepare(rows, seed=1)
    return engine


def trained(rows: Rows, n_fields: int, *, epochs: int = 3, **changes: object) -> NativeEngine:
    engine = engine_on(rows, n_fields, **changes)
    for epoch in range(epochs):
        engine.begin_epoch(epoch + 1)
        engine.step(rows, np.random.default_rng(epoch).permutation(rows.n_rows))
    return engine


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["values", "ragged-values"]),
    n_fields=st.integers(1, 40),
    n_factors=st.integers(1, 20),
    normalize=st.booleans(),
)
def test_scores_equal_the_specification(kind: str, n_fields: int, n_factors: int, normalize: bool) -> None:
    rows, model = rows_of(kind, n_fields, 12), FFM(FFMSettings(n_factors=n_factors, normalize=normalize))
    sizes = {"n_features": n_fields * FIELD_SIZE, "n_fields": n_fields}
    parameters = random_parameters(model, **sizes, deviation=0.3, dtype=np.float32)
    expected = specification_logits(model, parameters, rows)
    logits = NativeScorer(model, parameters, n_fields=n_fields, n_threads=1).logits(rows)
    assert (np.abs(logits - expected) <= rounding_bound(model, parameters, rows, n_fields=n_fields)).all()


@pytest.mark.parametrize(
    ("optimizer", "kind", "n_factors"),
    pairwise(("adagrad", "libffm"), ("fixed", "values", "ragged-values"), (3, 8, 13)),
)
def test_gradients_agree_with_finite_differences(kind: str, optimizer: str, n_factors: int) -> None:
    n_fields = 9  # three groups, the last not full
    rows = rows_of(kind, n_fields)
    lengths = np.full(rows.n_rows, n_fields) if rows.offsets is None else np.diff(rows.offsets)
    chosen = int(np.argmax(lengths))
    row = rows.slice(chosen, chosen + 1)
    if row.is_ragged:  # a feature takes a step for each of its entries: keep one of each
        first = np.unique(row.ids, return_index=True)[1]
        assert row.values is not None
        assert row.fields is not None
        row = Rows(
            ids=row.ids[first],
            offsets=np.array([0, len(first)]),
            values=row.values[first],
            fields=row.fields[first],
            y=row.y,
        )
    engine = engine_on(
        row, n_fields, n_factors=n_factors, l2_linear=0.0, l2_factors=0.0, init_scale=5.0, optimizer=optimizer
    )
    before = engine.parameters()
    engine.step(row, np.zeros(1, np.int64))
    moved = engine.parameters()["field_factors"].astype(np.float64) - before["field_factors"]

    gradient = finite_differences(engine.model, before, row, "field_factors")
    squares = gradient**2 if optimizer == "libffm" else (gradient**2).mean(axis=2, keepdims=True)
    start = 1.0 if optimizer == "libffm" else 0.1
    expected = -engine._learning_rate * gradient / np.sqrt(start + squares)
    np.testing.assert_allclose(moved, expected, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("optimizer", ["adagrad", "libffm"])
@pytest.mark.parametrize("kind", ["fixed", "values"])
def test_fixed_and_ragged_forms_train_alike(kind: str, optimizer: str) -> None:
    rows = rows_of(kind, 18)
    fixed, ragged = (
        trained(form, 18, optimizer=optimizer, l2_factors=0.01).parameters() for form in (rows, as_ragged(rows))
    )
    own = np.arange(18).repeat(FIELD_SIZE)
    for parameters in (fixed, ragged):  # no pair uses a feature's vector toward its own field
        parameters["field_factors"][np.arange(len(own)), own] = 0
    for name in fixed:
        np.testing.assert_allclose(ragged[name], fixed[name], rtol=1e-4, atol=1e-5)


def test_fields_may_stand_in_any_slot() -> None:
    rows = rows_of("values", 7)
    assert rows.values is not None
    rolled = np.roll(np.arange(7, dtype=np.int32), 3)
    shuffled = replace(
        rows,
        ids=np.ascontiguousarray(rows.ids[:, rolled]),
        values=np.ascontiguousarray(rows.values[:, rolled]),
        fields=rolled,
    )
    a, b = (trained(form, 7).parameters() for form in (rows, shuffled))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("n_fields", [3, 9, 20, 39])
@pytest.mark.parametrize("kind", ["fixed", "ragged-values", "shared"])
def test_same_bytes_on_any_number_of_threads(kind: str, n_fields: int) -> None:
    rows = rows_of(kind, n_fields)
    states = [trained(rows, n_fields, n_threads=n).state() for n in (1, 2, 3, 8)]
    for other in states[1:]:
        assert all(states[0][name].tobytes() == other[name].tobytes() for name in other)


def libffm_by_rows(factors: np.ndarray, rows: Rows, *, rate: float, penalty: float) -> np.ndarray:
    """libffm's training of one epoch in the order of the rows, in float64."""
    w, sums = factors.astype(np.float64), np.ones(factors.shape)
    assert rows.y is not None
    for ids, y in zip(rows.ids, rows.y, strict=True):
        n = len(ids)
        pairs = [(ids[p], q, ids[q], p) for p in range(n) for q in range(p + 1, n)]
        z = sum(w[i, g] @ w[j, f] for i, g, j, f in pairs) / n
        grad_logit = (1 / (1 + np.exp(-z)) - y) / n
        for i, g, j, f in pairs:
            toward = penalty * w[i, g] + grad_logit * w[j, f], penalty * w[j, f] + grad_logit * w[i, g]
            for at, gradient in zip(((i, g), (j, f)), toward, strict=True):
                sums[at] += gradient**2
                w[at] -= rate * gradient / np.sqrt(sums[at])
    return w


def test_preset_trains_as_libffm() -> None:
    rows = rows_of("fixed", 6, 80)
    engine = engine_on(rows, 6, **{**FFM.presets["libffm"], "l2_factors": 0.02})
    start = engine.parameters()
    assert start["field_factors"].min() >= 0
    assert start["field_factors"].max() <= 0.5
    for i in range(rows.n_rows):
        engine.step(rows, np.array([i]))
    end = engine.parameters()
    expected = libffm_by_rows(start["field_factors"], rows, rate=0.2, penalty=0.02)
    np.testing.assert_allclose(end["field_factors"], expected, rtol=2e-3, atol=2e-4)
    assert np.abs(expected - start["field_factors"]).max() > 0.1
    assert not end["bias"].any()
    assert not end["linear"].any()


def test_small_weights_become_zero_instead_of_denormal() -> None:
    rows = rows_of("fixed", 5, 200)
    factors = trained(rows, 5, epochs=60, l2_factors=1e4).parameters()["field_factors"]
    assert not ((factors != 0) & (np.abs(factors) < np.finfo(np.float32).tiny)).any()


def test_vectors_that_no_pair_uses_start_at_zero() -> None:
    rows = rows_of("fixed", 4)
    without_5 = replace(rows, ids=np.where(rows.ids == 5, 6, rows.ids).astype(np.int32))
    factors = engine_on(without_5, 4).parameters()["field_factors"]
    field = np.arange(16) // FIELD_SIZE
    assert not factors[5].any()
    assert not factors[np.arange(16), field].any()
    assert factors[4, 0].any()


@pytest.mark.parametrize("bad", [-1, 3, 2**31 - 1])
def test_a_field_out_of_bounds_is_named(bad: int) -> None:
    rows = rows_of("fixed", 3, 5)
    engine = engine_on(rows, 3)
    with pytest.raises(InputError, match=rf"0 … 2.*{bad}"):
        engine.logits(replace(rows, fields=np.array([0, 1, bad], np.int32)))
    ragged = as_ragged(rows)
    assert ragged.fields is not None
    ragged.fields[7] = bad
    with pytest.raises(InputError, match=rf"row 3.*{bad}"):
        engine.step(ragged, np.arange(5))
    scorer = NativeScorer(engine.model, engine.parameters(), n_fields=3)
    with pytest.raises(InputError, match=str(bad)):
        scorer.logit(rows.ids[0], fields=np.array([0, bad, 2], np.int32))


def test_a_row_longer_than_the_fields_is_refused() -> None:
    engine = engine_on(rows_of("fixed", 3), 3)
    with pytest.raises(InputError, match="0 … 2"):
        engine.logits(Rows(ids=np.zeros((2, 4), np.int32)))
