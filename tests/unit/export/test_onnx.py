"""ONNX against `predict`, for every model and every kind of column."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest

import anyfm
from anyfm.artifact import Artifact
from anyfm.core.errors import ArtifactError, InputError
from anyfm.data.encoder import Encoder
from anyfm.data.schema_inference import infer_schema
from anyfm.export.onnx import MISSING_INTEGER, export_onnx
from anyfm.model import Model
from anyfm.models import MODELS
from tests.unit.ranking.models import CASES, films, model, users

DATA = Path(os.environ.get("ANYFM_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
NUMPY = {"tensor(double)": np.float64, "tensor(int64)": np.int64}


def fed(session: Any, table: pl.DataFrame) -> dict[str, Any]:
    """A table as the inputs of an exported model."""
    found = {}
    for each in session.get_inputs():
        column = table[each.name]
        if column.dtype == pl.List:
            width = max(1, column.list.len().max())
            rows = [[*(tag or "" for tag in row or []), *[""] * (width - len(row or []))] for row in column.to_list()]
            found[each.name] = np.array(rows, object)
        elif each.type == "tensor(string)":
            found[each.name] = np.array(column.cast(pl.String).fill_null("").str.strip_chars().to_list(), object)
        elif each.type == "tensor(int64)":
            found[each.name] = column.cast(pl.Int64).fill_null(MISSING_INTEGER).to_numpy()
        else:
            found[each.name] = column.cast(pl.Float64).to_numpy()
    return found


def scores(made: Model, table: pl.DataFrame, folder: Path) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(export_onnx(made.artifact, folder / "m.onnx")))
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, fed(session, table)), strict=True))


def with_random_parameters(name: str, table: pl.DataFrame, overrides: dict[str, Any], **settings: Any) -> Model:
    """A model of a table with the target y."""
    encoder = Encoder.fit(table, infer_schema(table, target="y", overrides=overrides, min_count=1))
    made = MODELS[name](MODELS[name].settings_type(**settings)).resolve(encoder.n_fields)
    rng = np.random.default_rng(0)
    specs = made.parameter_specs(encoder.n_features, encoder.n_fields)
    parameters = {key: rng.normal(0, 0.5, spec.shape).astype(np.float32) for key, spec in specs.items()}
    sizes = {"n_features": encoder.n_features, "n_fields": encoder.n_fields}
    return Model(Artifact(model=made, parameters=parameters, encoder=encoder, **sizes))


@pytest.mark.parametrize("kind", ["plain", "values", "ragged"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_model(name: str, settings: dict[str, Any], kind: str, tmp_path: Path) -> None:
    made = model(name, kind, **settings)
    table = users(60, seed=8).hstack(films(60, seed=9))
    table = table.with_columns(
        user=pl.when(pl.col("user") % 7 == 0).then(None).otherwise("user"),
        length=pl.when(pl.col("hour") == 3).then(None).otherwise("length"),
        words=pl.col("words") + pl.when(pl.col("hour") > 12).then(pl.lit("|a|new|new")).otherwise(pl.lit("")),
    )
    found = scores(made, table, tmp_path)
    np.testing.assert_allclose(found["probability"], made.predict(table), atol=1e-5)
    np.testing.assert_allclose(found["logit"], made.logits(table), atol=1e-4, rtol=1e-5)
    assert np.ptp(found["probability"]) > 0.2


@pytest.mark.parametrize("task", ["regression", "poisson"])
def test_clipped_numbers(task: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 900), rng.integers(0, 6, 900)
    y = rng.poisson(np.exp((a + b) / 6)).clip(1, 5)
    table = pl.DataFrame({"a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b], "y": y.astype(float)})
    made = anyfm.train(table, "y", task=task, epochs=3, search=False, valid_fraction=0.0, l2_linear=1e-3)
    found = scores(made, table, tmp_path)
    np.testing.assert_allclose(found["prediction"], made.predict(table), rtol=1e-5)
    assert (found["prediction"] >= 1 - 1e-5).all()
    assert list(found) == (["prediction"] if task == "regression" else ["prediction", "logit"])
    if task == "poisson":
        np.testing.assert_allclose(found["logit"], made.logits(table), rtol=1e-4, atol=1e-5)


def test_a_regression(tmp_path: Path) -> None:
    made = model("fm", task="regression")
    table = users(20).hstack(films(20))
    found = scores(made, table, tmp_path)
    assert list(found) == ["prediction"]
    np.testing.assert_allclose(found["prediction"], made.predict(table), rtol=1e-5, atol=1e-4)


def kinds_of_columns() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    n = 200
    numbers = rng.choice([-1.5, 0.0, 2.25, 1e12, np.nan, np.inf, -np.inf], n)
    return pl.DataFrame(
        {
            "text": rng.choice(["a", "b", "ä", "NA", "", "?", "007"], n),
            "own words": pl.Series(rng.choice(["a", "b", "gone"], n)),
            "whole": pl.Series(rng.choice([5, -7, 2**40, -999, 3], n)),
            "real": pl.Series(rng.choice([0.5, 1.25, -3.0], n)).set(pl.Series(rng.random(n) < 0.1), None),
            "flag": pl.Series(rng.random(n) < 0.5).set(pl.Series(rng.random(n) < 0.1), None),
            "bins": pl.Series(numbers, nan_to_null=True),
            "log": pl.Series(rng.lognormal(3, 2, n)),
            "coded": pl.Series(rng.choice([1.0, 2.0, 3.0, -1.0], n)),
            "scaled": pl.Series(rng.normal(5, 2, n)).set(pl.Series(rng.random(n) < 0.1), None),
            "list": pl.Series([list(rng.choice(["x", "y", "z"], rng.integers(0, 4))) for _ in range(n)]),
            "y": rng.integers(0, 2, n),
        }
    )


OVERRIDES: dict[str, Any] = {
    "text": "categorical",
    "own words": {"kind": "categorical", "missing": ["gone"]},
    "whole": {"kind": "categorical", "missing": ["-999"]},
    "real": "categorical",
    "flag": "boolean",
    "bins": {"kind": "numeric", "n_bins": 3},
    "log": "log",
    "coded": {"kind": "numeric", "missing": ["-1"]},
    "scaled": "scaled",
    "list": "tags",
}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_kind_of_column(name: str, tmp_path: Path) -> None:
    table = kinds_of_columns()
    made = with_random_parameters(name, table, OVERRIDES)
    new = table.with_columns(
        text=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("new")).otherwise("text"),
        whole=pl.col("whole") + pl.when(pl.int_range(pl.len()) % 3 == 0).then(1).otherwise(0),
        scaled=pl.col("scaled") * 3,  # beyond the range of training
    )
    for part in (table, new):
        np.testing.assert_allclose(scores(made, part, tmp_path)["probability"], made.predict(part), atol=1e-5)


def test_columns_that_cannot_be_expressed_are_named(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "day": ["31/12/2024", "30/12/2024", "29/12/2024", "28/12/2024"],
            "at": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 4), eager=True),
            "hour": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 4), eager=True),
            "price": ["1,5", "2,5", "1,5", "2,5"],
            "fine": ["a", "b", "a", "b"],
            "y": [0, 1, 0, 1],
        }
    )
    overrides = {"day": "datetime:dmy", "at": "datetime", "hour": "datetime:hour", "price": "numeric:decimal_comma"}
    made = with_random_parameters("fm", table, {**overrides, "fine": "categorical"})
    with pytest.raises(
        InputError, match=r"'day'.*'at': dates and times.*'hour': parts.*'price'.*decimal_comma"
    ) as error:
        export_onnx(made.artifact, tmp_path / "m.onnx")
    assert "fine" not in str(error.value)


def test_a_model_of_text_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "d.svm").write_text("1 1:1 2:1\n0 1:1 3:1\n" * 20)
    made = anyfm.train(tmp_path / "d.svm", model="fm", epochs=1, search=False)
    with pytest.raises(ArtifactError, match="libsvm"):
        export_onnx(made.artifact, tmp_path / "m.onnx")


def test_many_values(tmp_path: Path) -> None:
    n = 100_000
    table = pl.DataFrame({"id": pl.int_range(n, eager=True).cast(pl.String), "y": [0, 1] * (n // 2)})
    made = with_random_parameters("fm", table, {"id": "categorical"}, n_factors=4)
    np.testing.assert_allclose(scores(made, table, tmp_path)["probability"], made.predict(table), atol=1e-5)


TABLES: dict[str, Any] = {
    "adult": ("adult/train.csv", None, {}),
    "bank": ("bank/bank.csv", None, {}),
    "criteo": ("criteo-10k/criteo-10k.tsv", None, {}),
    "lastfm": ("lastfm-tag/valid.csv", None, {}),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_of_the_real_data(name: str, tmp_path: Path) -> None:
    path = DATA / TABLES[name][0]
    if not path.exists():
        pytest.skip(f"needs {path}")
    from anyfm.data.readers import read_table

    raw = read_table(path)
    table = raw[:1500].rename({raw.columns[-1 if name in ("adult", "bank") else 0]: "y"})
    for kind in MODELS:
        made = with_random_parameters(kind, table, {})
        part = made.read(table[-300:])
        np.testing.assert_allclose(scores(made, part, tmp_path)["probability"], made.predict(part), atol=1e-5)
