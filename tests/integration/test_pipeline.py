"""From raw data to a trained model in one call: what is held out, what is learned from, what is recorded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import ArtifactError, InputError, SettingError
from anyfm.core.settings import DataSettings, ValidationSettings
from anyfm.datasets.synthetic import ad_clicks
from anyfm.pipeline import fit, memory_text, prepare, train
from anyfm.training.callbacks import Callback
from anyfm.training.split import split_fraction


@pytest.fixture(scope="module")
def clicks():
    return pl.DataFrame(dict(ad_clicks(6_000, seed=8).columns))


@pytest.fixture(scope="module")
def trained(clicks):
    return train(clicks, "click", epochs=3, n_factors=4, seed=2)


def test_the_validation_metrics_are_those_of_the_saved_model(trained, clicks):
    _, held_out = split_fraction(len(clicks), 0.1, seed=2)
    assert trained.evaluate(clicks[held_out]) == pytest.approx(trained.metrics)
    assert trained.artifact.metrics["valid"] == trained.metrics


def test_nothing_is_learned_from_validation_rows():
    """A value that only validation rows have must be unseen, though it is in the table."""
    frame = pl.DataFrame({"when": range(1000), "site": ["early"] * 800 + ["late"] * 200, "y": [0, 1] * 500})
    frame = frame.with_columns(user=pl.col("when") % 7)
    validation = ValidationSettings(valid_by="when", valid_fraction=0.2)
    data = prepare(frame, DataSettings(target="y", fields={"site": "categorical"}), validation)
    assert "late" not in data.encoder.field_values("site")
    assert data.valid.n_rows == 200
    unseen = {field.name: field.n_unseen for field in data.reports["valid"].fields}
    assert unseen == {"site": 200, "user": 0}
    assert "when" not in data.encoder.field_names


def test_the_last_row_of_each_user_may_be_held_out():
    frame = pl.DataFrame({"user": [1, 2, 3] * 100, "when": range(300), "site": ["a"] * 297 + ["late"] * 3})
    frame = frame.with_columns(y=pl.Series([0, 1] * 150))
    data = prepare(frame, DataSettings(target="y"), ValidationSettings(valid_last_by=("user", "when")))
    assert (data.train.n_rows, data.valid.n_rows) == (297, 3)
    assert data.valid.y.tolist() == [1, 0, 1]
    assert data.encoder.columns == ["user", "site"] or data.encoder.columns == ["user"]
    model = train(frame, "y", valid_last_by="user,when", valid_fraction=0, epochs=2)
    assert model.training_data["n_valid_rows"] == 3


def test_a_column_of_time_may_be_made_a_field(clicks):
    timed = clicks.with_row_index("when")
    settings = DataSettings(target="click", fields={"when": "numeric"})
    assert "when" in prepare(timed, settings, ValidationSettings(valid_by="when")).encoder.field_names


def test_validation_rows_may_be_a_table_of_their_own(clicks, tmp_path):
    clicks[5_000:].write_csv(tmp_path / "valid.csv")
    for valid in (clicks[5_000:], tmp_path / "valid.csv"):
        data = prepare(clicks[:5_000], DataSettings(target="click"), ValidationSettings(valid=valid))
        assert (data.train.n_rows, data.valid.n_rows) == (5_000, 1_000)
        assert (data.format, data.task.name, data.negative_label) == ("table", "binary", None)
    assert prepare(clicks, DataSettings(target="click"), ValidationSettings(valid_fraction=0)).valid is None


def test_data_prepared_once_serve_many_models(clicks, trained):
    data = prepare(clicks, DataSettings(target="click"), seed=2)
    fit(data, model="linear", settings={"epochs": 1})
    again = fit(data, model="fm", settings={"epochs": 3, "n_factors": 4, "seed": 2})
    for name, array in trained.artifact.parameters.items():
        np.testing.assert_array_equal(again.artifact.parameters[name], array)


def test_the_model_records_its_training_without_times_and_threads(trained):
    record = trained.artifact.history["records"][0]
    assert {"epoch", "train_loss", "valid_logloss"} <= set(record)
    assert not {"seconds", "valid_seconds", "rows_per_second"} & set(record)
    assert "n_threads" not in trained.artifact.training
    assert trained.training_data["n_rows"] == 5_400
    assert trained.training_data["n_valid_rows"] == 600
    assert {"read", "encode", "search", "train", "total"} == set(trained.seconds)
    assert trained.seconds["total"] >= trained.seconds["train"] > 0
    assert trained.rows_per_second == pytest.approx(3 * 5_400 / trained.seconds["train"])


def test_the_artifact_does_not_say_how_many_threads_trained_it(clicks, tmp_path):
    data = prepare(clicks, DataSettings(target="click"))
    for name, settings in (("one", {"engine": "auto", "n_threads": 1}), ("two", {"engine": "native", "n_threads": 2})):
        model = fit(data, settings={"epochs": 2, **settings})
        assert not {"engine", "device", "n_threads"} & set(model.artifact.training)
        model.save(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_n_bins_limits_numeric_columns_except_where_a_field_has_its_own(clicks):
    def bins(**settings):
        encoder = prepare(clicks, DataSettings(target="click", **settings)).encoder
        return len(encoder.field_values("age")) - 2

    assert bins(fields={"age": "numeric"}, n_bins=4) == 4
    assert bins(fields={"age": {"kind": "numeric", "n_bins": 6}}, n_bins=4) == 6


def test_bad_data_are_named_by_their_row_in_the_table(clicks):
    broken = clicks.with_columns(click=pl.when(pl.int_range(pl.len()) == 4321).then(None).otherwise("click"))
    with pytest.raises(InputError, match="row 4322"):
        train(broken, "click")


def test_options_of_reading_are_settings(tmp_path):
    lines = "".join(f"{i % 3}|{i % 2}\n" for i in range(60))
    (tmp_path / "bare.txt").write_text(lines)
    options = {"header": False, "column_names": "a,y", "separator": "|", "fields": {"a": "categorical"}}
    options["valid_fraction"] = 0.1
    model = train(tmp_path / "bare.txt", "y", model="linear", epochs=1, **options)
    assert [field.name for field in model.schema.fields] == ["a"]
    assert model.training_data["n_rows"] + model.training_data["n_valid_rows"] == 60
    (tmp_path / "tabs.txt").write_text("a\ty\n" + lines.replace("|", "\t"))
    assert train(tmp_path / "tabs.txt", "y", model="linear", epochs=1, separator="\\t").training_data["n_rows"] == 60


def test_settings_are_parsed_once_and_presets_are_overridden(clicks):
    model = train(clicks, "click", n_factors="4", epochs="1", patience=2, valid_fraction="0.5")
    assert (model.settings.n_factors, model.history.n_epochs) == (4, 1)
    assert model.training_data["n_rows"] == 3_000
    model = train(clicks, "click", model="ffm", preset="libffm", epochs=1, n_factors=2)
    assert (model.settings.optimizer, model.settings.n_factors) == ("libffm", 2)
    with pytest.raises(SettingError, match=r"available for ffm: libffm"):
        train(clicks, "click", preset="libffm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_factor": 4}, "'n_factor' is not a known setting of fm. Did you mean n_factors?"),
        ({"model": "linear", "n_factors": 4}, "'n_factors' is not a known setting of linear"),
        ({"valid_faction": 0.2}, "Did you mean valid_fraction?"),
        ({"modle": "fm"}, "Did you mean model?"),
        ({"on_date": None}, "Did you mean on_data?"),
        ({"model": "DeepFN"}, "Did you mean deepfm?"),
        ({"target": "clik"}, "Did you mean 'click'?"),
        ({"valid_by": "genders"}, "Did you mean 'gender'?"),
        ({"weight": "ages"}, "Did you mean 'age'?"),
        ({"fields": {"Age": "numeric"}}, "Did you mean 'age'?"),
        ({"format": "parket"}, "Did you mean parquet?"),
        ({"target": None}, "target is required for a table"),
        ({"n_factors": "four"}, "n_factors must be auto or an integer from 1 to 256, got n_factors='four'"),
        ({"epochs": 0}, "epochs must be an integer from 1"),
        ({"task": "ranking"}, "task must be one of"),
        ({"valid_fraction": 1.0}, "got valid_fraction=1.0"),
        ({"valid_fraction": -0.1}, "got valid_fraction=-0.1"),
        ({"valid": {}, "valid_by": "age"}, "valid or from valid_by"),
        ({"valid_by": "age", "valid_last_by": "user,age"}, "valid_by or from valid_last_by"),
        ({"valid_last_by": "user"}, "valid_last_by must be two columns"),
        ({"valid_last_by": "user,ages"}, "Did you mean 'age'?"),
        ({"valid": {}, "valid_fraction": 0.2}, "valid or from valid_fraction"),
        ({"resume": True}, "resume needs checkpoint"),
    ],
)
def test_bad_arguments_are_answered_with_the_rule_or_the_nearest_name(clicks, arguments, message):
    with pytest.raises((SettingError, InputError)) as caught:
        train(clicks, **{"target": "click", "epochs": 1, **arguments})
    assert message in str(caught.value)


def test_bad_settings_are_found_before_a_file_is_read():
    for settings in ({"n_factors": 0}, {"n_factor": 1}, {"epochs": 0}, {"min_count": 0}):
        with pytest.raises(SettingError):
            train("no such file.csv", "y", **settings)


def test_fit_takes_settings_of_the_model_and_of_training_only(clicks):
    data = prepare(clicks, DataSettings(target="click"))
    with pytest.raises(SettingError, match="'min_count' is not a known setting of fm"):
        fit(data, settings={"min_count": 3})


def test_callbacks_see_the_data_and_every_epoch(clicks):
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, *, record, **_):
            seen.append(record["epoch"])

    train(clicks, "click", epochs=2, callbacks=[Watch()], on_data=lambda data: seen.append(data.train.n_rows))
    assert seen == [5_400, 1, 2]


def test_training_continues_from_a_checkpoint_bit_for_bit(clicks, tmp_path):
    whole = train(clicks, "click", epochs=4, search=False)
    folder = tmp_path / "checkpoint"
    first = train(
        clicks, "click", epochs=2, search=False, checkpoint=folder, resume=True
    )  # nothing there yet: from the beginning
    assert first.history.n_epochs == 2
    resumed = train(clicks, "click", epochs=4, search=False, checkpoint=folder, resume=True)
    assert resumed.history.n_epochs == 4
    for name, array in whole.artifact.parameters.items():
        np.testing.assert_array_equal(resumed.artifact.parameters[name], array)
    with pytest.raises(SettingError, match="n_factors"):
        train(clicks, "click", epochs=4, search=False, n_factors=3, checkpoint=folder, resume=True)
    (folder / "checkpoint.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="checkpoint"):
        train(clicks, "click", epochs=4, checkpoint=folder, resume=True)


def test_resumed_training_takes_the_settings_that_were_chosen(clicks, tmp_path, monkeypatch):
    whole = train(clicks, "click", epochs=3, checkpoint=tmp_path)
    monkeypatch.setattr("anyfm.training.search.search", lambda *_: pytest.fail("searched again"))
    again = train(clicks, "click", epochs=3, checkpoint=tmp_path, resume=True)
    assert again.artifact.training["search"] == whole.artifact.training["search"] != []
    for name, array in whole.artifact.parameters.items():
        np.testing.assert_array_equal(again.artifact.parameters[name], array)


# ---- text files of ids


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Rows whose label depends on the sum of two ids, in both formats."""
    folder, rng = tmp_path_factory.mktemp("text"), np.random.default_rng(0)
    pairs = rng.integers(0, 5, (1200, 2))
    for suffix, field in (("ffm", True), ("svm", False)):
        entries = (f"0:{a}:1 1:{b + 5}:1" if field else f"{a}:1 {b + 5}:1" for a, b in pairs)
        labels = ((a + b) % 2 * 2 - 1 for a, b in pairs)
        (folder / f"rows.{suffix}").write_text(
            "".join(f"{y} {line}\n" for y, line in zip(labels, entries, strict=True))
        )
    return folder


