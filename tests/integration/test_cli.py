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
from typer.testing import CliRunner

from anyfm.cli import app
from anyfm.core.errors import InputError
from anyfm.models import MODELS
from anyfm.predictor import load

runner = CliRunner()


def anyfm(*arguments, status=0):
    """Run a command in this process and return its result; the last line of its output is parsed for --json."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exit_code != status:
        pytest.fail(f"status {result.exit_code}: {result.stderr}\n{result.exception!r}")
    return result


def json_of(result):
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A generated table, divided into one to train on and one to test on."""
    folder = tmp_path_factory.mktemp("tables")
    anyfm("generate", folder / "clicks.parquet", "--rows", 20_000, "--seed", 5)
    frame = pl.read_parquet(folder / "clicks.parquet")
    frame[:16_000].write_csv(folder / "train.csv")
    frame[16_000:].write_csv(folder / "test.csv")
    return folder


@pytest.fixture(scope="module")
def trained(tables):
    """The JSON result of a training, and the directory of its model."""
    out = tables / "model"
    result = anyfm("train", tables / "train.csv", "--target", "click", "--set", "n_factors=4", "--out", out, "--json")
    return json_of(result), out


def test_train_says_in_json_how_it_went(trained):
    result, out = trained
    assert (result["model"], result["task"], result["out"]) == ("fm", "binary", str(out))
    assert (result["rows"], result["valid_rows"]) == (14_400, 1_600)
    assert 1 <= result["best_epoch"] <= result["epochs"]
    assert {"read", "encode", "train", "total"} == set(result["seconds"])
    assert result["seconds"]["total"] > result["seconds"]["train"] > 0
    assert result["rows_per_second"] == pytest.approx(result["rows"] * result["epochs"] / result["seconds"]["train"])
    assert 0.65 < result["valid"]["auc"] < 1
    assert 0 < result["valid"]["logloss"] < 0.6
    assert result["features"] == load(out).artifact.n_features
    assert load(out).artifact.model.settings.n_factors == 4


