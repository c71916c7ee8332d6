"""Retrieval vectors: their inner products are differences of logits, and search engines find what recommend finds."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.model import Model
from anyfm.models import specification_logits

from .models import CASES, KINDS, SUMS, crossed, films, model, users

CONTEXT = {"user": 7, "hour": 13, "words": "a|c"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "settings"), SUMS)
def test_inner_products_are_differences_of_logits(name: str, settings: dict, kind: str) -> None:
    made, table = model(name, kind, **settings), films(60)
    items = made.items(table, key="film")
    vectors, query = made.item_vectors(items), made.query_vector(CONTEXT, items)
    assert vectors.shape == (60, len(query))
    assert query[-1] == 1
    rows = made.rows(crossed(CONTEXT, table))
    logits = specification_logits(made.artifact.model, made.artifact.parameters, rows)
    products = vectors.astype(np.float64) @ query
    np.testing.assert_allclose(products - products[0], logits - logits[0], rtol=0, atol=1e-5)
    assert np.ptp(logits) > 1


@pytest.mark.parametrize(("name", "settings"), [case for case in CASES if case not in SUMS])
def test_other_models_have_none(name: str, settings: dict) -> None:
    made = model(name, **settings)
    with pytest.raises(SettingError, match="sum of pair terms"):
        made.item_vectors(made.items(films(5), key="film"))


@pytest.mark.parametrize(("name", "length"), [("linear", 1), ("fm", 9), ("fwfm", 3 * 8 + 1), ("ffm", 3 * 2 * 8 + 1)])
def test_lengths(name: str, length: int) -> None:
    """Three fields of films, two of contexts."""
    made = model(name, **({} if name == "linear" else {"n_factors": 8}))
    assert made.item_vectors(made.items(films(5), key="film")).shape == (5, length)


def found_by_engine(made: Model, search) -> None:
    table, people = films(), users(5)
    items = made.items(table, key="film")
    queries = np.stack([made.query_vector(row, items) for row in people.iter_rows(named=True)])
    positions = search(made.item_vectors(items), queries, 10)
    for row, found in zip(people.iter_rows(named=True), positions, strict=True):
        expected = made.recommend(row, items, 10)["score"].to_numpy()
        scores = made.predict(crossed(row, table))[found]
        np.testing.assert_allclose(np.sort(scores), np.sort(expected), atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of its bindings
def test_faiss_finds_the_same() -> None:
    faiss = pytest.importorskip("faiss")

    def search(vectors, queries, k):
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index.search(queries, k)[1]

    found_by_engine(model("fm"), search)


@pytest.mark.filterwarnings("ignore")
def test_usearch_finds_the_same() -> None:
    index_of = pytest.importorskip("usearch.index")

    def search(vectors, queries, k):
        index = index_of.Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(len(vectors)), vectors)
        return index.search(queries, k, exact=True).keys.astype(np.int64)

    found_by_engine(model("fm"), search)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fm", "fwfm", "ffm", "afm", "deepfm"])
def test_similar_items_by_the_vectors_of_whole_items(name: str, kind: str) -> None:
    made, table = model(name, kind), films(50)
    items = made.items(table, key="film")
    found = made.similar_items("film 3", items, 60)
    assert "film 3" not in found["film"].to_list()
    assert len(found) == 49
    assert found["score"].is_sorted(descending=True)
    if name == "fm":
        rows = items.rows
        vectors = np.zeros((50, made.settings.n_factors))
        counts = np.full(50, rows.ids.size // 50) if rows.offsets is None else np.diff(rows.offsets)
        values = np.ones(rows.ids.size) if rows.values is None else rows.values.reshape(-1)
        factors = made.artifact.parameters["factors"][rows.ids.reshape(-1)]
        np.add.at(vectors, np.repeat(np.arange(50), counts), factors * values[:, None])
        vectors /= np.sqrt((vectors**2).sum(1, keepdims=True))
        cosines = dict(zip(table["film"], vectors @ vectors[3], strict=True))
        assert found["score"].to_list() == pytest.approx([cosines[film] for film in found["film"]], abs=1e-6)


def test_items_of_one_direction_are_the_most_similar() -> None:
    made = model("fm")
    table = films(50).with_columns(film="new " + films(50)["film"])  # all unseen: the other columns decide
    found = made.similar_items("new film 3", made.items(table, key="film"), 60)
    same = {row["film"] for row in table.iter_rows(named=True) if list(row.values())[1:3] == [*table.row(3)[1:3]]}
    n_same = len(same) - 1
    assert n_same > 2
    assert set(found["film"][:n_same]) == same - {"new film 3"}
    assert found["score"][:n_same].to_list() == pytest.approx([1] * n_same)
    assert found["score"][n_same] < 1 - 1e-6


def test_similar_items_refusals() -> None:
    made = model("fm")
    items = made.items(films(5), key="film")
    with pytest.raises(InputError, match=r"no such item .*film 77"):
        made.similar_items("film 77", items)
    with pytest.raises(SettingError, match="k must be"):
        made.similar_items("film 1", items, 0)
    linear = model("linear")
    with pytest.raises(SettingError, match="factors"):
        linear.similar_items("film 1", linear.items(films(5), key="film"))
