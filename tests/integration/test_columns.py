"""Columns, labels and values of real files, from the file to the trained model."""

from __future__ import annotations

import bz2
import lzma
import os
import pickle
import sqlite3
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
import scipy.sparse

import anyfm
from anyfm.core.errors import InputError
from anyfm.data import read_table
from anyfm.estimators import FMClassifier
from anyfm.models import MODELS
from anyfm.optim.feature_scales import feature_scales
from tests.integration.command_line import anyfm as run
from tests.integration.command_line import json_of

N = 3000
RANDOM = np.random.default_rng(3)


def clicks(n: int = N) -> pl.DataFrame:
    user, item = RANDOM.integers(0, 30, n), RANDOM.integers(0, 20, n)
    y = (RANDOM.random(n) < np.where((user + item) % 3 == 0, 0.9, 0.1)).astype(int)
    return pl.DataFrame({"user_id": user, "item": [f"i{x}" for x in item], "click": y})


class TestWholeTable:
    @pytest.mark.parametrize("index", ["", "Unnamed: 0", "index"])
    def test_the_index_of_a_sorted_export_is_no_feature(self, tmp_path: Path, index: str):
        frame = clicks().sort("click").with_row_index(index)
        frame.write_csv(tmp_path / "t.csv")
        model = anyfm.train(tmp_path / "t.csv", "click", epochs=1)
        assert model.schema is not None
        assert [field.name for field in model.schema.used] == ["user_id", "item"]
        estimator = FMClassifier(epochs=1).fit(frame.drop("click"), frame["click"].to_numpy())
        assert estimator.model_.schema.fields[0].kind == "ignore"

    def test_suspect_columns_are_warned_of(self, tmp_path: Path):
        frame = clicks()
        leak = frame["click"] * 7.5 + RANDOM.normal(size=N)
        token = [f"t{i // 2}" for i in RANDOM.permutation(N)]
        frame.with_columns(leak.alias("leak"), pl.Series("token", token)).write_csv(tmp_path / "t.csv")
        arguments = ("train", tmp_path / "t.csv", "--target", "click", "--epochs", 1, "--out", tmp_path / "m", "--json")
        found = run(*arguments)
        warnings = json_of(found)["warnings"]
        assert [text.split()[0] for text in warnings] == ["leak", *[text.split()[0] for text in warnings[1:]]]
        assert "leak alone predicts click almost perfectly" in found.stderr.replace("\n         ", " ")
        assert any("token" in text for text in warnings[1:])
        assert json_of(run(*arguments, "--field", "leak=ignore", "--field", "token=ignore"))["warnings"] == []

    def test_training_rows_of_one_class_are_refused(self):
        frame = clicks().sort("click").with_row_index("t")
        with pytest.raises(InputError, match="must hold both classes"):
            anyfm.train(frame, "click", valid_by="t", valid_fraction=0.95)


class TestScales:
    @pytest.mark.parametrize("model", list(MODELS))
    @pytest.mark.parametrize("size", [1e5, 1e-5])
    def test_the_size_of_a_quantity_does_not_matter(self, tmp_path: Path, model: str, size: float):
        frame = clicks()
        quantity = RANDOM.uniform(0.5, 1.5, N)
        metrics = []
        for factor in (1.0, size):
            lines = [
                f"{y} 0:{u}:1 1:{30 + int(i[1:])}:1 2:60:{x * factor!r}"
                for (u, i, y), x in zip(frame.iter_rows(), quantity.tolist(), strict=True)
            ]
            path = tmp_path / "t.ffm"
            path.write_text("\n".join(lines) + "\n")
            metrics.append(anyfm.train(path, model=model, epochs=4).metrics["auc"])
        assert metrics[1] > metrics[0] - 0.02

    def test_sparse_matrices_and_loaded_models(self, tmp_path: Path):
        frame = clicks()
        one_hot = scipy.sparse.csr_matrix(np.eye(30)[frame["user_id"].to_numpy()])
        price = RANDOM.uniform(0, 9e5, (N, 1))
        X, y = scipy.sparse.hstack([one_hot, price]).tocsr(), frame["click"].to_numpy()
        estimator = FMClassifier(epochs=3).fit(X, y)
        alone = FMClassifier(epochs=3).fit(one_hot, y)
        assert estimator.model_.metrics["auc"] > alone.model_.metrics["auc"] - 0.03
        estimator.save(tmp_path / "m")
        rows = estimator._rows(X, None)
        assert np.array_equal(anyfm.load(tmp_path / "m").predict(rows), estimator.model_.predict(rows))

    def test_usual_values_are_left_alone(self):
        rows = anyfm.train(clicks(), "click", epochs=1).rows(clicks(50))
        assert feature_scales(rows, 100) is None

    def test_normalize_refuses_what_dominates(self, tmp_path: Path):
        path = tmp_path / "t.svm"
        path.write_text("1 0:1 2:90000\n0 1:1 2:1000\n" * 50)
        with pytest.raises(InputError, match="normalize divides a row by its length"):
            anyfm.train(path, model="fm", normalize=True, epochs=1)


