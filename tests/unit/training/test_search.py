"""Choosing settings on validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import anyfm
from anyfm.core.errors import DivergenceError
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.registry import make_engine
from anyfm.models import FM, MODELS, FMSettings
from anyfm.training.search import Trial, search

N_VALUES = 30
SETTINGS = TrainingSettings(epochs=15, patience=5, n_threads=1)


def crossed(n_rows: int, *, seed: int) -> Rows:
    """Two fields whose values matter only together."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, N_VALUES, (n_rows, 2))
    factors = np.random.default_rng(0).normal(0, 1.2, (2, N_VALUES, 3))
    logits = (factors[0, ids[:, 0]] * factors[1, ids[:, 1]]).sum(1)
    y = (rng.random(n_rows) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    return Rows(ids=(ids + np.array([0, N_VALUES])).astype(np.int32), y=y)


def raced(candidates: list[dict[str, Any]], *, n_threads: int = 1) -> list[Trial]:
    def make(changed: Mapping[str, Any]) -> Any:
        model = FM(FMSettings(**{"n_factors": 4, **changed}))
        return make_engine(model, n_features=2 * N_VALUES, n_fields=2, n_threads=n_threads)

    return search(make, candidates, [(crossed(4000, seed=1), crossed(1500, seed=2))], SETTINGS)[0]


def test_the_defaults_stay_unless_a_candidate_is_clearly_better() -> None:
    trials = raced([{"learning_rate": 1e-6}, {"l2_factors": 1e6}])
    assert [trial.chosen for trial in trials] == [True, False, False]
    assert trials[0].settings == {}


def test_a_clearly_better_candidate_is_chosen() -> None:
    def make(changed: Mapping[str, Any]) -> Any:
        model = FM(FMSettings(**{"n_factors": 4, "l2_factors": 1e6, **changed}))
        return make_engine(model, n_features=2 * N_VALUES, n_fields=2, n_threads=1)

    folds = [(crossed(4000, seed=1), crossed(1500, seed=2))]
    trials, logits = search(make, [{"l2_factors": 5.0}], folds, SETTINGS)
    assert logits.shape == (1500,)
    assert [trial.chosen for trial in trials] == [False, True]
    assert trials[1].loss is not None
    assert trials[0].loss is not None
    assert trials[1].loss < trials[0].loss


def test_divergence_is_a_loss_and_no_error() -> None:
    trials = raced([{"learning_rate": 1e30}])
    assert trials[1].loss is None
    assert trials[0].chosen


def test_the_choice_is_the_same_on_any_number_of_threads() -> None:
    candidates = [{"learning_rate": 1.0}, {"n_factors": 8}, {"l2_per_occurrence": 0.1}]
    assert raced(candidates) == raced(candidates, n_threads=3)


def frame(n_rows: int) -> dict[str, np.ndarray]:
    data = crossed(n_rows, seed=3)
    assert data.y is not None
    return {
        "a": np.char.add("a", data.ids[:, 0].astype(str)),
        "b": np.char.add("b", data.ids[:, 1].astype(str)),
        "y": data.y,
    }


def test_settings_that_are_set_are_not_searched() -> None:
    model = anyfm.train(frame(2500), "y", learning_rate=0.2, epochs=3)
    tried = model.artifact.training["search"]
    assert tried
    assert all("learning_rate" not in trial["settings"] for trial in tried)
    assert sum(trial["chosen"] for trial in tried) == 1
    assert model.settings.learning_rate == 0.2
    assert anyfm.train(frame(2500), "y", search=False, epochs=3).artifact.training["search"] == []


def test_with_many_validation_rows_metrics_are_of_rows_that_chose_no_setting() -> None:
    model = anyfm.train(frame(30_000), "y", valid_fraction=0.7, epochs=2)
    assert model.artifact.training["valid_rows"] == 10_500


def test_few_rows_are_cross_validated() -> None:
    """Settings and epochs are chosen in five folds; the model is trained on all rows, for so many epochs."""
    model = anyfm.train(frame(900), "y", epochs=30, n_threads=1)
    trials = [Trial.from_dict(trial) for trial in model.artifact.training["search"]]
    chosen = next(trial for trial in trials if trial.chosen)
    assert model.artifact.training["rows"] == 900
    assert model.artifact.training["valid_rows"] == 0
    assert model.history.n_epochs == chosen.best_epoch
    assert model.metrics["logloss"] == pytest.approx(chosen.loss)
    assert anyfm.train(frame(900), "y", valid_fraction=0.2, epochs=2).artifact.training["valid_rows"] == 180


@pytest.mark.parametrize("search", [True, False])
def test_divergence_in_every_fold_is_the_error_of_training(search: bool) -> None:
    data = frame(900)
    data["y"] = np.where(data["y"] == 1, 7.5, -3.25)
    with pytest.raises(DivergenceError, match=r"epoch 1.*Lower learning_rate \(now 1e\+30\)"):
        anyfm.train(data, "y", task="regression", learning_rate=1e30, search=search, n_threads=1)


@pytest.mark.parametrize("model", MODELS)
def test_few_rows_of_noise_are_hardly_worse_than_their_mean(model: str) -> None:
    rng = np.random.default_rng(5)

    def noise(n_rows: int) -> dict[str, np.ndarray]:
        columns = {f"x{i}": rng.integers(0, 8, n_rows).astype(str) for i in range(6)}
        return {**columns, "y": (rng.random(n_rows) < 0.3).astype(int)}

    test = noise(4000)
    found = anyfm.train(noise(300), "y", model=model, n_threads=1).evaluate(test)["logloss"]
    constant = -np.mean(np.log(np.where(test["y"] == 1, 0.3, 0.7)))
    assert found < 1.04 * constant


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name]().pair_terms() is not None])
@pytest.mark.parametrize("n_factors", [8, 32, 64])
def test_more_factors_never_make_a_model_linear(name: str, n_factors: int) -> None:
    losses = []
    for model, settings in (("linear", {}), (name, {"n_factors": n_factors})):
        data = frame(6000)
        losses.append(anyfm.train(data, "y", model=model, search=False, epochs=25, **settings).metrics["logloss"])
    assert losses[1] < losses[0] - 0.03