@pytest.mark.parametrize(("name", "format"), [("rows.svm", "libsvm"), ("rows.ffm", "libffm")])
def test_text_files_are_prepared_by_suffix_or_format(text, tmp_path, name, format):
    (tmp_path / "rows.txt").write_bytes((text / name).read_bytes())
    held_out = ValidationSettings(valid_fraction=0.1)
    for data in (
        prepare(text / name, None, held_out),
        prepare(tmp_path / "rows.txt", DataSettings(format=format), held_out),
    ):
        assert (data.format, data.task.name, data.negative_label, data.schema) == (format, "binary", -1, None)
        assert (data.train.n_rows, data.valid.n_rows, data.n_features) == (1080, 120, 10)
        assert data.reports["train"].to_dict() == {"unseen_entries": 0, "blank_lines": 0, "shared_ids": 0}


def test_a_model_of_text_files(text):
    model = train(text / "rows.ffm", model="ffm", epochs=8)
    assert model.metrics["auc"] > 0.95
    assert (model.schema, model.training_data["negative_label"]) == (None, -1)
    with pytest.raises(SettingError, match="ffm needs the field of every entry"):
        train(text / "rows.svm", model="ffm")
    with pytest.raises(SettingError, match="ffm needs the field of every entry"):
        fit(prepare(text / "rows.svm"), model="ffm")


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "y"},
        {"weight": "w"},
        {"fields": {"a": "tags"}},
        {"min_count": 3},
        {"header": False},
        {"column_names": "a,b"},
        {"separator": ","},
        {"positive": "yes"},
        {"n_bins": 3},
        {"valid_by": "day"},
        {"valid_last_by": "user,day"},
    ],
)
def test_settings_of_columns_are_refused_for_text(text, settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is for tables"):
        train(text / "rows.ffm", **settings)


def test_text_that_teaches_nothing_is_refused(tmp_path):
    (tmp_path / "ones.svm").write_text("1 0:1\n" * 5)
    with pytest.raises(InputError, match=r"two classes.*ones\.svm"):
        prepare(tmp_path / "ones.svm")
    (tmp_path / "empty.svm").write_text("1\n0\n")
    with pytest.raises(InputError, match=r"rows with entries.*empty\.svm"):
        prepare(tmp_path / "empty.svm")


def test_memory_is_told_for_models_with_vectors_for_every_field():
    text = memory_text("ffm", {"n_factors": 4}, n_features=1_000_000, n_fields=20)
    assert "1 M features" in text
    assert "GB" in text
    assert memory_text("ffm", {"n_factors": 8}, n_features=1_000_000, n_fields=20) != text


def test_train_is_the_function_of_the_package():
    assert anyfm.train is train
