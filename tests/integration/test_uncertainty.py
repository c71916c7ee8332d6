"""Standard deviations of logits and draws of them, against definitions in float64 numpy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import ArtifactError, SettingError
from anyfm.core.rows import Rows
from anyfm.datasets.synthetic import ad_clicks
from anyfm.engines.native import NativeEngine
from anyfm.estimators import FMClassifier, FMRegressor
from anyfm.models import MODELS, specification_logits
from tests.integration.command_line import anyfm as run

QUICK = {"search": False, "epochs": 4, "n_threads": 1}
N_FEATURES, N_FIELDS = 12, 3
KERNELS = sorted(name for name, model in MODELS.items() if model.kernel is not None)


def rows_of(n_rows=60, seed=0, *, values=False):
    rng = np.random.default_rng(seed)
    ids = (rng.integers(0, 4, (n_rows, N_FIELDS)) + 4 * np.arange(N_FIELDS)).astype(np.int32)
    y = (rng.random(n_rows) < 0.4).astype(np.float32)
    found = rng.uniform(0.5, 1.5, ids.shape).astype(np.float32) if values else None
    return Rows(ids=ids, values=found, y=y)


def an_engine(name, rows, task="binary", **settings):
    kind = MODELS[name]
    given = {"task": task, "n_factors": 4, "shrinkage": 0.0, **settings}
    known = {key: value for key, value in given.items() if key in kind.settings_type.names()}
    engine = NativeEngine(kind(kind.settings_type(**known)), n_features=N_FEATURES, n_fields=N_FIELDS, n_threads=2)
    engine.prepare(rows, seed=0)
    for epoch in range(1, 4):
        engine.begin_epoch(epoch)
        engine.step(rows, np.random.default_rng(epoch).permutation(rows.n_rows))
    return engine


def mean_squared_derivatives(engine, name, rows):
    """Of each row's logit by the values of each vector, (n_rows, n_features, n_vectors), by central differences."""
    model, parameters = engine.model, {key: array.astype(np.float64) for key, array in engine.parameters().items()}
    spec = model.parameter_specs(N_FEATURES, N_FIELDS)[name]
    flat = parameters[name].reshape(-1)
    derivatives = np.empty((rows.n_rows, flat.size))
    for place in range(flat.size):
        logits = []
        for step in (1e-5, -1e-5):
            kept, flat[place] = flat[place], flat[place] + step
            logits.append(specification_logits(model, parameters, rows))
            flat[place] = kept
        derivatives[:, place] = (logits[0] - logits[1]) / 2e-5
    return (derivatives.reshape(rows.n_rows, N_FEATURES, spec.n_vectors, -1) ** 2).mean(-1)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_deviations_are_prior_and_curvature(name, weighted):
    rows = rows_of(values=True)
    if weighted:
        rows = rows.labelled(rows.y, np.random.default_rng(1).integers(0, 3, rows.n_rows).astype(np.float32))
    engine = an_engine(name, rows)
    p = 1 / (1 + np.exp(-specification_logits(engine.model, engine.parameters(), rows)))
    curvature = p * (1 - p) * (1 if rows.weight is None else rows.weight)
    specs, all_priors = engine.model.parameter_specs(N_FEATURES, N_FIELDS), engine._priors_by_name()
    expected = {}
    for key in engine._feature_parameters():
        information = np.tensordot(curvature, mean_squared_derivatives(engine, key, rows), 1)
        precision = np.stack([prior.precision for prior in all_priors[key]], 1)[np.arange(N_FEATURES) // 4]
        expected[key] = (1 / np.sqrt(precision + information)).reshape(specs[key].deviations_shape)
    found = engine.deviations(rows)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=2e-3)


def test_weight_3_is_three_copies():
    rows = rows_of()
    engine, weighted = an_engine("linear", rows), rows.labelled(rows.y, np.full(rows.n_rows, 3, np.float32))
    state = engine.state()
    threefold = engine.deviations(weighted)["linear"]
    engine.prepare(rows, seed=0)
    engine.load_state(state)
    copies = engine.deviations(rows.take(np.tile(np.arange(rows.n_rows), 3)))["linear"]
    np.testing.assert_allclose(threefold, copies, rtol=1e-5)


def test_a_target_in_other_units_has_deviations_in_those_units():
    rows = rows_of()
    large = rows.labelled(rows.y * np.float32(1024))
    for name, power in (("linear", 1.0), ("factors", 0.5)):
        small = an_engine("fm", rows, "regression").deviations(rows)[name]
        found = an_engine("fm", large, "regression").deviations(large)[name]
        np.testing.assert_allclose(found, small * 1024**power, rtol=1e-4)


def frame_of(synthetic, n):
    table = pl.DataFrame({name: np.asarray(values)[:n].tolist() for name, values in synthetic.columns.items()})
    return table, synthetic.logits[:n]


@pytest.fixture(scope="module")
def clicks():
    return frame_of(ad_clicks(3000, seed=1), 3000)[0]


@pytest.fixture(scope="module")
def model(clicks):
    return anyfm.train(clicks, "click", model="fm", **QUICK)


def test_the_deviation_of_a_linear_logit_is_exact(clicks):
    linear = anyfm.train(clicks, "click", model="linear", **QUICK)
    rows = linear.rows(clicks)
    expected = np.sqrt((linear.artifact.deviations["linear"][rows.ids].astype(np.float64) ** 2).sum(1))
    np.testing.assert_allclose(linear.predict(clicks, return_std=True)[1], expected, rtol=1e-6)