def test_json_leaves_standard_output_to_the_program(tables, tmp_path):
    result = anyfm("train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m", "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "best epoch" in result.stderr
    result = anyfm("train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m")
    assert "best epoch" in result.stdout
    assert "best epoch" not in result.stderr


def test_train_shows_the_schema_with_reasons(tables, tmp_path):
    frame = pl.read_csv(tables / "train.csv").with_columns(constant=pl.lit("same"))
    frame.write_parquet(tmp_path / "train.parquet")
    result = anyfm("train", tmp_path / "train.parquet", "--target", "click", "--out", tmp_path / "m")
    for field in ("gender", "ad_category", "constant"):
        line = next(line for line in result.stderr.splitlines() if line.split()[:1] == [field])
        assert len(line.split()) > 3, "a kind and a reason"
    assert "click" in result.stderr
    assert "14,400" in result.stderr


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_saves_and_scores(tables, tmp_path, model):
    arguments = ["--target", "click", "--model", model, "--set", "epochs=3", "--out", tmp_path / "m", "--json"]
    trained = json_of(anyfm("train", tables / "train.csv", *arguments))
    evaluated = json_of(anyfm("evaluate", tmp_path / "m", tables / "test.csv", "--json"))
    assert evaluated["model"] == trained["model"] == model
    assert evaluated["auc"] > 0.6


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(tables, tmp_path):
    for name, threads in (("one", 1), ("two", 2)):
        arguments = ["--seed", 7, "--threads", threads, "--set", "epochs=2", "--out", tmp_path / name]
        anyfm("train", tables / "train.csv", "--target", "click", *arguments)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_evaluate_agrees_with_the_predictor(trained, tables):
    result = json_of(anyfm("evaluate", trained[1], tables / "test.csv", "--json"))
    expected = load(trained[1]).evaluate(tables / "test.csv")
    assert result["rows"] == 4_000
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_predict_writes_one_score_per_row_in_order(trained, tables, tmp_path, name):
    out = tmp_path / name
    result = json_of(anyfm("predict", trained[1], tables / "test.csv", "--out", out, "--keep", "user", "--json"))
    assert (result["rows"], result["column"]) == (4_000, "probability")
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
    assert described["config"]["n_factors"] == 4
    assert described["features"] == sum(described["fields"].values()) == trained[0]["features"]


def test_models_lists_every_setting():
    shown = anyfm("models").stdout
    for name, kind in MODELS.items():
        assert name in shown
        assert all(setting in shown for setting in kind.settings_type.__dataclass_fields__)
    assert "n_factors" not in anyfm("models", "linear").stdout


@pytest.mark.parametrize("like", ["ads", "criteo"])
def test_generate_gives_the_same_bytes_for_the_same_seed(tmp_path, like):
    for name in ("a", "b"):
        anyfm("generate", tmp_path / f"{name}.parquet", "--rows", 300, "--like", like, "--seed", 3)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    truth = json.loads((tmp_path / "a.truth.json").read_text())
    assert (truth["rows"], truth["kind"]) == (300, like)
    assert pl.read_parquet(tmp_path / "a.parquet").height == 300


def test_validation_from_a_table_and_by_a_column(tables, tmp_path):
    arguments = ["--target", "click", "--out", tmp_path / "m", "--set", "epochs=1", "--json"]
    own = json_of(anyfm("train", tables / "train.csv", "--valid", tables / "test.csv", *arguments))
    assert (own["rows"], own["valid_rows"]) == (16_000, 4_000)
    frame = pl.read_csv(tables / "train.csv").with_row_index("when")
    frame.write_csv(tmp_path / "timed.csv")
    by = json_of(anyfm("train", tmp_path / "timed.csv", "--valid-by", "when", "--valid-fraction", 0.25, *arguments))
    assert (by["rows"], by["valid_rows"], by["ignored"]) == (12_000, 4_000, ["when"])
    none = json_of(anyfm("train", tables / "train.csv", "--valid-fraction", 0, *arguments))
    assert (none["rows"], none["valid_rows"], none["valid"]) == (16_000, 0, {})


def test_a_file_of_options_is_overruled_by_the_command_line(tables, tmp_path):
    (tmp_path / "options.toml").write_text(
        'target = "click"\nmodel = "linear"\nseed = 4\n[settings]\nn_epochs = 2\nlearning_rate = 0.02\n'
        '[fields.hour]\nkind = "ignore"\n'
    )
    arguments = [
        "--config",
        tmp_path / "options.toml",
        "--out",
        tmp_path / "m",
        "--set",
        "learning_rate=0.03",
        "--json",
    ]
    result = json_of(anyfm("train", tables / "train.csv", *arguments))
    artifact = load(tmp_path / "m").artifact
    assert (result["model"], result["epochs"], result["ignored"]) == ("linear", 2, ["hour"])
    assert (artifact.model.settings.learning_rate, artifact.training["seed"]) == (0.03, 4)


def test_text_without_a_header(tables, tmp_path):
    frame = pl.read_csv(tables / "train.csv")
    frame.write_csv(tmp_path / "plain.txt", include_header=False, separator="\t")
    layout = ["--no-header", "--names", ",".join(frame.columns), "--separator", "\\t"]
    arguments = ["--target", "click", *layout, "--set", "epochs=1", "--out", tmp_path / "m", "--json"]
    assert json_of(anyfm("train", tmp_path / "plain.txt", *arguments))["rows"] == 14_400
    assert json_of(anyfm("evaluate", tmp_path / "m", tmp_path / "plain.txt", *layout, "--json"))["rows"] == 16_000


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
        (["train", "{train}", "--out", "{tmp}/m"], "--target must name"),
        (["train", "{train}", "--target", "click"], "--out must name"),
        (["train", "{train}", "--target", "nope", "--out", "{tmp}/m"], "nope"),
        (["train", "{tmp}/none.csv", "--target", "click", "--out", "{tmp}/m"], "none.csv"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--model", "magic"], "the model must be one of"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors=0"], "n_factors must be"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors=x"], "n_factors must be"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "nothing=1"], "nothing"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--set", "n_factors"], "NAME=VALUE"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--field", "hour=vague"], "vague"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--field", "absent=numeric"], "absent"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--task", "guess"], "guess"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--valid-fraction", "1"], "fraction"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--valid-by", "when"], "when"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--threads", "-1"], "n_threads must be"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}/m", "--config", "{tmp}/no.toml"], "No such file"),
        (["train", "{train}", "--target", "click", "--out", "{tmp}"], "not an anyfm model"),
        (["evaluate", "{tmp}/none", "{train}"], "no such model"),
        (["predict", "{tmp}", "{train}"], "no anyfm model"),
        (["predict", "{model}", "{tmp}/other.csv"], "gender"),
        (["predict", "{model}", "{train}", "--json"], "--json needs --out"),
        (["predict", "{model}", "{train}", "--keep", "absent"], "absent"),
        (["predict", "{model}", "{train}", "--out", "{tmp}/no/such/scores.csv"], "scores.csv"),
        (["inspect", "{tmp}/none"], "no such model"),
        (["models", "magic"], "the model must be one of"),
        (["generate", "{tmp}/x.parquet", "--rows", "0"], "n_rows must be"),
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


