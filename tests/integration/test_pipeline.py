"""The whole way in one call: what is held out, what is learnt from, what is kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anyfm.artifact import load_artifact, save_artifact
from anyfm.core.errors import InputError, SettingError
from anyfm.datasets.synthetic import ad_clicks
from anyfm.predictor import Predictor
from anyfm.workflow import Validation, model_settings, prepare_table, train_encoded, train_table


@pytest.fixture(scope="module")
def clicks():
    return pl.DataFrame(dict(ad_clicks(6_000, seed=8).columns))


@pytest.fixture(scope="module")
def trained(clicks):
    return train_table(clicks, "click", settings={"epochs": 3, "n_factors": 4, "seed": 2})


def test_the_validation_metrics_are_those_of_the_saved_model(trained, clicks):
    from anyfm.training.split import split_fraction

    _, held_out = split_fraction(len(clicks), 0.1, seed=2)
    again = Predictor(trained.artifact).evaluate(clicks[held_out])
    assert again == pytest.approx(trained.metrics)
    assert trained.artifact.metrics["valid"] == trained.metrics


def test_nothing_is_learnt_from_validation_rows():
    """A value that only validation rows have must be unseen, though it is in the table."""
    frame = pl.DataFrame({"when": range(1000), "site": ["early"] * 800 + ["late"] * 200, "y": [0, 1] * 500})
    frame = frame.with_columns(user=pl.col("when") % 7)
    table = prepare_table(frame, "y", validation=Validation(by="when", fraction=0.2), fields={"site": "categorical"})
    assert "late" not in table.encoder.field_values("site")
    assert table.valid.n_rows == 200
    unseen = {field.name: field.n_unseen for field in table.reports["valid"].fields}
    assert unseen == {"site": 200, "user": 0}
    assert "when" not in table.encoder.field_names


def test_a_column_of_time_may_stay_a_field_on_purpose(clicks):
    timed = clicks.with_row_index("when")
    table = prepare_table(timed, "click", validation=Validation(by="when"), fields={"when": "numeric"})
    assert "when" in table.encoder.field_names


def test_one_table_serves_many_models(clicks, trained):
    table = prepare_table(clicks, "click", seed=2)
    settings = {"epochs": 3, "n_factors": 4, "seed": 2}
    train_encoded(table, model="linear", settings={"epochs": 1})
    again = train_encoded(table, model="fm", settings=settings)
    for name, array in trained.artifact.parameters.items():
        np.testing.assert_array_equal(again.artifact.parameters[name], array)


def test_saved_loaded_and_saved_again_is_the_same_bytes_and_scores_the_same(trained, clicks, tmp_path):
    save_artifact(trained.artifact, tmp_path / "first")
    loaded = load_artifact(tmp_path / "first")
    save_artifact(loaded, tmp_path / "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["model.json", "vocabulary.parquet", "weights.safetensors"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    np.testing.assert_array_equal(Predictor(loaded).predict(clicks), Predictor(trained.artifact).predict(clicks))


def test_the_artifact_holds_no_time_and_no_path(trained):
    record = trained.artifact.history["records"][0]
    assert {"epoch", "train_loss", "valid_logloss"} <= set(record)
    assert not {"seconds", "valid_seconds", "rows_per_second"} & set(record)
    assert "n_threads" not in trained.artifact.training


def test_one_row_is_scored_as_in_the_table(trained, clicks):
    predictor = Predictor(trained.artifact)
    expected = predictor.predict(clicks[:50])
    rows = clicks.drop("click")[:50].rows(named=True)
    assert [predictor.predict_one(row) for row in rows] == pytest.approx(list(expected), rel=1e-5)
    odd = {**rows[0], "site": "never seen", "age": None}
    assert 0 < predictor.predict_one(odd) < 1


def test_text_that_looks_like_numbers_stays_text_when_scoring(tmp_path):
    rng = np.random.default_rng(0)
    codes = np.array(["007", "07", "7", "x1"])[rng.integers(0, 4, 2_000)]
    frame = pl.DataFrame({"code": codes, "y": (codes == "007").astype(int), "noise": rng.integers(0, 5, 2_000)})
    trained = train_table(frame, "y", model="linear", fields={"code": "categorical"})
    frame.filter(pl.col("code") != "x1").head(100).write_csv(tmp_path / "new.csv")
    predictor = Predictor(trained.artifact)
    np.testing.assert_array_equal(
        predictor.predict(tmp_path / "new.csv"), predictor.predict(frame.filter(pl.col("code") != "x1").head(100))
    )


def test_bad_data_is_named_by_its_row_in_the_table(clicks):
    broken = clicks.with_columns(click=pl.when(pl.int_range(pl.len()) == 4321).then(None).otherwise("click"))
    with pytest.raises(InputError, match="row 4322"):
        train_table(broken, "click")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": {}, "by": "when"}, SettingError, "a table or from a column"),
        ({"fraction": 1.0}, SettingError, "valid_fraction=1.0"),
        ({"fraction": -0.1}, SettingError, "valid_fraction=-0.1"),
    ],
)
def test_validation_that_makes_no_sense_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Validation(**arguments)


def test_settings_of_model_and_training_come_in_one_mapping_and_text_is_read():
    assert model_settings("fm", {"n_factors": "4", "epochs": "2"}).n_factors == 4
    for settings in ({"n_factor": 4}, {"n_factors": "four"}, {"n_factors": 0}):
        with pytest.raises(SettingError, match="n_factor"):
            model_settings("fm", settings)
    with pytest.raises(SettingError, match="n_epochs must be"):
        train_table({"a": [1], "y": [1]}, "y", settings={"epochs": 0})
    with pytest.raises(SettingError, match="setting='n_factors'"):
        model_settings("linear", {"n_factors": 3})


def test_an_unknown_column_is_told_with_those_there_are(clicks):
    with pytest.raises(InputError, match=r"'clicked'.*gender"):
        train_table(clicks, "clicked")
