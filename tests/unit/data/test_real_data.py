"""The schema inferred for well-known tables is the one a person would choose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from anyfm.data import Encoder, Schema, infer_schema, read_table

FOLDER = Path(os.environ.get("ANYFM_TEST_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))


def schema_of(name: str, target: str | None = None, **options: Any) -> tuple[Schema, Encoder]:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no {path}; set ANYFM_TEST_DATA to the folder of the test data")
    frame = read_table(path, **options)
    schema = infer_schema(frame, target=target)
    encoder, encoded = Encoder.fit_encode(frame, schema)
    encoded.rows.check_bounds(encoder.n_features)
    return schema, encoder


def kinds(schema: Schema) -> dict[str, str]:
    return {field.name: field.kind for field in schema.fields}


def test_adult():
    schema, encoder = schema_of("adult/train.csv", "income")
    numeric = {"age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"}
    assert kinds(schema) == {f.name: "numeric" if f.name in numeric else "categorical" for f in schema.fields}
    assert schema.target is not None
    assert schema.target.classes == ("<=50K", ">50K")
    missing = next(f for f in schema.fields if f.name == "workclass").reason
    assert missing == "text, 8 distinct values; 5.64% missing (including '?')"
    assert "?" not in encoder.field_values("workclass")


def test_bank():
    schema, _ = schema_of("bank/bank.csv", "deposit")
    numeric = {"age", "balance", "duration", "campaign", "pdays", "previous"}
    assert kinds(schema) == {f.name: "numeric" if f.name in numeric else "categorical" for f in schema.fields}
    assert schema.target is not None
    assert schema.target.positive == "yes"


def test_criteo():
    schema, _ = schema_of("criteo-10k/criteo-10k.tsv", "column_1")
    assert list(kinds(schema).values()) == ["numeric"] * 13 + ["categorical"] * 26
    assert schema.target is not None
    assert schema.target.positive == "1"


def test_lastfm():
    schema, encoder = schema_of("lastfm-tag/train.csv", "label")
    assert set(kinds(schema).values()) == {"categorical"}
    assert encoder.n_features > 20_000


def test_movielens_ratings_without_names():
    schema, _ = schema_of("ml-100k/u.data", "column_3")
    assert kinds(schema) == {"column_1": "categorical", "column_2": "categorical", "column_4": "numeric"}
    assert "may be seconds since 1970" in schema.fields[2].reason
    assert schema.target is not None
    assert schema.target.task == "regression"


def test_movielens_items():
    schema, _ = schema_of("ml-100k/u.item", encoding="latin-1")
    assert list(kinds(schema).values())[:5] == ["ignore", "ignore", "datetime", "ignore", "ignore"]
    assert set(list(kinds(schema).values())[5:]) == {"categorical"}


def test_movielens_with_names():
    schema, _ = schema_of("ml-latest-small/ratings.csv", "rating")
    assert kinds(schema) == {"userId": "categorical", "movieId": "categorical", "timestamp": "datetime"}
    schema, encoder = schema_of("ml-latest-small/movies.csv")
    assert kinds(schema) == {"movieId": "ignore", "title": "ignore", "genres": "tags"}
    assert schema.fields[2].separator == "|"
    assert "Film-Noir" in encoder.field_values("genres")
