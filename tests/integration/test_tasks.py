"""Tasks end to end: numbers within the range of training, counts, weights of classes."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import InputError, SettingError
from anyfm.core.task import TASKS
from anyfm.estimators import FMClassifier, FMRegressor
from anyfm.models import MODELS
from tests.integration.command_line import anyfm as run

QUICK = {"search": False, "epochs": 20, "n_threads": 1}


@pytest.fixture(scope="module")
def ratings():
    """Stars from 1 to 5 that a sum of effects over- and undershoots."""
    rng = np.random.default_rng(0)
    user, film = rng.integers(0, 20, 3000), rng.integers(0, 20, 3000)
    stars = np.clip(np.round(3 + (user - 10) / 4 + (film - 10) / 4), 1, 5)
    return pl.DataFrame({"user": [f"u{i}" for i in user], "film": [f"f{i}" for i in film], "stars": stars})


def test_predictions_stay_within_the_training_targets_and_logits_do_not(ratings, tmp_path):
    model = anyfm.train(ratings, "stars", model="linear", **QUICK)
    logits, predictions = model.logits(ratings), model.predict(ratings)
    assert logits.min() < 1 < 5 < logits.max()
    np.testing.assert_array_equal(predictions, logits.clip(1, 5))
    assert model.artifact.training["target_range"] == [1, 5]
    saved = anyfm.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(saved.predict(ratings), predictions)
    row = int(logits.argmax())
    assert saved.predict_one(ratings.row(row, named=True)) == 5
    rmse = np.sqrt(np.mean((ratings["stars"].to_numpy() - predictions) ** 2))
    assert model.evaluate(ratings)["rmse"] == pytest.approx(rmse, rel=1e-5)
    explained = model.explain(ratings[row])
    assert explained.logits[0] == pytest.approx(logits[row], abs=1e-5)
    assert explained.predictions[0] == 5
    assert explained.describe().startswith(
        "predicted 5.0000, clipped to the range of the training targets from the logit"
    )
    items = model.items(ratings.select("film").unique(maintain_order=True), key="film")
    assert model.recommend({"user": "u19"}, items, 1)["score"][0] == 5


def test_the_best_epoch_is_that_of_the_clipped_predictions(ratings):
    model = anyfm.train(ratings, "stars", model="linear", valid=ratings, **QUICK)
    assert model.metrics["rmse"] == pytest.approx(model.evaluate(ratings)["rmse"], rel=1e-6)
    assert model.history.best["valid_rmse"] == pytest.approx(model.metrics["rmse"], rel=1e-12)


def test_clipping_can_be_switched_off(ratings):
    model = anyfm.train(ratings, "stars", model="linear", clip_predictions=False, **QUICK)
    np.testing.assert_array_equal(model.predict(ratings), model.logits(ratings))
    assert model.predict(ratings).max() > 5
    assert "target_range" not in model.artifact.training


def test_the_regressor_clips_and_can_be_told_not_to(ratings):
    X, y = ratings.select("user", "film").to_pandas(), ratings["stars"].to_numpy()
    assert FMRegressor(epochs=10).fit(X, y).predict(X).max() <= 5
    assert FMRegressor(epochs=10, clip_predictions=False).fit(X, y).predict(X).max() > 5


def test_rows_of_weight_0_do_not_widen_the_range(ratings):
    odd = ratings.head(1).with_columns(stars=pl.lit(1000.0), weight=pl.lit(0.0))
    weighted = pl.concat([ratings.with_columns(weight=pl.lit(1.0)), odd])
    model = anyfm.train(weighted, "stars", weight="weight", model="linear", valid_fraction=0, search=False, epochs=2)
    assert model.artifact.training["target_range"] == [1, 5]


def test_the_command_line_clips(ratings, tmp_path):
    ratings.write_parquet(tmp_path / "ratings.parquet")
    train = (
        "train",
        tmp_path / "ratings.parquet",
        "--target",
        "stars",
        "--model",
        "linear",
        "--no-search",
        "--epochs",
        20,
    )
    scores = {}
    for name, flag in (("clipped", ()), ("free", ("--no-clip-predictions",))):
        run(*train, *flag, "--out", tmp_path / name, "--quiet")
        run("predict", tmp_path / name, tmp_path / "ratings.parquet", "--out", tmp_path / f"{name}.csv")
        scores[name] = pl.read_csv(tmp_path / f"{name}.csv")["prediction"]
    assert scores["clipped"].max() == 5 < scores["free"].max()
    record = json.loads((tmp_path / "clipped" / "model.json").read_text())["training"]
    assert record["target_range"] == [1, 5]


# --- counts


@pytest.fixture(scope="module")
def visits():
    """Counts whose mean is a product of effects, the last of a pair."""
    rng = np.random.default_rng(1)
    shop, day, n = rng.integers(0, 8, 6000), rng.integers(0, 7, 6000), 6000
    logit = 0.3 + rng.normal(0, 0.7, 8)[shop] + rng.normal(0, 0.5, 7)[day] + rng.normal(0, 0.4, (8, 7))[shop, day]
    table = {"shop": [f"s{i}" for i in shop], "day": [f"d{i}" for i in day], "visits": rng.poisson(np.exp(logit))}
    return pl.DataFrame(table), logit, n


def deviance(y, mean):
    return 2 * np.mean(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / mean), 0) - (y - mean))


def test_a_linear_model_of_counts_is_that_of_scikit_learn(visits):
    from sklearn.linear_model import PoissonRegressor
    from sklearn.preprocessing import OneHotEncoder

    table, _, _ = visits
    y = table["visits"].to_numpy()
    X = OneHotEncoder().fit_transform(table.select("shop", "day").to_numpy())
    reference = deviance(y, PoissonRegressor(alpha=1e-6, max_iter=1000).fit(X, y).predict(X))
    settings = {"l2_linear": 0.01, "valid_fraction": 0.0, "epochs": 30, "search": False}
    model = anyfm.train(table, "visits", model="linear", task="poisson", **settings)
    assert deviance(y, model.predict(table).astype(float)) == pytest.approx(reference, rel=2e-3)
    assert model.evaluate(table)["poisson_deviance"] == pytest.approx(deviance(y, model.predict(table)), rel=1e-4)


@pytest.mark.parametrize(("name", "engine"), [*((name, "native") for name in sorted(MODELS)), ("deepfm", "torch")])
def test_every_model_learns_counts(name, engine, visits):
    if engine == "torch":
        pytest.importorskip("torch")
    table, logit, n = visits
    y, mean = table["visits"].to_numpy(), table["visits"].to_numpy().mean()
    settings = {"search": False, "epochs": 8, "engine": engine, "n_threads": 2}
    model = anyfm.train(table, "visits", model=name, task="poisson", **settings)
    found = model.evaluate(table)["poisson_deviance"]
    assert deviance(y, np.exp(logit)) * 0.95 < found < deviance(y, np.full(n, mean)) * 0.85
    predictions = model.predict(table)
    assert (predictions > 0).all()
    assert predictions.max() <= y.max() * (1 + 1e-6)
    np.testing.assert_allclose(np.exp(model.logits(table).clip(None, np.log(y.max()))), predictions, rtol=1e-5)
    row = table.row(3, named=True)
    assert model.predict_one(row) == pytest.approx(predictions[3], rel=1e-5)


def test_native_and_torch_take_the_same_derivatives_of_counts(visits):
    pytest.importorskip("torch")
    import torch

    task = TASKS["poisson"]
    logits, y = np.array([-3.0, 0.0, 1.0, 4.0]), np.array([0.0, 1.0, 5.0, 2.0])
    step = (task.loss(logits + 1e-6, y) - task.loss(logits - 1e-6, y)) / 2e-6
    np.testing.assert_allclose(task.gradient(logits, y, None), step, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(task.curvature(logits), np.exp(logits))
    np.testing.assert_allclose(task.gradient(logits, y, (-np.inf, 2.0))[3], np.exp(2) - 2)
    np.testing.assert_allclose(task.loss(torch.tensor(logits), torch.tensor(y)).numpy(), task.loss(logits, y))
    assert (task.loss(np.log(np.maximum(y, 1e-30)), y) < 1e-12).all()


def test_counts_are_explained_on_the_logit_and_reported(visits, tmp_path):
    table, _, _ = visits
    model = anyfm.train(table, "visits", model="fm", task="poisson", **QUICK)
    explained = model.explain(table.head(20))
    np.testing.assert_allclose(explained.logits, model.logits(table.head(20)), atol=1e-5)
    np.testing.assert_allclose(explained.predictions, model.predict(table.head(20)), rtol=1e-4)
    assert ", logit " in explained.describe()
    page = model.report(table.head(2000), tmp_path / "page.html").read_text()
    assert "Poisson deviance" in page
    assert (model.predict(table.head(5), return_std=True)[1] > 0).all()
    loaded = anyfm.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))


def test_counts_below_0_are_refused_with_their_place(visits):
    table = visits[0].with_columns(visits=pl.Series([-1, *visits[0]["visits"].to_list()[1:]]))
    with pytest.raises(InputError, match=r"a poisson target must be at least 0.*row 1.*visits.*-1"):
        anyfm.train(table, "visits", task="poisson")
    with pytest.raises(InputError, match="at least 0"):
        FMRegressor(task="poisson").fit(table.select("shop", "day").to_pandas(), table["visits"].to_numpy())
    with pytest.raises(SettingError, match="one of regression, poisson"):
        FMRegressor(task="binary").fit(table.select("shop", "day").to_pandas(), table["visits"].to_numpy())


def test_the_regressor_counts(visits):
    table, _, _ = visits
    X, y = table.select("shop", "day").to_pandas(), table["visits"].to_numpy()
    model = FMRegressor(task="poisson", epochs=10).fit(X, y)
    assert model.model_.task.name == "poisson"
    assert (model.predict(X) > 0).all()
    assert deviance(y, model.predict(X)) < 0.8 * deviance(y, np.full(len(y), y.mean()))


def test_text_of_counts(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 9, 800)
    (tmp_path / "counts.svm").write_text("\n".join(f"{rng.poisson(np.exp(i / 4))} {i}:1" for i in ids) + "\n")
    model = anyfm.train(tmp_path / "counts.svm", model="linear", task="poisson", **QUICK)
    assert model.predict_ids(np.array([8], np.int32)) > 3 * model.predict_ids(np.array([0], np.int32))


# --- class weights


@pytest.fixture(scope="module")
def rare():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 4000), rng.integers(0, 5, 4000)
    bought = rng.random(4000) < 1 / (1 + np.exp(3 - 0.4 * a - 0.3 * b))
    table = {"a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b]}
    return pl.DataFrame({**table, "bought": np.where(bought, "yes", "no").tolist()})


def test_a_class_weight_is_a_row_weight(rare):
    weights = rare.with_columns(weight=pl.when(pl.col("bought") == "yes").then(4.0).otherwise(0.5))
    expected = anyfm.train(weights, "bought", weight="weight", **QUICK)
    for given in ({"yes": 4, "no": 0.5}, "no=0.5, yes=4"):
        found = anyfm.train(rare, "bought", class_weight=given, **QUICK)
        # Values are numbered by their weight, so that the initial factors are others.
        np.testing.assert_allclose(found.logits(rare), expected.logits(rare), atol=1e-3)
        assert found.artifact.training["class_weight"] == {"no": 0.5, "yes": 4.0}
    partly = anyfm.train(rare, "bought", class_weight={"yes": 4}, **QUICK)
    assert partly.artifact.training["class_weight"] == {"no": 1.0, "yes": 4.0}


def test_balanced_classes_weigh_the_same(rare):
    model = anyfm.train(rare, "bought", class_weight="balanced", valid_fraction=0.0, **QUICK)
    rate = (rare["bought"] == "yes").mean()
    assert model.artifact.training["class_weight"] == pytest.approx({"no": 0.5 / (1 - rate), "yes": 0.5 / rate})
    assert model.predict(rare).mean() == pytest.approx(0.5, abs=0.05)


def test_class_weights_name_classes_and_need_them(rare, visits):
    with pytest.raises(
        SettingError, match=r"class_weight must name the classes \['no', 'yes'\], got class_weight='ye'"
    ):
        anyfm.train(rare, "bought", class_weight={"ye": 2})
    with pytest.raises(SettingError, match="class_weight must be none or balanced, or a weight above 0"):
        anyfm.train(rare, "bought", class_weight={"yes": -1})
    with pytest.raises(SettingError, match="class_weight needs a target of two classes"):
        anyfm.train(visits[0], "visits", class_weight="balanced", task="poisson")


def test_classifiers_and_the_command_line_weigh_classes(rare, tmp_path):
    X, y = rare.select("a", "b").to_pandas(), (rare["bought"] == "yes").to_numpy()
    plain, weighted = (
        FMClassifier(epochs=5).fit(X, y),
        FMClassifier(epochs=5, class_weight={True: 5, False: 1}).fit(X, y),
    )
    assert weighted.predict_proba(X)[:, 1].mean() > 2 * plain.predict_proba(X)[:, 1].mean()
    codes = FMClassifier(epochs=5, class_weight={3: 5}).fit(X, np.where(y, 3, 1))
    np.testing.assert_array_equal(codes.decision_function(X), weighted.decision_function(X))
    assert "class_weight" not in FMRegressor().get_params()
    rare.write_csv(tmp_path / "rare.csv")
    train = ("train", tmp_path / "rare.csv", "--target", "bought", "--class-weight", "balanced", "--no-search")
    run(*train, "--epochs", 3, "--out", tmp_path / "model", "--quiet")
    record = json.loads((tmp_path / "model" / "model.json").read_text())["training"]
    assert record["class_weight"]["yes"] > 1 > record["class_weight"]["no"]
