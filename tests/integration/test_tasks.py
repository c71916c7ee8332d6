"""What a task predicts: numbers within the range of training, however far a logit goes."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.estimators import FMRegressor
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
