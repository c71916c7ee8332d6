"""Choosing settings on validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import anyfm
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

    return search(make, candidates, crossed(4000, seed=1), crossed(1500, seed=2), SETTINGS)


def test_the_defaults_stay_unless_a_candidate_is_clearly_better() -> None:
    trials = raced([{"learning_rate": 1e-6}, {"l2_factors": 1e6}])
    assert [trial.chosen for trial in trials] == [True, False, False]
    assert trials[0].settings == {}


def test_a_clearly_better_candidate_is_chosen() -> None:
    def make(changed: Mapping[str, Any]) -> Any:
        model = FM(FMSettings(**{"n_factors": 4, "l2_factors": 1e6, **changed}))
        return make_engine(model, n_features=2 * N_VALUES, n_fields=2, n_threads=1)

    trials = search(make, [{"l2_factors": 5.0}], crossed(4000, seed=1), crossed(1500, seed=2), SETTINGS)
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
    model = anyfm.train(frame(1500), "y", learning_rate=0.2, epochs=3)
    tried = model.artifact.training["search"]
    assert tried
    assert all("learning_rate" not in trial["settings"] for trial in tried)
    assert sum(trial["chosen"] for trial in tried) == 1
    assert model.settings.learning_rate == 0.2
    assert anyfm.train(frame(1500), "y", search=False, epochs=3).artifact.training["search"] == []


def test_with_many_validation_rows_metrics_are_of_rows_that_chose_no_setting() -> None:
    model = anyfm.train(frame(6000), "y", valid_fraction=0.7, epochs=2)
    assert model.artifact.training["valid_rows"] == 2100


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name]().pair_terms() is not None])
@pytest.mark.parametrize("n_factors", [8, 32, 64])
def test_more_factors_never_make_a_model_linear(name: str, n_factors: int) -> None:
    losses = []
    for model, settings in (("linear", {}), (name, {"n_factors": n_factors})):
        data = frame(6000)
        losses.append(anyfm.train(data, "y", model=model, search=False, epochs=25, **settings).metrics["logloss"])
    assert losses[1] < losses[0] - 0.03
