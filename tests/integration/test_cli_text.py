"""libsvm and libffm files on the command line: trained on, scored, and refused with their place."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm import train
from anyfm.artifact import load_artifact
from anyfm.core.errors import InputError, SettingError
from anyfm.core.settings import DataSettings, ValidationSettings
from anyfm.data.text.reader import read_text
from anyfm.engines import memory
from anyfm.metrics import auc
from anyfm.models import FFM, MODELS, FFMSettings, specification_logits
from anyfm.pipeline import fit, memory_text, prepare
from tests.integration.command_line import anyfm, json_of

N_FIELDS, FIELD_SIZE = 4, 6


def lines(n, seed, *, negative=0, fields=True):
    """Rows whose label depends on a pair of fields."""
    rng = np.random.default_rng(seed)
    text = []
    for local in rng.integers(0, FIELD_SIZE, (n, N_FIELDS)):
        positive = (local[0] + local[1]) % 2 == 0 if rng.random() < 0.9 else rng.random() < 0.5
        entries = [(f"{f}:" if fields else "") + f"{f * FIELD_SIZE + i}:1" for f, i in enumerate(local)]
        text.append(f"{1 if positive else negative} {' '.join(entries)}\n")
    return "".join(text)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "tr.ffm").write_text(lines(3000, 1, negative=-1))
    (folder / "va.ffm").write_text(lines(1000, 2, negative=-1))
    (folder / "tr.svm").write_text(lines(3000, 1, fields=False))
    (folder / "va.txt").write_text(lines(1000, 2, fields=False))
    return folder


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_and_scores_on_libffm_text(texts, tmp_path, model):
    valid = texts / "va.ffm"
    arguments = ["--model", model, "--valid", valid, "--out", tmp_path / "m", "--epochs", 12, "--json"]
    result = json_of(anyfm("train", texts / "tr.ffm", *arguments))
    assert (result["rows"], result["valid_rows"], result["features"], result["fields"]) == (3000, 1000, 24, 4)
    assert (result["task"], result["format"], result["negative_label"]) == ("binary", "libffm", -1)
    assert (result["valid"]["auc"] > 0.85) == (model != "linear")
    artifact = load_artifact(tmp_path / "m")
    assert artifact.encoder is None
    assert (artifact.n_features, artifact.n_fields) == (24, 4)
    assert (artifact.training["format"], artifact.training["negative_label"]) == ("libffm", -1)

    scores = json_of(anyfm("evaluate", tmp_path / "m", valid, "--json"))
    assert scores["logloss"] == pytest.approx(result["valid"]["logloss"], rel=1e-6)
    anyfm("predict", tmp_path / "m", valid, "--out", tmp_path / "p.csv")
    predictions = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    rows = read_text(valid).rows
    expected = specification_logits(artifact.model, artifact.parameters, rows)
    np.testing.assert_allclose(predictions, 1 / (1 + np.exp(-expected)), rtol=1e-4)
    assert auc(rows.y, expected) == pytest.approx(scores["auc"], rel=1e-6)
    shown = anyfm("inspect", tmp_path / "m").stdout
    assert "libffm files" in shown
    assert "24 features in 4 fields" in shown


def test_libsvm_and_formats_that_the_suffix_does_not_say(texts, tmp_path):
    anyfm("train", texts / "tr.svm", "--out", tmp_path / "m", "--epochs", 12)
    assert load_artifact(tmp_path / "m").training["valid_rows"] == 300
    scores = json_of(anyfm("evaluate", tmp_path / "m", texts / "va.txt", "--format", "libsvm", "--json"))
    assert scores["auc"] > 0.85
    # a model that uses no fields reads either format
    assert json_of(anyfm("evaluate", tmp_path / "m", texts / "va.ffm", "--json"))["auc"] == pytest.approx(scores["auc"])
    (tmp_path / "copy.txt").write_text(lines(3000, 1))
    anyfm("train", tmp_path / "copy.txt", "--format", "libffm", "--model", "ffm", "--out", tmp_path / "f")
    (tmp_path / "o.toml").write_text('format = "libffm"\npreset = "libffm"\n')
    anyfm("train", tmp_path / "copy.txt", "--config", tmp_path / "o.toml", "--out", tmp_path / "c")
    assert load_artifact(tmp_path / "c").model.settings.optimizer == "libffm"


def test_entries_unknown_to_the_model_are_left_out_counted_and_reported(texts, tmp_path):
    anyfm("train", texts / "tr.ffm", "--model", "ffm", "--out", tmp_path / "m", "--epochs", 2)
    (tmp_path / "new.ffm").write_text("0 0:1:1 1:7:1 2:999:1 9:3:1\n1 0:1:1 1:7:1\n\n7\n")
    result = anyfm("predict", tmp_path / "m", tmp_path / "new.ffm", "--out", tmp_path / "p.csv", "--json")
    assert json_of(result)["encoding"] == {"unseen_entries": 2, "blank_lines": 1, "shared_ids": 0}
    assert "2 entries are left out" in result.stderr
    with_unseen, without, empty = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    assert with_unseen == without
    bias = load_artifact(tmp_path / "m").parameters["bias"][0]
    assert empty == pytest.approx(1 / (1 + np.exp(-bias)))
    (tmp_path / "va.ffm").write_text("0 0:1:1 1:24:1\n1 4:1:1 1:7:1\n")
    arguments = ["--valid", tmp_path / "va.ffm", "--out", tmp_path / "v", "--epochs", 2, "--json"]
    result = anyfm("train", texts / "tr.ffm", *arguments)
    assert json_of(result)["encoding"]["valid"]["unseen_entries"] == 2
    assert "validation  2 entries are left out" in result.stderr


def test_the_preset_is_libffm_s_model_and_settings_override_it(texts, tmp_path):
    result = anyfm("train", texts / "tr.ffm", "--preset", "libffm", "--n-factors", 3, "--out", tmp_path / "m")
    artifact = load_artifact(tmp_path / "m")
    assert artifact.model.name == "ffm"
    assert {
        **artifact.model.settings.to_dict(),
        **FFM.presets["libffm"],
        "n_factors": 3,
    } == artifact.model.settings.to_dict()
    assert not artifact.parameters["linear"].any()
    assert artifact.parameters["bias"][0] == 0
    assert "memory" not in result.stderr, "it is shown from 1 GB on"
    again = train(texts / "tr.ffm", model="ffm", preset="libffm", n_factors=3).artifact
    np.testing.assert_array_equal(again.parameters["field_factors"], artifact.parameters["field_factors"])


def test_memory_is_reported_before_it_is_allocated_and_refused_where_it_is_not_free(texts, tmp_path, monkeypatch):
    sizes = {"n_features": 2_000_000, "n_fields": 39}
    needed = memory.needed_memory(FFM(FFMSettings(n_factors=25)).resolve(39), **sizes, training=True)
    assert 3 * 2_000_000 * 39 * 25 * 4 < needed < 3 * 2_000_000 * 40 * 30 * 4
    memory_part = f"{needed / 1e9:.2g} GB, two thirds of it for copies of the best epoch"
    assert memory_text("ffm", {"n_factors": 25}, **sizes) == f"2 M features × 976 parameters: {memory_part}"
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    assert memory_text("ffm", {"n_factors": 25}, **sizes, at_least=needed + 1) is None
    result = anyfm("train", texts / "tr.ffm", "--model", "ffm", "--out", tmp_path / "m", status=2)
    assert "must fit the free memory" in result.stderr


def test_the_preset_learns_a_table_too(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (2, 3000))
    table = {"a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b], "y": ((a + b) % 2).astype(int)}
    trained = train(table, "y", model="ffm", preset="libffm", epochs=30)
    assert trained.artifact.model.settings.normalize
    assert trained.metrics["auc"] > 0.95


def test_validation_text_is_scored_as_by_the_saved_model(texts):
    table = prepare(texts / "tr.ffm", validation=ValidationSettings(valid=texts / "va.ffm"))
    trained = fit(table, model="ffm", settings={"epochs": 3})
    assert trained.evaluate(table.valid) == pytest.approx(trained.metrics, rel=1e-5)


def test_a_fraction_is_held_out_and_every_row_is_used_once(texts):
    table = prepare(texts / "tr.ffm", validation=ValidationSettings(valid_fraction=0.25), seed=3)
    assert (table.train.n_rows, table.valid.n_rows) == (2250, 750)
    whole = read_text(texts / "tr.ffm").rows
    together = np.concatenate([table.train.ids, table.valid.ids])
    assert sorted(map(tuple, together)) == sorted(map(tuple, whole.ids))
    assert prepare(texts / "tr.ffm", validation=ValidationSettings(valid_fraction=0)).valid is None


def test_regression_on_text(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 8, 2000)
    (tmp_path / "r.svm").write_text("".join(f"{i * 0.5 + rng.normal(0, 0.1):.3f} {i}:1\n" for i in ids))
    result = anyfm("train", tmp_path / "r.svm", "--model", "linear", "--out", tmp_path / "m", "--json")
    assert json_of(result)["task"] == "regression"
    assert json_of(result)["valid"]["rmse"] < 0.2
    # labels that look like classes are numbers to a regression model
    (tmp_path / "s.svm").write_text("0 0:1\n1 2:1\n-1 1:1\n")
    assert json_of(anyfm("evaluate", tmp_path / "m", tmp_path / "s.svm", "--json"))["rows"] == 3


@pytest.mark.parametrize(
    ("content", "place", "expected"),
    [
        ("1 0:1:1\n0 0:2:x\n", ("line 2", "column 7"), "a value"),
        ("1 0:1:1\n0 0:-2:1\n", ("line 2", "column 5"), "a feature id"),
        ("1 0:1:1\n0 -1:2:1\n", ("line 2", "column 3"), "a field"),
        ("1 0:1:1\n0 0:2:1e400\n", ("line 2", "column 7"), "a value"),
        ("1 0:1:1\n0 0:2:nan\n", ("line 2", "column 7"), "a value"),
        ("1 0:1:1\n0 3:1\n", ("line 2", "column 5"), "libsvm"),
        ("1 0:1:1\nspam 0:1:1\n", ("line 2", "column 1"), "a label"),
        ("1 0:1:1\n1 0:1:1\n", ("value 1",), "two classes"),
        ("", (), "rows with entries"),
        ("1\n0\n", (), "rows with entries"),
    ],
)
def test_bad_files_end_with_status_2_and_their_place(texts, tmp_path, content, place, expected):
    path = tmp_path / "bad.ffm"
    path.write_text(content)
    result = anyfm("train", path, "--model", "ffm", "--out", tmp_path / "m", status=2)
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert expected in result.stderr
    for part in (str(path), *place):
        assert part in result.stderr
    assert not (tmp_path / "m").exists()
    assert "Traceback" not in result.stderr


def test_a_bad_validation_file_is_named(texts, tmp_path):
    (tmp_path / "va.ffm").write_text("-1 0:1:1\n2 0:1:1\n")
    arguments = ["--valid", tmp_path / "va.ffm", "--out", tmp_path / "m"]
    result = anyfm("train", texts / "tr.ffm", *arguments, status=2)
    for part in ("va.ffm", "line 2", "column 1", "0, 1 or -1"):
        assert part in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{texts}/tr.svm", "--model", "ffm", "--out", "{tmp}/m"], "ffm needs the field of every entry"),
        (["train", "{texts}/tr.svm", "--preset", "libffm", "--out", "{tmp}/m"], "ffm needs the field of every entry"),
        (["train", "{texts}/tr.ffm", "--preset", "magic", "--out", "{tmp}/m"], "available for ffm: libffm"),
        (
            ["train", "{texts}/tr.ffm", "--preset", "libffm", "--model", "fm", "--out", "{tmp}/m"],
            "available for ffm: libffm",
        ),
        (["train", "{texts}/tr.ffm", "--format", "libfm", "--out", "{tmp}/m"], "Did you mean libffm?"),
        (["train", "{texts}/tr.ffm", "--format", "libsvm", "--out", "{tmp}/m"], "choose the format 'libffm'"),
        (["train", "{texts}/tr.ffm", "--target", "y", "--out", "{tmp}/m"], "target is for tables"),
        (["train", "{texts}/tr.ffm", "--valid-by", "day", "--out", "{tmp}/m"], "--valid-by is for tables"),
        (["train", "{texts}/tr.ffm", "--field", "a=tags", "--out", "{tmp}/m"], "--field is for tables"),
        (["train", "{texts}/tr.ffm", "--no-header", "--out", "{tmp}/m"], "header is for tables"),
        (["train", "{texts}/tr.ffm", "--min-count", "3", "--out", "{tmp}/m"], "--min-count is for tables"),
        (["train", "{texts}/tr.ffm", "--valid", "{texts}/va.txt", "--out", "{tmp}/m"], "expected a f"),
        (["train", "{texts}/tr.ffm"], "Missing option '--out'"),
        (["train", "{texts}/none.ffm", "--out", "{tmp}/m"], "none.ffm"),
        (["train", "{texts}/tr.ffm", "--n-factors", "0", "--out", "{tmp}/m"], "--n-factors must be"),
        (["predict", "{tmp}/ffm", "{texts}/tr.svm"], "ffm needs the field of every entry"),
        (["predict", "{tmp}/ffm", "{texts}/tr.ffm", "--keep", "a"], "keep is for tables"),
        (["evaluate", "{tmp}/ffm", "{texts}/tr.ffm", "--no-header"], "header is for tables"),
        (["predict", "{tmp}/ffm", "{tmp}/t.csv"], "trained on a libffm file"),
        (["evaluate", "{tmp}/table", "{texts}/tr.ffm"], "trained on a table"),
    ],
)
def test_settings_and_files_that_do_not_fit_together_are_refused(texts, tmp_path, arguments, message):
    if "{tmp}/ffm" in arguments:
        train(texts / "va.ffm", model="ffm", epochs=1, n_factors=1).save(tmp_path / "ffm")
    if "{tmp}/table" in arguments:
        table = {"a": ["u", "v", "w"] * 20, "y": [0, 1, 1] * 20}
        train(table, "y", model="linear", epochs=1).save(tmp_path / "table")
    (tmp_path / "t.csv").write_text("a,y\nu,1\n")
    result = anyfm(*(argument.format(texts=texts, tmp=tmp_path) for argument in arguments), status=2)
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "m").exists()


def test_python_refuses_the_same(texts):
    with pytest.raises(SettingError, match="ffm needs the field"):
        train(texts / "tr.svm", model="ffm")
    with pytest.raises(SettingError, match="ffm needs the field"):
        fit(prepare(texts / "tr.svm"), model="ffm")
    with pytest.raises(SettingError, match="no column"):
        prepare(texts / "tr.ffm", DataSettings(), ValidationSettings(valid_by="day"))
    with pytest.raises(SettingError, match="available for ffm: libffm"):
        train(texts / "tr.ffm", preset="libffm")
    path = texts / "ones.svm"
    path.write_text("1 0:1\n" * 5)
    with pytest.raises(InputError, match="two classes"):
        prepare(path)