class TestText:
    def test_labels_1_and_2_are_classes(self, tmp_path: Path):
        path = tmp_path / "t.svm"
        path.write_text("1 0:1 2:1\n2 1:1 3:1\n" * 60)
        result = run("train", path, "--epochs", 2, "--out", tmp_path / "m", "--json")
        assert "1 or 2; 2 is positive" in result.stderr
        assert (json_of(result)["negative_label"], json_of(result)["positive_label"]) == (1, 2)
        model = anyfm.load(tmp_path / "m")
        assert model.evaluate(path)["auc"] == 1
        (tmp_path / "other.svm").write_text("1 0:1\n3 1:1\n")
        with pytest.raises(InputError, match=r"a label must be 1 or 2, as in training .*row 2, value 3"):
            model.evaluate(tmp_path / "other.svm")

    @pytest.mark.parametrize("format", ["svm", "ffm"])
    @pytest.mark.parametrize("first", [10**8, 2**33, 2**63])
    def test_sparse_ids_are_numbered(self, tmp_path: Path, format: str, first: int):
        ids = [first + 977 * i for i in range(40)]
        path = tmp_path / f"t.{format}"
        prefix = ("0:", "1:") if format == "ffm" else ("", "")
        lines = [f"{i % 2} {prefix[0]}{ids[i % 20]}:1 {prefix[1]}{ids[20 + i % 20]}:1" for i in range(400)]
        path.write_text("\n".join(lines))
        model = anyfm.train(path, epochs=2)
        assert model.artifact.n_features == 40
        model.save(tmp_path / "m")
        loaded = anyfm.load(tmp_path / "m")
        assert np.array_equal(loaded.predict(path), model.predict(path))
        assert loaded.metrics["auc"] == 1
        (tmp_path / f"new.{format}").write_text(f"0 {prefix[0]}{ids[0]}:1 {prefix[1]}{first + 1}:1\n")
        assert loaded.read_text(tmp_path / f"new.{format}").n_unseen == 1

    def test_groups_stay_together(self, tmp_path: Path):
        path = tmp_path / "t.svm"
        path.write_text("".join(f"{i % 2} qid:{i // 10} {i // 10}:1\n" for i in range(300)))
        found = []
        anyfm.train(path, epochs=1, on_data=found.append)
        valid, train = np.unique(found[0].valid.ids), np.unique(found[0].train.ids)
        assert not np.intersect1d(valid, train).size
        assert len(valid) == 3