def test_the_deviation_of_an_fm_is_that_of_independent_normal_parameters(model, clicks):
    """Var z = Σ s_w² + Σ_k [Σ_i s_i² (Σ_{j≠i} v_jk)² + Σ_{i<j} s_i² s_j²]."""
    rows = model.rows(clicks.head(500))
    v = model.artifact.parameters["factors"][rows.ids].astype(np.float64)  # (B, S, K)
    w2 = model.artifact.deviations["linear"][rows.ids].astype(np.float64) ** 2
    v2 = model.artifact.deviations["factors"][rows.ids].astype(np.float64)[..., 0] ** 2  # (B, S)
    others = ((v.sum(1, keepdims=True) - v) ** 2).sum(2)
    both = v.shape[2] * (v2.sum(1) ** 2 - (v2**2).sum(1)) / 2
    expected = np.sqrt(w2.sum(1) + (v2 * others).sum(1) + both)
    found = model.predict(rows, return_std=True)[1]
    np.testing.assert_allclose(found, expected, rtol=0.3)
    assert np.mean(found / expected) == pytest.approx(1, abs=0.05)
    drawn = model.sample(rows, 400, seed=1).std(0)
    np.testing.assert_allclose(drawn, expected, rtol=0.2)


def test_new_values_are_less_certain_than_frequent_ones(model, clicks):
    known = clicks.head(50)
    new = known.with_columns(user=pl.lit("nobody"), site=pl.lit("nowhere"))
    assert (model.predict(new, return_std=True)[1] > model.predict(known, return_std=True)[1]).all()


@pytest.mark.parametrize("name", KERNELS)
def test_draws_do_not_depend_on_how_rows_are_asked_for(name, clicks):
    model = anyfm.train(clicks, "click", model=name, **{**QUICK, "epochs": 1})
    few = clicks.head(40)
    drawn = model.sample(few, 3, seed=5)
    assert drawn.shape == (3, 40)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(model.sample(few, 2, seed=5), drawn[:2])
    np.testing.assert_array_equal(model.sample(few[7:9], 3, seed=5), drawn[:, 7:9])
    np.testing.assert_array_equal(
        model.predict(few[7:9], return_std=True)[1], model.predict(few, return_std=True)[1][7:9]
    )
    assert (model.sample(few, 3, seed=6) != drawn).mean() > 0.9


def test_they_are_saved_and_can_be_left_out(model, clicks, tmp_path):
    saved = anyfm.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(saved.predict(clicks, return_std=True)[1], model.predict(clicks, return_std=True)[1])
    without = anyfm.train(clicks, "click", model="fm", uncertainty=False, **QUICK)
    np.testing.assert_array_equal(without.predict(clicks), model.predict(clicks))
    with pytest.raises(SettingError, match="uncertainty=True"):
        without.predict(clicks, return_std=True)
    with pytest.raises(SettingError, match="n must be an integer of at least 1, got n=0"):
        model.sample(clicks, 0, seed=0)
    with pytest.raises(ArtifactError, match="deviations of linear"):
        type(model.artifact)(**{**vars(model.artifact), "deviations": {"linear": np.zeros(3, np.float32)}})


def test_intervals_of_planted_clicks_hold_the_truth():
    table, truth = frame_of(ad_clicks(12_000, seed=3), 12_000)
    model = anyfm.train(table[:10_000], "click", model="fm", search=False, n_threads=2)
    std = model.predict(table[10_000:], return_std=True)[1]
    covered = np.abs(model.logits(table[10_000:]) - truth[10_000:]) < 1.645 * std
    assert 0.7 < covered.mean() < 0.99


def test_the_factor_of_a_regression_comes_from_held_out_rows():
    table, truth = frame_of(ad_clicks(12_000, seed=3), 12_000)
    noise = np.random.default_rng(0).normal(0, 1, 12_000)
    table = table.with_columns(click=pl.Series(100 * (truth + noise)))
    model = anyfm.train(table[:10_000], "click", model="fm", search=False, n_threads=2)
    assert 0.25 <= model.artifact.training["std_factor"] < 1
    predicted, std = model.predict(table[10_000:], return_std=True)
    covered = np.abs(predicted - 100 * truth[10_000:]) < 1.645 * std
    assert 0.7 < covered.mean() < 0.97


def test_estimators_return_deviations(clicks):
    X, y = clicks.drop("click").to_pandas(), clicks["click"].to_numpy()
    classifier = FMClassifier(epochs=2, n_threads=1).fit(X, y)
    logits, std = classifier.decision_function(X, return_std=True)
    np.testing.assert_array_equal(logits, classifier.decision_function(X))
    assert std.shape == logits.shape
    assert (std > 0).all()
    regressor = FMRegressor(epochs=2, n_threads=1).fit(X, y)
    predicted, std = regressor.predict(X, return_std=True)
    np.testing.assert_array_equal(predicted, regressor.predict(X))
    assert (std > 0).all()


def test_the_command_line_writes_them(model, clicks, tmp_path):
    model.save(tmp_path / "model")
    clicks.write_parquet(tmp_path / "clicks.parquet")
    command = (
        "predict",
        tmp_path / "model",
        tmp_path / "clicks.parquet",
        "--std",
        "--out",
        tmp_path / "scores.parquet",
    )
    run(*command, "--keep", "user")
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores.columns == ["user", "probability", "logit", "logit_std"]
    np.testing.assert_array_equal(scores["logit_std"].to_numpy(), model.predict(clicks, return_std=True)[1])
    np.testing.assert_array_equal(scores["logit"].to_numpy(), model.logits(clicks))


def test_a_model_that_torch_trained_has_them(clicks):
    pytest.importorskip("torch")
    model = anyfm.train(clicks, "click", model="fm", engine="torch", **QUICK)
    native = anyfm.train(clicks, "click", model="fm", engine="native", **QUICK)
    ratio = model.predict(clicks, return_std=True)[1] / native.predict(clicks, return_std=True)[1]
    assert 0.8 < np.median(ratio) < 1.25
