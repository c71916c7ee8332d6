"""The command line as its users meet it: files in, files out, one JSON line, plain errors."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anyfm import load
from anyfm.core.errors import InputError
from anyfm.core.settings import TrainingSettings
from anyfm.models import MODELS
from tests.integration.command_line import anyfm, json_of

N_TRAIN, N_TEST = 6_000, 2_000
N_VALID = N_TRAIN // 10


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A generated table, divided into one to train on and one to test on."""
    folder = tmp_path_factory.mktemp("tables")
    anyfm("generate", folder / "clicks.parquet", "--rows", N_TRAIN + N_TEST, "--seed", 5)
    frame = pl.read_parquet(folder / "clicks.parquet")
    frame[:N_TRAIN].write_csv(folder / "train.csv")
    frame[N_TRAIN:].write_csv(folder / "test.csv")
    return folder


@pytest.fixture(scope="module")
def trained(tables):
    """The JSON result of a training, and the directory of its model."""
    out = tables / "model"
    result = anyfm("train", tables / "train.csv", "--target", "click", "--n-factors", 4, "--out", out, "--json")
    return json_of(result), out


def test_train_says_in_json_how_it_went(trained):
    result, out = trained
    assert (result["model"], result["task"], result["out"]) == ("fm", "binary", str(out))
    assert (result["rows"], result["valid_rows"]) == (N_TRAIN - N_VALID, N_VALID)
    assert 1 <= result["best_epoch"] <= result["epochs"]
    assert {"read", "encode", "search", "train", "total"} == set(result["seconds"])
    assert result["seconds"]["total"] > result["seconds"]["train"] > 0
    assert result["rows_per_second"] == pytest.approx(result["rows"] * result["epochs"] / result["seconds"]["train"])
    assert 0.65 < result["valid"]["auc"] < 1
    assert 0 < result["valid"]["logloss"] < 0.6
    assert result["features"] == load(out).artifact.n_features
    assert load(out).artifact.model.settings.n_factors == 4