class TestWeights:
    def test_the_weight_column_is_for_training(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        frame = clicks().with_columns(w=pl.lit(2.0))
        model = anyfm.train(frame, "click", weight="w", epochs=1)
        assert model.evaluate(frame.drop("w")) == pytest.approx(model.evaluate(frame))
        assert "no weight column 'w': every row has weight 1" in caplog.text
        anyfm.train(frame, "click", weight="w", valid=frame.drop("w"), epochs=1)
        with pytest.raises(InputError, match="weight column"):
            anyfm.train(frame.drop("w"), "click", weight="w")


class TestFiles:
    CSV = "a,b\n1,x\n2,y\n3,z\n"
    TABLE: ClassVar[dict[str, list[object]]] = {"a": [1, 2, 3], "b": ["x", "y", "z"]}

    def test_archives_and_arrays(self, tmp_path: Path):
        (tmp_path / "t.csv.bz2").write_bytes(bz2.compress(self.CSV.encode()))
        (tmp_path / "t.csv.xz").write_bytes(lzma.compress(self.CSV.encode()))
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
            archive.writestr("t.csv", self.CSV)
        (tmp_path / "t.json").write_text('[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]')
        for path in sorted(tmp_path.iterdir()):
            assert read_table(path).to_dict(as_series=False) == self.TABLE, path

    @pytest.mark.parametrize("separator", ["::", "||", ";", "\t", "|", ", "])
    def test_separators(self, tmp_path: Path, separator: str):
        (tmp_path / "t.txt").write_text(self.CSV.replace(",", separator))
        assert read_table(tmp_path / "t.txt", separator=separator).to_dict(as_series=False) == self.TABLE
        if separator in ("::", ";", "\t", "|"):
            assert read_table(tmp_path / "t.txt").to_dict(as_series=False) == self.TABLE

    @pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "latin-1"])
    def test_encodings_of_the_command_line(self, tmp_path: Path, encoding: str):
        text = "town,n,click\n" + "Köln,1,0\nZürich,2,1\nCafé,3,1\n" * 40
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        arguments = ("train", tmp_path / "t.csv", "--target", "click", "--epochs", 1, "--out", tmp_path / "m")
        run(*arguments, "--encoding", encoding)
        values = anyfm.load(tmp_path / "m").artifact.encoder.field_values("town")[2:]
        assert set(values) == {"Café", "Köln", "Zürich"}
        with pytest.raises(InputError, match="encoding"):
            read_table(tmp_path / "t.csv")

    def test_what_is_no_table_is_named(self, tmp_path: Path):
        sqlite3.connect(tmp_path / "t.sqlite").execute("create table t (a)").connection.commit()
        (tmp_path / "t.pkl").write_bytes(pickle.dumps({"a": 1}))
        (tmp_path / "t.csv").write_text("<!DOCTYPE html><html></html>")
        for name, what in (("t.sqlite", "an SQLite database"), ("t.pkl", "a Python pickle"), ("t.csv", "an HTML page")):
            with pytest.raises(InputError, match=what):
                read_table(tmp_path / name)

    def test_directories_and_partitions(self, tmp_path: Path):
        for day in ("2024-01-01", "2024-01-02"):
            for hour in (1, 2):
                folder = tmp_path / f"day={day}" / f"hour={hour}"
                folder.mkdir(parents=True)
                pl.DataFrame(self.TABLE).write_parquet(folder / "part.parquet")
        (tmp_path / "_SUCCESS").touch()
        frame = read_table(tmp_path)
        assert frame.columns == ["a", "b", "day", "hour"]
        assert frame["hour"].to_list() == [1, 1, 1, 2, 2, 2] * 2
        assert frame["day"].n_unique() == 2

    def test_pipes(self, tmp_path: Path):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        if os.fork() == 0:
            path.write_text(self.CSV)
            os._exit(0)
        assert read_table(path).to_dict(as_series=False) == self.TABLE
        os.wait()


class TestInterfaces:
    def test_columns_with_an_equals_sign(self, tmp_path: Path):
        clicks().rename({"item": "a=b"}).write_csv(tmp_path / "t.csv")
        out = tmp_path / "m"
        run("train", tmp_path / "t.csv", "--target", "click", "--field", "a=b=ignore", "--epochs", 1, "--out", out)
        assert anyfm.load(out).schema.fields[1].kind == "ignore"

    def test_a_kept_column_named_as_the_score(self, tmp_path: Path):
        frame = clicks().with_columns(probability=pl.lit(7))
        frame.write_csv(tmp_path / "t.csv")
        anyfm.train(frame, "click", epochs=1).save(tmp_path / "m")
        run("predict", tmp_path / "m", tmp_path / "t.csv", "--keep", "probability", "--out", tmp_path / "o.csv")
        written = pl.read_csv(tmp_path / "o.csv")
        assert written.columns == ["probability", "probability_"]
        assert written["probability"].unique().to_list() == [7]

    def test_eval_sets_in_a_list_and_rows_as_mappings(self):
        frame = clicks()
        X, y = frame.drop("click"), frame["click"].to_numpy()
        model = FMClassifier(epochs=2).fit(X[:2000], y[:2000], eval_set=[(X[:50], y[:50]), (X[2000:], y[2000:])])
        pair = FMClassifier(epochs=2).fit(X[:2000], y[:2000], eval_set=(X[2000:], y[2000:]))
        assert np.array_equal(model.predict_proba(X), pair.predict_proba(X))
        assert np.array_equal(model.predict_proba(X.to_dicts()), pair.predict_proba(X))
        assert np.array_equal(model.model_.predict(X.to_dicts()), model.model_.predict(X))

    def test_the_column_to_split_by_has_its_reason(self):
        model = anyfm.train(clicks().with_row_index("t"), "click", valid_by="t", epochs=1)
        assert "held out for validation" in model.schema.fields[0].reason
