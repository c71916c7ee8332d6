"""Recommendations against sorting the scores of all rows, for every model and every kind of row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.model import Model
from anyfm.models import MODELS

from .models import CASES, KINDS, N_ITEMS, SUMS, crossed, films, model, users

CONTEXT = {"user": 7, "hour": 13, "words": "a|c", "further": "ignored"}


def expected(made: Model, context: dict, items: pl.DataFrame, k: int, exclude: tuple = ()) -> pl.DataFrame:
    """Score every row as `predict` does and sort; ties in the order of the items."""
    rows = crossed(context, items)
    logits, scores = made.logits(rows), made.predict(rows)
    order = [i for i in np.argsort(-logits, kind="stable") if items["film"][int(i)] not in exclude][:k]
    return pl.DataFrame(
        {
            "film": items["film"].gather(order),
            "score": scores[order],
            "rank": pl.Series(np.arange(1, len(order) + 1), dtype=pl.Int32),
        }
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("n_items", [30, N_ITEMS])
def test_recommending_is_sorting_all_scores(name: str, settings: dict, kind: str, n_items: int) -> None:
    made, table = model(name, kind, **settings), films(n_items)
    items = made.items(table, key="film")
    for k in (1, 10, 2 * n_items):
        assert made.recommend(CONTEXT, items, k).equals(expected(made, CONTEXT, table, k))
    seen = (*made.recommend(CONTEXT, items, 7)["film"][::2], "unknown")
    assert made.recommend(CONTEXT, items, 5, exclude=seen).equals(expected(made, CONTEXT, table, 5, seen))
    assert made.rank(CONTEXT, items).equals(expected(made, CONTEXT, table, n_items))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_recommending_for_all_is_recommending_for_each(name: str, settings: dict, kind: str) -> None:
    made, table, people = model(name, kind, **settings), films(300), users(11)
    items = made.items(table, key="film")
    rng = np.random.default_rng(0)
    seen = pl.DataFrame({"user": rng.integers(0, 13, 400), "film": [f"film {i}" for i in rng.integers(0, 320, 400)]})
    found = made.recommend_all(people, items, 4, exclude=seen)
    assert found.columns == ["user", "film", "score", "rank"]
    for row in people.iter_rows(named=True):
        of_user = seen.filter(pl.col("user") == row["user"])["film"]
        one = found.filter(pl.col("user") == row["user"]).drop("user")
        assert one.equals(made.recommend(row, items, 4, exclude=of_user))


@pytest.mark.parametrize(("name", "settings"), SUMS)
@pytest.mark.parametrize("seed", range(5))
def test_items_that_differ_in_the_last_digits_stand_as_their_scores_do(name: str, settings: dict, seed: int) -> None:
    """Large terms and items whose own parts differ by less than the rounding of a sum."""
    made = model(name, "values", scale=3, seed=seed, **settings)
    table = films()
    encoder = made.artifact.require_encoder()
    first, last = encoder.field_offsets[encoder.field_names.index("film") :][:2]
    rng = np.random.default_rng(seed)
    for parameter, spec in made.artifact.model.parameter_specs(encoder.n_features, encoder.n_fields).items():
        array = made.artifact.parameters[parameter]
        if spec.per_feature:
            array[first:last] = array[first] * (1 + 1e-7 * rng.integers(-3, 4, (last - first, *[1] * (array.ndim - 1))))
    table = table.with_columns(kind=pl.lit("long"), length=pl.lit(2))
    items = made.items(table, key="film")
    for k in (1, 10, 100):
        assert made.recommend(CONTEXT, items, k).equals(expected(made, CONTEXT, table, k))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_users", [1, 5, 40])
def test_threads_do_not_matter(n_threads: int, n_users: int) -> None:
    made = Model(model("fwfm").artifact, n_threads=n_threads)
    people, table = users(n_users), films()
    found = made.recommend_all(people, made.items(table, key="film"), 10)
    assert found.columns == ["row", "film", "score", "rank"]
    for row in range(n_users):
        one = found.filter(pl.col("row") == row).drop("row")
        assert one.equals(expected(made, people.row(row, named=True), table, 10))


def test_scores_that_are_equal_stand_in_the_order_of_the_items() -> None:
    made = model("fm")
    table = films().with_columns(kind=pl.lit("long"), length=pl.lit(2))
    table = table.with_columns(film="new " + pl.col("film"))  # all unseen
    found = made.recommend(CONTEXT, made.items(table, key="film"), 5)
    assert found["film"].to_list() == table["film"][:5].to_list()


def test_a_context_may_be_all_of_a_row_or_nothing() -> None:
    made, table = model("fm"), films(50)
    whole = crossed(CONTEXT, table)
    items = made.items(whole, key="film")
    assert made.recommend({}, items, 3).equals(expected(made, CONTEXT, table, 3))
    only_hours = made.items(pl.DataFrame({"hour": [1, 5, 13]}), key="hour")
    context = {**CONTEXT, **table.row(0, named=True)}
    by_hour = made.rank(context, only_hours)
    scores = [made.predict_one({**context, "hour": hour}) for hour in by_hour["hour"]]
    assert by_hour["score"].to_list() == pytest.approx(scores)
    assert scores == sorted(scores, reverse=True)


def test_a_regression_ranks_by_its_predictions() -> None:
    made, table = model("fm", task="regression"), films(50)
    found = made.rank(CONTEXT, table, key="film")
    assert found.equals(expected(made, CONTEXT, table, 50))
    assert found["score"].min() < 0


def test_everything_may_be_excluded() -> None:
    made, table = model("fm"), films(20)
    items = made.items(table, key="film")
    assert len(made.recommend(CONTEXT, items, exclude=set(table["film"]))) == 0
    seen = table.select("film").join(pl.DataFrame({"user": [1, 2]}), how="cross")
    found = made.recommend_all(users(4), items, 3, exclude=seen)
    assert found["user"].to_list() == [0, 0, 0, 3, 3, 3]
    nobody = made.recommend_all(users(4)[:0], items, 3)
    assert (nobody.columns, len(nobody)) == (["row", "film", "score", "rank"], 0)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_missing_and_unseen_values_of_a_context(name: str) -> None:
    made, table = model(name, "ragged"), films(40)
    items = made.items(table, key="film")
    for context in ({**CONTEXT, "user": 10**9}, {**CONTEXT, "hour": None, "words": None}):
        found = made.recommend(context, items, 5)
        of_films = {row["film"]: made.predict_one({**row, **context}) for row in table.iter_rows(named=True)}
        best = sorted(of_films.values(), reverse=True)[:5]
        assert found["score"].to_list() == pytest.approx(best, abs=1e-6)
        assert [of_films[film] for film in found["film"]] == pytest.approx(best, abs=1e-6)


def test_refusals() -> None:
    made, table = model("fm"), films(20)
    items = made.items(table, key="film")
    with pytest.raises(SettingError, match=r"a column of the items must be .*Did you mean 'film'"):
        made.items(table, key="films")
    with pytest.raises(InputError, match=r"several .*row 2.*film 0"):
        made.items(table[[0, 0, 1]], key="film")
    with pytest.raises(InputError, match=r"must have a key .*row 2"):
        made.items(table.with_columns(film=pl.Series(["a", None, *"b" * 18])), key="film")
    with pytest.raises(InputError, match="at least one row"):
        made.items(table[:0], key="film")
    with pytest.raises(InputError, match="a column of the model"):
        made.items(pl.DataFrame({"id": [1]}), key="id")
    with pytest.raises(SettingError, match="made by the model"):
        model("fm").recommend(CONTEXT, items)
    with pytest.raises(InputError, match=r"column 'hour'.*Did you mean 'Hour'"):
        made.recommend({"user": 7, "Hour": 13}, items)
    for k in (0, -1, True, 2.5):
        with pytest.raises(SettingError, match="k must be"):
            made.recommend(CONTEXT, items, k)
        with pytest.raises(SettingError, match="k must be"):
            made.recommend_all(users(2), items, k)
    with pytest.raises(SettingError, match="exclude must be a collection"):
        made.recommend(CONTEXT, items, exclude="film 3")
    with pytest.raises(SettingError, match="key must name"):
        made.rank(CONTEXT, table)
    with pytest.raises(SettingError, match=r"exactly one in common.*hour.*user|exactly one in common.*user.*hour"):
        made.recommend_all(users(2), items, exclude=users(2).with_columns(film=pl.lit("film 1")))
    with pytest.raises(InputError, match="type of the column"):
        made.recommend_all(users(2), items, exclude=pl.DataFrame({"user": [1], "film": [3]}))
    with pytest.raises(InputError, match="film"):
        made.recommend_all(users(2), items, exclude=pl.DataFrame({"user": [1], "movie": [3]}))


@pytest.mark.parametrize("kind", ["plain", "values", "ragged"])
def test_choosing_among_some_items(kind: str) -> None:
    made = model("fm", kind)
    items = made.items(films(), key="film")
    context = users(1).to_dicts()[0]
    some = ["film 3", "film 700", "film 20", "no film"]
    found = made.recommend(context, items, 5, only=some, exclude=["film 20"])
    everything = made.rank(context, items).filter(pl.col("film").is_in(["film 3", "film 700"]))
    assert found["film"].to_list() == everything["film"].to_list()
    assert found["score"].to_list() == everything["score"].to_list()
    with pytest.raises(SettingError, match="only must be a collection"):
        made.recommend(context, items, 5, only="film 3")
