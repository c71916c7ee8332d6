"""The best of all models, and the best settings of one: what is tried, kept, cut by time and continued."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import DivergenceError, SettingError
from anyfm.core.settings import Range, parse_settings
from anyfm.datasets.synthetic import ad_clicks
from anyfm.models import MODELS
from anyfm.training.callbacks import Deadline
from tests.integration.command_line import anyfm as run
from tests.integration.command_line import json_of

QUICK = {"epochs": 3, "search": False, "n_threads": 1}


@pytest.fixture(scope="module")
def clicks():
    columns = ad_clicks(2500, seed=1).columns
    return pl.DataFrame({name: np.asarray(values).tolist() for name, values in columns.items()})


# --- the best model


def test_auto_keeps_the_best_of_all_models(clicks):
    found = anyfm.train(clicks, "click", model="auto", n_factors=4, **QUICK)
    records = found.artifact.training["models"]
    assert [record["model"] for record in records] == list(MODELS)
    best = min(records, key=lambda record: record["value"])
    assert [record["outcome"] for record in records].count("chosen") == 1
    assert (best["model"], best["outcome"]) == (found.name, "chosen")
    alone = anyfm.train(clicks, "click", model=found.name, n_factors=4, **QUICK)
    np.testing.assert_array_equal(found.logits(clicks), alone.logits(clicks))
    assert best["value"] == pytest.approx(alone.metrics["logloss"], rel=1e-6)


def test_auto_compares_by_the_monitored_metric(clicks):
    found = anyfm.train(clicks, "click", model="auto", n_factors=4, monitor="auc", **QUICK)
    records = found.artifact.training["models"]
    assert found.name == max(records, key=lambda record: record["value"])["model"]


def test_a_budget_cuts_all_but_the_first_model(clicks):
    found = anyfm.train(clicks, "click", model="auto", budget=1e-6, **QUICK)
    outcomes = [record["outcome"] for record in found.artifact.training["models"]]
    assert found.name == next(iter(MODELS))
    assert outcomes == ["chosen", *["not tried: out of time"] * (len(MODELS) - 1)]


def test_a_model_in_training_is_given_up(clicks, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(Deadline, "is_over", property(lambda self: next(now) >= 3))
    found = anyfm.train(clicks, "click", model="auto", budget="5m", **QUICK)
    outcomes = [record["outcome"] for record in found.artifact.training["models"]]
    assert outcomes[:2] == ["chosen", "given up: out of time"]
    assert set(outcomes[2:]) == {"not tried: out of time"}


def test_auto_skips_models_without_fields_and_refuses_what_makes_no_sense(clicks, tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{int(rng.random() < 0.4)} {rng.integers(0, 5)}:1 {rng.integers(5, 9)}:1" for _ in range(600)]
    (tmp_path / "tr.svm").write_text("\n".join(lines) + "\n")
    found = anyfm.train(tmp_path / "tr.svm", model="auto", n_factors=4, **QUICK)
    names = [record["model"] for record in found.artifact.training["models"]]
    assert names == [name for name, model in MODELS.items() if not model.needs_fields]
    for settings, message in (
        ({"n_factor": 4}, "Did you mean n_factors"),
        ({"valid_fraction": 0.0}, "needs validation rows"),
        ({"preset": "libffm"}, "takes no preset"),
    ):
        with pytest.raises(SettingError, match=message):
            anyfm.train(clicks, "click", model="auto", **settings)
    with pytest.raises(SettingError, match="budget is for model='auto'"):
        anyfm.train(clicks, "click", budget="5m")
    with pytest.raises(SettingError, match="budget must be auto or a time such as 90s, 5m or 2h, got budget='soon'"):
        anyfm.train(clicks, "click", model="auto", budget="soon")


def test_the_command_shows_the_models(clicks, tmp_path):
    clicks.write_parquet(tmp_path / "clicks.parquet")
    command = ("train", tmp_path / "clicks.parquet", "--target", "click", "--model", "auto", "--budget", "2m")
    result = run(*command, "--no-search", "--epochs", 2, "--n-factors", 4, "--out", tmp_path / "model", "--json")
    assert [record["model"] for record in json_of(result)["models"]] == list(MODELS)
    assert "chosen" in result.stderr
    assert anyfm.load(tmp_path / "model").artifact.training["models"] == json_of(result)["models"]


# --- the best settings


@pytest.mark.parametrize("name", sorted(MODELS))
def test_defaults_lie_in_the_space_and_every_option_is_a_setting(name):
    from anyfm.tuning import default_point, search_space

    space = search_space(name)
    point = default_point(name, space)
    kind = MODELS[name].settings_type
    assert "learning_rate" in space
    for key, where in space.items():
        if isinstance(where, Range):
            assert where.low <= point[key] <= where.high
            values = [where.low, where.high]
        else:
            assert point[key] in where.texts
            values = list(where.texts)
        for value in values:
            parse_settings({key: value}, kind)
    (defaults,) = parse_settings(point, kind)
    assert defaults == kind()


@pytest.fixture(scope="module")
def tuned(clicks, tmp_path_factory):
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("tuned")
    seen = []
    found = anyfm.tune(clicks, "click", model="fm", trials=4, out=folder / "model", on_trial=seen.append, **QUICK)
    return found, folder, seen


def test_the_first_trial_is_the_default_and_the_best_is_saved(clicks, tuned):
    found, folder, seen = tuned
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert seen == found.trials
    default = anyfm.train(clicks, "click", model="fm", **QUICK)
    assert found.trials[0].value == pytest.approx(default.metrics["logloss"], rel=1e-12)
    assert found.best.value == min(trial.value for trial in found.trials if trial.value is not None)
    assert found.model.metrics["logloss"] == found.best.value
    np.testing.assert_array_equal(anyfm.load(folder / "model").logits(clicks), found.model.logits(clicks))
    again = anyfm.train(clicks, "click", model="fm", **{**QUICK, **found.best.settings})
    np.testing.assert_array_equal(again.logits(clicks), found.model.logits(clicks))


def test_a_search_is_continued(clicks, tuned, tmp_path):
    found, folder, _ = tuned
    storage = folder / "model.tune.db"
    (tmp_path / "copy.db").write_bytes(storage.read_bytes())
    options = {"out": tmp_path / "model", "storage": tmp_path / "copy.db", **QUICK}
    same = anyfm.tune(clicks, "click", model="fm", trials=4, **options)
    assert same.trials == found.trials
    np.testing.assert_array_equal(same.model.logits(clicks), found.model.logits(clicks))
    more = anyfm.tune(clicks, "click", model="fm", trials=6, **options)
    assert more.trials[:4] == found.trials
    assert len(more.trials) == 6
    assert len({tuple(trial.settings.values()) for trial in more.trials}) == 6
    for change, name in (
        ({"model": "linear"}, "model"),
        ({"seed": 1}, "settings|data"),
        ({"n_factors": 4}, "settings"),
    ):
        with pytest.raises(SettingError, match=f"to continue a search, ({name}) must be that of the storage"):
            anyfm.tune(clicks, "click", trials=7, **{"model": "fm", **options, **change})


def test_what_is_given_is_not_searched_and_time_ends_it(clicks, tmp_path):
    pytest.importorskip("optuna")
    found = anyfm.tune(clicks, "click", model="linear", learning_rate=0.5, budget=1e-6, out=tmp_path / "model", **QUICK)
    assert len(found.trials) == 1  # the first is not cut
    assert set(found.trials[0].settings) == {"l2_linear"}
    assert found.model.settings.learning_rate == 0.5
    with pytest.raises(SettingError, match="needs a setting to search"):
        anyfm.tune(clicks, "click", model="linear", learning_rate=0.5, l2_linear=1.0, out=tmp_path / "other", **QUICK)


def test_hopeless_trials_are_pruned(clicks, tmp_path):
    optuna = pytest.importorskip("optuna")
    from anyfm.tuning import _Watch

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2))
    for _ in range(3):
        trial = study.ask()
        for epoch in (1, 2, 3):
            trial.report(0.4, epoch)
        study.tell(trial, 0.4)
    watch = _Watch(study.ask(), "valid_logloss")
    watch.on_epoch_end(record={"valid_logloss": 0.9})
    with pytest.raises(optuna.TrialPruned):
        watch.on_epoch_end(record={"valid_logloss": 0.9})
    assert watch.n_epochs == 2


def test_a_search_without_a_result_says_so(clicks, tmp_path, monkeypatch):
    pytest.importorskip("optuna")

    def diverge(*_, **__):
        raise DivergenceError("too fast")

    monkeypatch.setattr("anyfm.tuning.fit", diverge)
    with pytest.raises(DivergenceError, match="no trial came to its end"):
        anyfm.tune(clicks, "click", trials=2, out=tmp_path / "model", **QUICK)
    (tmp_path / "text.db").write_text("this is no database " * 100)
    with pytest.raises(SettingError, match=r"cannot be opened as an SQLite file.*text\.db"):
        anyfm.tune(clicks, "click", trials=2, out=tmp_path / "model", storage=tmp_path / "text.db", **QUICK)
    with pytest.raises(SettingError, match="folder of the storage must exist"):
        anyfm.tune(clicks, "click", trials=2, out=tmp_path / "model", storage=tmp_path / "no" / "a.db", **QUICK)


def test_the_command_tunes(clicks, tmp_path):
    pytest.importorskip("optuna")
    clicks.write_parquet(tmp_path / "clicks.parquet")
    command = ("tune", tmp_path / "clicks.parquet", "--target", "click", "--model", "linear", "--trials", 2)
    result = run(*command, "--epochs", 2, "--no-search", "--out", tmp_path / "model", "--json")
    found = json_of(result)
    assert len(found["trials"]) == 2
    assert found["valid"]["logloss"] == found["best"]["value"]
    assert anyfm.load(tmp_path / "model").metrics == found["valid"]
    assert "trial 1" in result.stderr
