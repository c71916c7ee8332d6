"""`anyfm recommend` and `anyfm evaluate --group`, against the library."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import anyfm as package
from anyfm.metrics import evaluate_groups
from tests.integration.command_line import anyfm, json_of

TABLES = ("--users", "users.parquet", "--items", "films.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of clicks of users on films, and the tables to recommend from."""
    made = tmp_path_factory.mktemp("recommend")
    rng = np.random.default_rng(0)
    users = pl.DataFrame({"user": np.arange(30), "age": rng.integers(10, 70, 30)})
    films = pl.DataFrame({"film": [f"film {i}" for i in range(50)], "kind": rng.choice(["long", "short"], 50)})
    clicks = users[rng.integers(0, 30, 2000)].hstack(films[rng.integers(0, 50, 2000)])
    liked = (clicks["age"] > 40).to_numpy() == (clicks["kind"] == "long").to_numpy()
    clicks = clicks.with_columns(y=(liked ^ (rng.random(2000) < 0.2)).astype(int))
    users.write_parquet(made / "users.parquet")
    films.write_csv(made / "films.csv")
    clicks.select("user", "film", "y").write_csv(made / "seen.csv")
    clicks.write_parquet(made / "clicks.parquet")
    package.train(clicks, "y", epochs=3, n_factors=4, fields={"user": "categorical"}).save(made / "model")
    return made


def test_recommend_writes_what_the_library_gives(folder):
    arguments = ["--users", folder / "users.parquet", "--items", folder / "films.csv", "--key", "film", "--k", 3]
    told = json_of(
        anyfm("recommend", folder / "model", *arguments, "--user", "user", "--out", folder / "b.parquet", "--json")
    )
    model = package.load(folder / "model")
    films = model.items(pl.read_csv(folder / "films.csv"), key="film")
    expected = model.recommend_all(pl.read_parquet(folder / "users.parquet"), films, 3, user="user")
    assert pl.read_parquet(folder / "b.parquet").equals(expected)
    assert (told["users"], told["items"], told["rows"], told["k"]) == (30, 50, 90, 3)
    assert told["columns"] == ["user", "film", "score", "rank"]

    assert told["encoding"]["users"]["n_rows"] == 30
    assert told["encoding"]["items"]["fields"]["film"] == {"n_unseen": 0, "n_missing": 0, "n_entries": 50}

    new = pl.read_parquet(folder / "users.parquet").with_columns(pl.col("user") + 25)
    new.write_parquet(folder / "new.parquet")
    noted = anyfm("recommend", folder / "model", "--users", folder / "new.parquet", *arguments[2:]).stderr
    assert "user: 25 (83.3%) unseen" in noted

    printed = anyfm("recommend", folder / "model", *arguments, "--exclude", folder / "seen.csv").stdout
    table = pl.read_csv(printed.encode())
    seen = set(pl.read_csv(folder / "seen.csv").select("user", "film").iter_rows())
    assert table.columns == ["user", "film", "score", "rank"]
    assert not seen & set(table.select("user", "film").iter_rows())


def test_evaluate_by_group(folder):
    told = json_of(
        anyfm("evaluate", folder / "model", folder / "clicks.parquet", "--group", "user", "--k", 5, "--json")
    )
    model, clicks = package.load(folder / "model"), pl.read_parquet(folder / "clicks.parquet")
    y = clicks["y"].to_numpy()
    expected = evaluate_groups(model.task, y, model.logits(clicks), clicks["user"].to_numpy(), k=5)
    assert {name: told[name] for name in expected} == pytest.approx(expected)
    assert told["auc"] == pytest.approx(model.evaluate(clicks)["auc"])
    assert model.evaluate(clicks, group="user", k=5) == pytest.approx({**model.evaluate(clicks), **expected})
    assert model.evaluate(model.rows(clicks, labelled=True), group=clicks["user"].to_numpy())["n_groups"] == 30
    shown = anyfm("evaluate", folder / "model", folder / "clicks.parquet", "--group", "user").stdout
    assert "ndcg@10" in shown
    assert "n_groups" not in json_of(anyfm("evaluate", folder / "model", folder / "clicks.parquet", "--json"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["evaluate", "model", "clicks.parquet", "--group", "users"], "Did you mean 'user'?"),
        (["recommend", "model", *TABLES, "--key", "films"], "'film'"),
        (["recommend", "model", "--users", "films.csv", "--items", "films.csv", "--key", "film"], "age"),
        (
            ["recommend", "model", "--users", "users.parquet", "--items", "films.csv", "--key", "film", "--json"],
            "--out",
        ),
        (
            ["recommend", "model", "--users", "users.parquet", "--items", "films.csv", "--key", "film", "--k", "0"],
            "k=0",
        ),
    ],
)
def test_refusals(folder, arguments, text):
    paths = [folder / each if (folder / each).exists() else each for each in arguments]
    assert text in anyfm(*paths, status=2).stderr.replace("\n", " ")
