"""Text weights against their programs' formulas, and the MLflow directory against `predict`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import InputError, SettingError
from anyfm.data.text.convert import convert
from anyfm.data.text.reader import read_text
from anyfm.export.mlflow import export_mlflow
from anyfm.export.text_weights import export_libffm, export_libfm
from tests.integration.command_line import anyfm as command
from tests.unit.ranking.models import films, model, users


def table(n: int = 30) -> pl.DataFrame:
    return users(n, seed=8).hstack(films(n, seed=9))


def entries(made: anyfm.Model, path: Path, suffix: str) -> list[list[tuple[int, int, float]]]:
    """The rows of a table as the program reads them: field, id and value of each entry."""
    text = path.with_suffix(suffix)
    convert(table(), text, vocabulary=f"{path}.vocabulary")
    rows = []
    for line in text.read_text().splitlines():
        parts = [entry.split(":") for entry in line.split()[1:]]
        rows.append([(int(p[0]) if len(p) == 3 else 0, int(p[-2]), float(p[-1])) for p in parts])
    return rows


@pytest.mark.parametrize(("name", "kind"), [("linear", "plain"), ("fm", "plain"), ("fm", "ragged")])
def test_libfm_scores_what_the_model_scores(name: str, kind: str, tmp_path: Path) -> None:
    made = model(name, kind)
    path = export_libfm(made.artifact, tmp_path / "m.libfm")
    lines = path.read_text().splitlines()
    n = made.artifact.n_features
    assert lines[0] == "#global bias W0"
    assert lines[2] == "#unary interactions Wj"
    assert lines[3 + n] == "#pairwise interactions Vj,f"
    bias, linear = float(lines[1]), np.array(lines[3 : 3 + n], float)
    factors = np.array([line.split() for line in lines[4 + n :]], float).reshape(n, -1)
    logits = []
    for row in entries(made, path, ".svm"):
        scaled = [factors[i] * x for _, i, x in row]
        pairs = sum(float(u @ v) for at, u in enumerate(scaled) for v in scaled[at + 1 :])
        logits.append(bias + sum(linear[i] * x for _, i, x in row) + pairs)
    np.testing.assert_allclose(logits, made.logits(table()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"normalize": True}, {"n_factors": 3}])
def test_libffm_scores_what_the_model_scores(settings: dict, tmp_path: Path) -> None:
    made = model("ffm", "values", linear=False, **settings)
    path = export_libffm(made.artifact, tmp_path / "m.ffmodel")
    lines = path.read_text().splitlines()
    n, m, k, normalization = (int(line.split()[1]) for line in lines[:4])
    assert [line.split()[0] for line in lines[:4]] == ["n", "m", "k", "normalization"]
    assert k % 4 == 0
    weights = {line.split()[0]: np.array(line.split()[1:], float) for line in lines[4:]}
    assert len(weights) == n * m
    logits = []
    for row in entries(made, path, ".ffm"):
        scale = 1 / sum(x * x for _, _, x in row) if normalization else 1.0
        pairs = [(one, other) for at, one in enumerate(row) for other in row[at + 1 :]]
        logits.append(
            sum(weights[f"w{i},{g}"] @ weights[f"w{j},{f}"] * x * y * scale for (f, i, x), (g, j, y) in pairs)
        )
    np.testing.assert_allclose(logits, made.logits(table()), rtol=1e-4, atol=1e-4)


def test_other_formulas_are_refused(tmp_path: Path) -> None:
    for name, settings in (("ffm", {}), ("fwfm", {}), ("afm", {}), ("deepfm", {}), ("fm", {"normalize": True})):
        with pytest.raises(SettingError, match="libFM has the formulas of linear and fm"):
            export_libfm(model(name, **settings).artifact, tmp_path / "m")
    for name in ("fm", "ffm"):
        with pytest.raises(SettingError, match="--no-linear"):
            export_libffm(model(name).artifact, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_numbered_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.svm").write_text("1 123456789:1 2:1\n0 123456789:1 30000000:1\n" * 20)
    made = anyfm.train(tmp_path / "d.svm", model="fm", epochs=1, search=False)
    assert made.artifact.feature_ids is not None
    with pytest.raises(InputError, match="renumbered"):
        export_libfm(made.artifact, tmp_path / "m")
    (tmp_path / "e.svm").write_text("1 0:1 2:1\n0 1:1 3:1\n" * 20)
    made = anyfm.train(tmp_path / "e.svm", model="fm", epochs=1, search=False)
    export_libfm(made.artifact, tmp_path / "m")
    assert read_text(tmp_path / "e.svm").n_features == made.artifact.n_features


def test_the_mlflow_directory(tmp_path: Path) -> None:
    made = model("deepfm", "ragged")
    path = export_mlflow(made.artifact, tmp_path / "m")
    flavor = json.loads((path / "MLmodel").read_text())["flavors"]["python_function"]
    loaded = importlib.import_module(flavor["loader_module"])._load_pyfunc(str(path / flavor["data"]))
    np.testing.assert_array_equal(loaded.predict(table().to_pandas()), made.predict(table()))
    assert (path / "requirements.txt").read_text().startswith(f"anyfm=={anyfm.__version__}\n")
    export_mlflow(model("fm").artifact, path)  # it replaces itself
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(InputError, match="no MLflow model"):
        export_mlflow(made.artifact, tmp_path / "other")


def test_mlflow_loads_it(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    made = model("fm")
    loaded = mlflow.pyfunc.load_model(str(export_mlflow(made.artifact, tmp_path / "m")))
    np.testing.assert_array_equal(loaded.predict(table().to_pandas()), made.predict(table()))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model("fm").save(tmp_path / "m")
    for to in ("onnx", "mlflow", "libfm"):
        done = command("export", str(tmp_path / "m"), "--to", to, "--out", str(tmp_path / f"out.{to}"), "--json")
        assert json.loads(done.stdout)["format"] == to
        assert (tmp_path / f"out.{to}").exists()
    done = command("export", str(tmp_path / "m"), "--to", "pmml", "--out", "x", status=2)
    assert "--to must be one of onnx, mlflow, libfm, libffm" in done.stderr
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "anyfm.export.onnx", raising=False)
    monkeypatch.delitem(sys.modules, "anyfm.export.graph", raising=False)
    done = command("export", str(tmp_path / "m"), "--to", "onnx", "--out", "x", status=2)
    assert 'pip install "anyfm[onnx]"' in done.stderr
