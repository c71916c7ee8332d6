"""On real tables, the terms of every row add up to what the saved model scores, and DeepFM's residual is small."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anyfm.core.settings import DataSettings
from anyfm.data.readers import read_table
from anyfm.models import MODELS
from anyfm.pipeline import fit, prepare

FOLDER = Path(os.environ.get("ANYFM_TEST_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
N_TRAIN, N_ROWS = 20_000, 2_000


def adult(folder):
    return pl.read_csv(folder / "train.csv"), "income", {}


def bank(folder):
    return pl.read_csv(folder / "bank.csv"), "deposit", {}


def criteo(folder):
    return read_table(folder / "criteo-10k.tsv"), "column_1", {}


def lastfm(folder):
    frame = pl.read_csv(folder / "train.csv")
    return frame, "label", dict.fromkeys(("user_id", "artist_id", "tag_id"), "categorical")


def movielens(folder):
    """Ratings, as a number, with people and films."""
    ratings = pl.read_csv(
        folder / "u.data", separator="\t", has_header=False, new_columns=["user", "film", "stars", "time"]
    )
    people = pl.read_csv(
        folder / "u.user", separator="|", has_header=False, new_columns=["user", "age", "sex", "work", "zip"]
    )
    frame = ratings.join(people, on="user").select("user", "film", "age", "sex", "work", "stars")
    return frame, "stars", {"user": "categorical", "film": "categorical"}


def movielens_with_tags(folder):
    """Ratings with genres, of which a film has several: fields of many values."""
    films = pl.read_csv(folder / "movies.csv")
    frame = pl.read_csv(folder / "ratings.csv").join(films, on="movieId")
    return (
        frame.select("userId", "movieId", "genres", "timestamp", "rating"),
        "rating",
        {"genres": {"kind": "tags", "separator": "|"}, "timestamp": "datetime"},
    )


SETS = {
    "adult": adult,
    "bank": bank,
    "criteo-10k": criteo,
    "lastfm-tag": lastfm,
    "ml-100k": movielens,
    "ml-latest-small": movielens_with_tags,
}


@pytest.fixture(scope="module")
def table(request):
    folder = FOLDER / request.param
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set ANYFM_TEST_DATA to the folder of the test data")
    frame, target, fields = SETS[request.param](folder)
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    train, rest = frame[:N_TRAIN], frame[-N_ROWS:]
    return prepare(train, DataSettings(target=target, fields=fields)), rest


PAIRS = [(table, name) for i, table in enumerate(SETS) for j, name in enumerate(MODELS) if (i + j) % 6 in (0, 2)]


@pytest.mark.parametrize(("table", "name"), PAIRS, indirect=["table"])
def test_terms_add_up_to_the_score(table, name):
    encoded, frame = table
    model = fit(encoded, model=name, settings={"epochs": 3})
    found, logits = model.explain(frame), model.logits(frame)
    assert found.n_rows == len(frame)
    assert np.abs(found.logits - logits).max() < 1e-5
    assert np.abs(found.pairs).max(initial=0) > 0 or name == "linear"
    totals = found.table(top=5).group_by("row").agg(pl.col("contribution").sum()).sort("row")["contribution"]
    assert np.abs(totals.to_numpy() - logits).max() < 1e-5
    if found.residual is not None and found.mlp is not None:
        assert np.abs(found.residual).mean() < 0.1 * np.abs(found.mlp).sum(axis=1).mean() + 1e-3