def test_a_wrong_option_is_told_before_the_data_is_read(tables, tmp_path, monkeypatch):
    from anyfm.data import readers

    monkeypatch.setattr(readers, "read_table", lambda *_, **__: pytest.fail("the table was read"))
    arguments = ["train", tables / "train.csv", "--target", "click", "--out", tmp_path / "m", "--set", "n_factors=0"]
    anyfm(*arguments, status=2)


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
    from anyfm import workflow

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(workflow, "train_table", fail)
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
        from anyfm.datasets import movielens

        def no_network(directory):
            raise InputError("the wheel cannot be downloaded: no route to host")

        monkeypatch.setattr(movielens, "download", no_network)
        result = anyfm("demo", "--out", tmp_path / "demo", "--json")
        assert "no network" in result.stderr
        models = json_of(result)["models"]
        assert models["fm"]["auc"] > models["linear"]["auc"] + 0.02
        assert json_of(anyfm("evaluate", tmp_path / "demo" / "fm", tmp_path / "demo" / "test.parquet", "--json"))[
            "auc"
        ] == pytest.approx(models["fm"]["auc"])
        assert json_of(result)["pairs"][0]["fields"] == ["gender", "ad_category"]
        of = {frozenset(pair["fields"]): pair for pair in json_of(result)["pairs"]}
        matters, does_not = of[frozenset(("gender", "ad_category"))], of[frozenset(("gender", "ad_size"))]
        assert matters["attention"] > 1.2 * does_not["attention"]
        assert matters["strength"] > 10 * does_not["strength"]
        assert sum(pair["attention"] for pair in of.values()) == pytest.approx(1.0)
        assert "gender × ad_category" in result.stderr
        assert "gender × ad_size" in result.stderr

    def test_on_movielens_the_fm_is_ahead_and_finds_like_films(self, tmp_path):
        from anyfm.datasets import movielens

        if not (movielens.cache_directory() / movielens.WHEEL).is_file():
            pytest.skip("MovieLens-100K has not been downloaded; run `anyfm demo` once")
        result = anyfm("demo", "--out", tmp_path / "demo", "--json")
        models = json_of(result)["models"]
        assert models["fm"]["auc"] > models["linear"]["auc"] + 0.003
        assert models["fm"]["logloss"] < models["linear"]["logloss"] - 0.003
        neighbours = next(line for line in result.stderr.splitlines() if line.strip().startswith("Star Wars"))
        assert "Empire Strikes Back" in neighbours or "Return of the Jedi" in neighbours


def test_a_download_that_is_not_the_expected_file_is_refused(tmp_path):
    from anyfm.datasets import movielens

    Path(tmp_path / movielens.WHEEL).write_bytes(b"something else")
    with pytest.raises(InputError, match="not the one expected"):
        movielens.download(tmp_path)
