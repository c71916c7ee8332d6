"""Similar films from ids alone: what people chose, against films that they did not, tells what films are like."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import anyfm

DATA = Path(os.environ.get("ANYFM_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")) / "ml-100k"
N_NEGATIVES, MIN_RATINGS = 5, 50


def test_similar_films_share_genres() -> None:
    if not (DATA / "u.data").exists():
        pytest.skip(f"needs {DATA}")
    names = ["user", "film", "stars", "time"]
    rated = pl.read_csv(DATA / "u.data", separator="\t", has_header=False, new_columns=names).select("user", "film")
    rng = np.random.default_rng(0)
    others = pl.DataFrame(
        {
            "user": np.repeat(rated["user"].to_numpy(), N_NEGATIVES),
            "film": rng.choice(rated["film"].unique(maintain_order=True).to_numpy(), N_NEGATIVES * len(rated)),
        }
    ).join(rated, on=["user", "film"], how="anti", maintain_order="left")
    rows = pl.concat([rated.with_columns(chosen=1), others.with_columns(chosen=0)])
    fields = {"user": "categorical", "film": "categorical"}
    model = anyfm.train(rows, "chosen", model="fm", n_factors=16, epochs=6, search=False, fields=fields)

    table = pl.read_csv(DATA / "u.item", separator="|", has_header=False, encoding="latin-1", infer_schema=False)
    is_genre = table[:, 5:24].cast(pl.Int64).to_numpy().astype(bool)
    genres = dict(zip(table[:, 0].cast(pl.Int64).to_list(), is_genre, strict=True))
    known = rated.group_by("film").len().filter(pl.col("len") >= MIN_RATINGS).select("film").sort("film")
    items = model.items(known, key="film")

    def overlap(one: int, other: int) -> float:
        both, either = genres[one] & genres[other], genres[one] | genres[other]
        return float(both.sum() / max(1, either.sum()))

    films = known["film"].to_list()[::3]
    nearest = [overlap(film, near) for film in films for near in model.similar_items(film, items, k=10)["film"]]
    chance = [overlap(film, other) for film in films for other in rng.choice(known["film"].to_numpy(), 10)]
    assert np.mean(chance) < 0.2
    assert np.mean(nearest) > 0.33  # .35 with all films; .19 by a model of whether they liked the film
