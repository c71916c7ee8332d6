"""The engine that averages samples of a factorization machine's posterior."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import SettingError
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.gibbs import GibbsEngine, _Average
from anyfm.engines.native import NativeEngine
from anyfm.engines.registry import check_engine
from anyfm.models import FM, FMSettings, specification_logits
from anyfm.training import loop
from anyfm.training.checkpoint import Checkpointer, resume_from
from tests.random_rows import KINDS, N_FEATURES, N_FIELDS, random_rows

MODEL = FM(FMSettings(task="regression", optimizer="gibbs", n_factors=4))


def engine_of(model: FM = MODEL, *, n_threads: int = 1, n_features: int = N_FEATURES, n_fields: int = N_FIELDS):
    return GibbsEngine(model, n_features=n_features, n_fields=n_fields, n_threads=n_threads)


def ratings(n_rows: int, *, seed: int, n_users: int = 60, n_items: int = 40, noise: float = 0.5) -> Rows:
    """Users and items with effects of their own and a crossed effect of rank 3; the same truth for every seed."""
    truth, rng = np.random.default_rng(7), np.random.default_rng(seed)
    of_user, of_item = truth.normal(0, 0.5, n_users), truth.normal(0, 0.5, n_items)
    crossed = truth.normal(0, 0.8, (n_users, 3)) @ truth.normal(0, 0.8, (3, n_items))
    user, item = rng.integers(0, n_users, n_rows), rng.integers(0, n_items, n_rows)
    y = 3 + of_user[user] + of_item[item] + crossed[user, item] + rng.normal(0, noise, n_rows)
    return Rows(ids=np.stack([user, n_users + item], 1).astype(np.int32), y=y.astype(np.float32))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_change_a_bit(kind: str, weighted: bool) -> None:
    rows = random_rows(kind, seed=1, task="regression", weighted=weighted)
    found = []
    for n_threads in (1, 2, 3):
        engine = engine_of(n_threads=n_threads)
        loop.fit(engine, rows, settings=TrainingSettings(epochs=2))
        found.append(engine.parameters())
    for name, array in found[0].items():
        assert all(array.tobytes() == other[name].tobytes() for other in found[1:])


def test_weights_of_one_field_have_the_posterior_mean() -> None:
    """Without pairs the posterior of 5 means is known: nearly the mean target of each feature's many rows."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, (4000, 1)).astype(np.int32)
    y = (np.array([-2.0, 0, 1, 3, 7])[ids[:, 0]] + rng.normal(0, 1, 4000)).astype(np.float32)
    engine = engine_of(n_features=5, n_fields=1)
    loop.fit(engine, Rows(ids=ids, y=y), settings=TrainingSettings(epochs=20))
    parameters = engine.parameters()
    means = [y[ids[:, 0] == i].mean() for i in range(5)]
    np.testing.assert_allclose(parameters["bias"][0] + parameters["linear"], means, atol=0.03)


def test_weights_of_rows_count_as_copies() -> None:
    rows = ratings(1500, seed=1)
    weight = np.random.default_rng(3).integers(0, 4, rows.n_rows).astype(np.float32)
    copies = rows.take(np.repeat(np.arange(rows.n_rows), weight.astype(np.int64)))
    logits = []
    for given in (rows.labelled(rows.y, weight), copies):
        engine = engine_of(n_features=100, n_fields=2)
        loop.fit(engine, given, settings=TrainingSettings(epochs=30))
        logits.append(engine.logits(ratings(500, seed=2)))
    assert np.sqrt(np.mean((logits[0] - logits[1]) ** 2)) < 0.05 * logits[0].std()


def test_it_is_ahead_of_adagrad_on_sparse_ratings_and_near_the_noise() -> None:
    train, test = ratings(1500, seed=1), ratings(2000, seed=2)
    errors = {}
    for name, engine in {
        "gibbs": engine_of(n_features=100, n_fields=2),
        "adagrad": NativeEngine(FM(FMSettings(task="regression", n_factors=4)), n_features=100, n_fields=2),
    }.items():
        loop.fit(engine, train, test, TrainingSettings(epochs=60))
        errors[name] = loop.evaluate(engine, test)["rmse"]
    assert errors["gibbs"] < errors["adagrad"]
    assert errors["gibbs"] < 1.16 * 0.5


def test_units_of_the_target_do_not_matter() -> None:
    rows = ratings(800, seed=1)
    scaled = rows.labelled(rows.y * np.float32(1e6) + np.float32(3e7))
    logits = []
    for given in (rows, scaled):
        engine = engine_of(n_features=100, n_fields=2)
        loop.fit(engine, given, settings=TrainingSettings(epochs=3))
        logits.append(engine.logits(rows).astype(np.float64))
    np.testing.assert_allclose((logits[1] - 3e7) / 1e6, logits[0], atol=0.05)


def test_resumed_training_gives_the_same_bits(tmp_path) -> None:
    train, valid = ratings(800, seed=1), ratings(300, seed=2)
    whole, first, second = (engine_of(n_features=100, n_fields=2) for _ in range(3))
    loop.fit(whole, train, valid, TrainingSettings(epochs=6))
    loop.fit(first, train, valid, TrainingSettings(epochs=2), callbacks=[Checkpointer(tmp_path, trials=[])])
    loop.fit(second, train, valid, TrainingSettings(epochs=6), resume=resume_from(tmp_path))
    for name, array in whole.parameters().items():
        assert array.tobytes() == second.parameters()[name].tobytes()


def test_the_mean_of_machines_is_a_machine() -> None:
    rng = np.random.default_rng(0)
    rows, model = random_rows("ragged-values", seed=3), FM(FMSettings(n_factors=12))
    average, logits, weights = _Average(N_FEATURES, 12), [], (1.0, 2.0, 5.0)
    for weight in weights:
        bias, linear = 0.5 * weight, rng.normal(size=N_FEATURES).astype(np.float32)
        factors = rng.normal(size=(4, N_FEATURES)).astype(np.float32)
        average.add(bias, linear, factors, weight=weight)
        own = {"bias": np.array([bias]), "linear": linear, "factors": factors.T}
        logits.append(specification_logits(FM(FMSettings(n_factors=4)), own, rows))
    bias, linear, factors = average.parameters()
    mean = specification_logits(model, {"bias": np.array([bias]), "linear": linear, "factors": factors}, rows)
    np.testing.assert_allclose(mean, np.average(logits, axis=0, weights=weights), atol=1e-4)


def test_what_it_does_not_do_is_said() -> None:
    with pytest.raises(SettingError, match="optimizer='gibbs' is for regression, got task='binary'"):
        FM(FMSettings(optimizer="gibbs"))
    with pytest.raises(SettingError, match=r"learning_rate is of optimizer='adagrad'.*got learning_rate=0\.1"):
        FM(FMSettings(task="regression", optimizer="gibbs", learning_rate=0.1))
    with pytest.raises(SettingError, match="is trained by gibbs, got engine='native'"):
        check_engine(MODEL, engine="native")
    with pytest.raises(SettingError, match="got engine='torch'"):
        check_engine(MODEL, device="cuda")


def test_a_search_tries_it_in_regression_only() -> None:
    tried = {"optimizer": "gibbs"}
    assert tried in FM(FMSettings(task="regression")).candidates(2)
    assert tried not in FM(FMSettings()).candidates(2)
    assert tried not in FM(FMSettings(task="regression", l2_factors=3.0)).candidates(2)