def test_json_leaves_standard_output_to_the_program(tables, tmp_path):
    result = anyfm("train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m", "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "saved to" in result.stderr
    result = anyfm("train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m")
    assert "saved to" in result.stdout
    assert "saved to" not in result.stderr


def test_train_shows_the_schema_with_reasons(tables, tmp_path):
    frame = pl.read_csv(tables / "train.csv").with_columns(constant=pl.lit("same"))
    frame.write_parquet(tmp_path / "train.parquet")
    result = anyfm("train", tmp_path / "train.parquet", "--target", "click", "--out", tmp_path / "m")
    for field in ("gender", "ad_category", "constant"):
        line = next(line for line in result.stderr.splitlines() if line.split()[:1] == [field])
        assert len(line.split()) > 3, "a kind and a reason"
    assert "click" in result.stderr
    assert f"{N_TRAIN - N_VALID:,}" in result.stderr


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_saves_and_scores(tables, tmp_path, model):
    arguments = ["--target", "click", "--model", model, "--epochs", 3, "--out", tmp_path / "m", "--json"]
    trained = json_of(anyfm("train", tables / "train.csv", *arguments))
    evaluated = json_of(anyfm("evaluate", tmp_path / "m", tables / "test.csv", "--json"))
    assert evaluated["model"] == trained["model"] == model
    assert evaluated["auc"] > 0.6


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(tables, tmp_path):
    for name, threads in (("one", 1), ("two", 2)):
        arguments = ["--seed", 7, "--n-threads", threads, "--epochs", 2, "--out", tmp_path / name]
        anyfm("train", tables / "train.csv", "--target", "click", *arguments)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_evaluate_agrees_with_the_predictor(trained, tables):
    result = json_of(anyfm("evaluate", trained[1], tables / "test.csv", "--json"))
    expected = load(trained[1]).evaluate(tables / "test.csv")
    assert result["rows"] == N_TEST
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_predict_writes_one_score_per_row_in_order(trained, tables, tmp_path, name):
    out = tmp_path / name
    result = json_of(anyfm("predict", trained[1], tables / "test.csv", "--out", out, "--keep", "user", "--json"))
    assert (result["rows"], result["column"]) == (N_TEST, "probability")
    scores = pl.read_csv(out) if name.endswith("csv") else pl.read_parquet(out)
    assert scores.columns == ["user", "probability"]
    assert scores["user"].to_list() == pl.read_csv(tables / "test.csv")["user"].to_list()
    np.testing.assert_allclose(scores["probability"], load(trained[1]).predict(tables / "test.csv"), rtol=1e-6)


def test_predict_needs_no_target_and_writes_csv_to_standard_output(trained, tables, tmp_path):
    pl.read_csv(tables / "test.csv").drop("click").head(3).write_csv(tmp_path / "new.csv")
    run = subprocess.run(
        [sys.executable, "-m", "anyfm", "predict", str(trained[1]), str(tmp_path / "new.csv"), "--out", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "probability"
    assert len(lines) == 4
    assert all(0 < float(line) < 1 for line in lines[1:])


def test_inspect_shows_what_a_model_is(trained):
    shown = anyfm("inspect", trained[1])
    assert "ad_category" in shown.stdout
    assert "n_factors=4" in shown.stdout
    described = json_of(anyfm("inspect", trained[1], "--json"))
    assert described["settings"]["n_factors"] == 4
    assert described["features"] == sum(described["fields"].values()) == trained[0]["features"]


def test_models_lists_every_setting():
    shown = anyfm("models").stdout
    for name, kind in MODELS.items():
        assert kind.title in shown
        of_model = anyfm("models", name).stdout
        assert all(setting in of_model for setting in (*kind.settings_type.names(), *TrainingSettings.names()))
    assert "n_factors" not in anyfm("models", "linear").stdout


@pytest.mark.parametrize("like", ["ads", "criteo"])
def test_generate_gives_the_same_bytes_for_the_same_seed(tmp_path, like):
    for name in ("a", "b"):
        anyfm("generate", tmp_path / f"{name}.parquet", "--rows", 300, "--like", like, "--seed", 3)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    truth = json.loads((tmp_path / "a.parquet.truth.json").read_text())
    assert (truth["rows"], truth["kind"]) == (300, like)
    assert pl.read_parquet(tmp_path / "a.parquet").height == 300


def test_validation_from_a_table_and_by_a_column(tables, tmp_path):
    arguments = ["--target", "click", "--out", tmp_path / "m", "--epochs", 1, "--json"]
    own = json_of(anyfm("train", tables / "train.csv", "--valid", tables / "test.csv", *arguments))
    assert (own["rows"], own["valid_rows"]) == (N_TRAIN, N_TEST)
    frame = pl.read_csv(tables / "train.csv").with_row_index("when")
    frame.write_csv(tmp_path / "timed.csv")
    by = json_of(anyfm("train", tmp_path / "timed.csv", "--valid-by", "when", "--valid-fraction", 0.25, *arguments))
    assert (by["rows"], by["valid_rows"], by["ignored"]) == (N_TRAIN * 3 // 4, N_TRAIN // 4, ["when"])
    none = json_of(anyfm("train", tables / "train.csv", "--valid-fraction", 0, *arguments))
    assert (none["rows"], none["valid_rows"], none["valid"]) == (N_TRAIN, 0, {})


def test_options_override_set_which_overrides_a_file(tables, tmp_path):
    (tmp_path / "options.toml").write_text(
        'target = "click"\nmodel = "deepfm"\nseed = 4\nepochs = 2\nn_factors = 6\ndropout = 0.1\n'
        'hidden_layer_sizes = [8, 4]\n[fields.hour]\nkind = "ignore"\n'
    )
    given = [
        "--set",
        "dropout=0.3",
        "--set",
        "learning_rate=0.2",
        "--learning-rate",
        ".1",
        "--field",
        "age=categorical",
    ]
    arguments = ["--config", tmp_path / "options.toml", *given, "--out", tmp_path / "m", "--json"]
    result = json_of(anyfm("train", tables / "train.csv", *arguments))
    model = load(tmp_path / "m")
    assert (result["model"], result["epochs"], result["ignored"]) == ("deepfm", 2, ["hour"])
    settings = model.settings
    assert (settings.n_factors, settings.dropout, settings.learning_rate) == (6, 0.3, 0.1)
    assert settings.hidden_layer_sizes == (8, 4)
    assert model.artifact.training["seed"] == 4
    assert {field.name: field.kind for field in model.schema.fields}["age"] == "categorical"


def test_a_wrong_name_in_a_file_is_told_with_the_file(tables, tmp_path):
    (tmp_path / "options.toml").write_text("n_factor = 8\n")
    error = anyfm(
        "train", tables / "train.csv", "--config", tmp_path / "options.toml", "--out", tmp_path / "m", status=2
    ).stderr
    assert "Did you mean n_factors?" in error
    assert str(tmp_path / "options.toml") in error


def test_the_result_names_the_best_epoch_and_why_training_stopped(tables, tmp_path):
    arguments = ["train", tables / "train.csv", "--target", "click", "--model", "linear", "--out", tmp_path / "m"]
    assert "of 2 (reached the epochs limit)" in anyfm(*arguments, "--epochs", 2).stdout
    assert "(early stopping)" in anyfm(*arguments, "--patience", 1, "--learning-rate", 3).stdout


def test_training_continues_from_a_checkpoint(tables, tmp_path):
    arguments = ["train", tables / "train.csv", "--target", "click", "--no-search", "--checkpoint", tmp_path / "c"]
    anyfm(*arguments, "--epochs", 1, "--out", tmp_path / "m")
    resumed = json_of(anyfm(*arguments, "--epochs", 3, "--resume", "--out", tmp_path / "resumed", "--json"))
    whole = json_of(anyfm(*arguments[:-2], "--epochs", 3, "--out", tmp_path / "whole", "--json"))
    assert resumed["epochs"] == 3
    assert resumed["valid"] == whole["valid"]


def test_text_without_a_header(tables, tmp_path):
    frame = pl.read_csv(tables / "train.csv")
    frame.write_csv(tmp_path / "plain.txt", include_header=False, separator="\t")
    layout = ["--no-header", "--column-names", ",".join(frame.columns), "--separator", "\\t"]
    arguments = ["--target", "click", *layout, "--epochs", 1, "--out", tmp_path / "m", "--json"]
    assert json_of(anyfm("train", tmp_path / "plain.txt", *arguments))["rows"] == N_TRAIN - N_VALID
    assert json_of(anyfm("evaluate", tmp_path / "m", tmp_path / "plain.txt", *layout, "--json"))["rows"] == N_TRAIN


def test_regression_and_weights(tmp_path):
    rng = np.random.default_rng(0)
    item = rng.integers(0, 20, 3_000)
    frame = pl.DataFrame({"item": [f"i{i}" for i in item], "stars": item / 4 + rng.normal(0, 0.1, 3_000), "times": 2.0})
    frame.write_parquet(tmp_path / "r.parquet")
    arguments = ["--target", "stars", "--weight", "times", "--model", "linear", "--out", tmp_path / "m", "--json"]
    result = json_of(anyfm("train", tmp_path / "r.parquet", *arguments))
    assert result["task"] == "regression"
    assert result["valid"]["rmse"] < 0.3
    scores = json_of(anyfm("predict", tmp_path / "m", tmp_path / "r.parquet", "--out", tmp_path / "s.csv", "--json"))
    assert scores["column"] == "prediction"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{train}", "--out", "{tmp}/m"], "--target is required"),
        (["train", "{train}", "--target", "click"], "Missing option '--out'"),
        (["train", "{train}", "--target", "nope", "--out", "{tmp}/m"], "nope"),
        (["train", "{tmp}/none.csv", "--target", "click", "--out", "{tmp}/m"], "none.csv"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--model", "magic"], "is not a known model"),
        (
            ["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors=0"],
            "--n-factors must be auto or an integer from 1 to 256, got 0",
        ),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors=x"], "--n-factors must be"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "nothing=1"], "nothing"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors"], "NAME=VALUE"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--field", "hour=vague"], "vague"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--field", "absent=numeric"], "absent"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--task", "guess"], "guess"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--valid-fraction", "1"], "fraction"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--valid-by", "when"], "when"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--n-threads", "-1"], "--n-threads must be"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--config", "{tmp}/no.toml"], "No such file"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}"], "not an anyfm model"),
        (["evaluate", "{tmp}/none", "{train}"], "is not a model directory"),
        (["predict", "{tmp}", "{train}"], "is not a model directory"),
        (["predict", "{model}", "{tmp}/other.csv"], "gender"),
        (["predict", "{model}", "{train}", "--json"], "--json needs --out"),
        (["predict", "{model}", "{train}", "--keep", "absent"], "absent"),
        (["predict", "{model}", "{train}", "--out", "{tmp}/no/such/scores.csv"], "scores.csv"),
        (["inspect", "{tmp}/none"], "is not a model directory"),
        (["train", "{train}", "--n-factor", "8"], "Did you mean --n-factors?"),
        (
            ["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factor=8"],
            "Did you mean n_factors?",
        ),
        (
            ["train", "{train}", "--out", "{tmp}/m", "--dropout", ".1"],
            "dropout is a setting of afm, deepfm; fm does not",
        ),
        (
            ["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--learning-rate", "x"],
            "--learning-rate must be a number above 0",
        ),
        (["train"], "Missing argument 'DATA'. See"),
        (["trian", "{train}"], "Did you mean"),
        (["--bad"], "--help"),
        (["generate", "{tmp}/x.parquet", "--rows", "x"], "'--rows'"),
        (["models", "magic"], "is not a known model"),
        (["generate", "{tmp}/x.parquet", "--like", "ad"], "Did you mean ads?"),
        (["generate", "{tmp}/x.parquet", "--rows", "0"], "n_rows must be"),
        (["generate", "{tmp}/x.exe"], "a table is written as .parquet, .csv"),
        (["predict", "{model}", "{train}", "--out", "{tmp}/x.exe"], "a table is written as .parquet, .csv"),
        (
            ["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--monitor", "calibration_ratio"],
            "--monitor must",
        ),
        (
            ["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--field", "age=numeric:x"],
            "the option of a kind must be",
        ),
        (["convert", "{train}", "{tmp}/x.ffm"], "--target is required for a table"),
        (["convert", "{train}", "{tmp}/x.parquet"], "--out-format"),
    ],
)
def test_errors_are_plain_words_and_status_2(trained, tables, tmp_path, arguments, message):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    places = {"train": tables / "train.csv", "tmp": tmp_path, "model": trained[1]}
    result = anyfm(*(argument.format(**places) for argument in arguments), status=2)
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--set", "n_factors=0"], "--n-factors must be"),
        (["--monitor", "auc", "--valid-fraction", "0"], "--monitor needs validation rows"),
        (["--engine", "native", "--device", "cuda"], "computes on the CPU"),
        (["--out", "{train}/m"], "train.csv"),
    ],
)
def test_a_wrong_option_is_told_before_the_data_is_read(tables, tmp_path, monkeypatch, wrong, message):
    from anyfm.data import readers

    monkeypatch.setattr(readers, "read_table", lambda *_, **__: pytest.fail("the table was read"))
    arguments = ["train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m"]
    given = [argument.format(train=tables / "train.csv") for argument in wrong]
    assert message in anyfm(*arguments, *given, status=2).stderr


def test_models_are_described_in_json_too():
    found = json_of(anyfm("models", "--json"))
    assert found["models"].keys() == MODELS.keys()
    assert found["models"]["ffm"]["settings"]["n_factors"]["default"] is None
    assert found["settings"]["Training"]["epochs"]["meaning"]
    assert json_of(anyfm("models", "fm", "--json"))["models"].keys() == {"fm"}


def test_auto_stands_for_automatic_settings(tables, tmp_path):
    arguments = ["--target", "click", "--epochs", 1, "--n-factors", 4, "--out", tmp_path / "m"]
    shown = anyfm("train", tables / "train.csv", "--l2-linear", "auto", *arguments).stdout
    assert "l2_linear=auto" in shown
    assert load(tmp_path / "m").settings.l2_linear is None
    assert (
        "--l2-linear must be auto or"
        in anyfm("train", tables / "train.csv", "--l2-linear", "none", *arguments, status=2).stderr
    )


def test_parts_of_a_date_are_given_with_its_kind(tmp_path):
    hours = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 3, 1), "1h", eager=True)
    frame = pl.DataFrame({"when": hours, "y": [row % 2 for row in range(len(hours))]})
    frame.write_parquet(tmp_path / "t.parquet")
    arguments = ["--target", "y", "--epochs", 1, "--out", tmp_path / "m", "--model", "linear"]
    anyfm("train", tmp_path / "t.parquet", "--field", "when=datetime:hour,weekday", *arguments)
    assert load(tmp_path / "m").artifact.encoder.field_names == ["when.hour", "when.weekday"]


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scores.csv"), 2, "error: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: Permission denied (file x)"),
        (MemoryError(), 2, "error: there is not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_whatever_the_system_does_there_is_no_traceback(tables, tmp_path, monkeypatch, raised, status, said):
    from anyfm import pipeline

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(pipeline, "train", fail)
    result = anyfm("train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m", status=status)
    assert result.stderr.startswith(said)
    assert (result.stderr == "") == (said == "")


def test_a_closed_pipe_is_quiet(trained, tables):
    code = f"{sys.executable} -m anyfm predict {trained[1]} {tables / 'train.csv'} --out - | head -1"
    run = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "probability\n"
    assert "Traceback" not in run.stderr
    assert "Broken" not in run.stderr


def test_help_loads_neither_polars_nor_torch():
    code = (
        "import sys; sys.argv = ['anyfm', '--help']\n"
        "from anyfm.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'polars', 'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestDemo:
    def test_without_a_network_it_uses_generated_clicks(self, tmp_path, monkeypatch):
        from anyfm.cli import demo
        from anyfm.datasets import movielens

        def no_network(directory):
            raise InputError("the wheel cannot be downloaded: no route to host")

        monkeypatch.setattr(movielens, "download", no_network)
        monkeypatch.setattr(sys.modules[demo.__module__], "_N_GENERATED", 12_000)
        result = anyfm("demo", "--out", tmp_path / "d", "--json")
        assert "no network" in result.stderr
        models = json_of(result)["models"]
        assert models.keys() == MODELS.keys()
        assert models["fm"]["auc"] > models["linear"]["auc"] + 0.02
        test = tmp_path / "d" / "test.parquet"
        assert load(tmp_path / "d" / "fm").evaluate(test)["auc"] == pytest.approx(models["fm"]["auc"])
        pairs = json_of(result)["pairs"]
        assert pairs[0]["fields"] == ["gender", "ad_category"]
        of = {frozenset(pair["fields"]): pair for pair in pairs}
        matters, does_not = of[frozenset(("gender", "ad_category"))], of[frozenset(("gender", "ad_size"))]
        assert matters["attention"] > 1.2 * does_not["attention"]
        assert matters["strength"] > 10 * does_not["strength"]
        assert sum(pair["attention"] for pair in pairs) == pytest.approx(1.0)
        assert "gender × ad_category" in result.stderr
        assert "gender × ad_size" in result.stderr
        paths = str(tmp_path)  # may be long
        assert all(len(line) <= 80 for line in result.stderr.splitlines() if paths not in line)
        assert "anyfm train" in result.stderr.splitlines()[-1]

    def test_on_movielens_the_fm_is_ahead_and_finds_like_films(self, tmp_path):
        from anyfm.datasets import movielens

        if not (movielens.cache_directory() / movielens.WHEEL).is_file():
            pytest.skip("MovieLens-100K has not been downloaded; run `anyfm demo` once")
        result = anyfm("demo", "--out", tmp_path / "demo", "--json")
        models = json_of(result)["models"]
        assert models["fm"]["auc"] > models["linear"]["auc"] + 0.003
        assert models["fm"]["logloss"] < models["linear"]["logloss"] - 0.003
        neighbors = next(line for line in result.stderr.splitlines() if line.strip().startswith("Star Wars"))
        assert "Empire Strikes Back" in neighbors or "Return of the Jedi" in neighbors


def test_a_download_that_is_not_the_expected_file_is_refused(tmp_path):
    from anyfm.datasets import movielens

    Path(tmp_path / movielens.WHEEL).write_bytes(b"something else")
    with pytest.raises(InputError, match="not the one expected"):
        movielens.download(tmp_path)
