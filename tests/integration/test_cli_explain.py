"""``anyfm explain``, ``anyfm inspect`` and ``anyfm report`` from the command line."""

from __future__ import annotations

import sys

import polars as pl
import pytest

import anyfm as library
from anyfm.data.readers import write_table
from anyfm.datasets.synthetic import ad_clicks
from tests.integration.command_line import anyfm, json_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, folder = ad_clicks(5_000, seed=0), tmp_path_factory.mktemp("explain")
    write_table(made.columns, folder / "clicks.parquet")
    write_table({name: column for name, column in made.columns.items() if name != "click"}, folder / "new.csv")
    for name in ("linear", "fm"):
        library.train(made.columns, "click", model=name, epochs=3).save(folder / name)
    return folder


def test_explain_tells_the_strongest_fields_and_pairs(folder):
    shown = anyfm("explain", folder / "fm", folder / "clicks.parquet", "--top", 3).stdout
    assert "gender × ad_category" in shown
    result = json_of(anyfm("explain", folder / "fm", folder / "clicks.parquet", "--json"))
    assert {result["pairs"][0]["field"], result["pairs"][0]["other_field"]} == {"gender", "ad_category"}
    assert result["value_pairs"][0]["observed"] is not None
    assert result["fields"][0]["importance"] > 0
    assert len(result["fields"]) == 8


def test_explain_shows_every_measured_column(folder):
    from anyfm.cli import explain

    columns = sys.modules[explain.__module__]._COLUMNS
    known = {*columns, "field", "other_field", "importance_std"}
    result = json_of(anyfm("explain", folder / "fm", folder / "clicks.parquet", "--json"))
    measured = {*result["fields"][0], *result["pairs"][0]}
    assert measured <= known
    shown = anyfm("explain", folder / "fm", folder / "clicks.parquet").stdout
    assert all(f"\n{columns[key][0]}: " in shown for key in measured & columns.keys())


def test_explain_needs_no_target_and_knows_linear_models(folder):
    result = json_of(anyfm("explain", folder / "fm", folder / "new.csv", "--json"))
    assert result["value_pairs"][0]["observed"] is None
    result = json_of(anyfm("explain", folder / "linear", folder / "new.csv", "--json"))
    assert result["pairs"] == result["value_pairs"] == []


def test_explain_takes_one_row_apart(folder):
    shown = anyfm("explain", folder / "fm", folder / "clicks.parquet", "--row", 7, "--top", 0).stdout
    assert shown.startswith("row 7: predicted probability")
    terms = [float(line.split()[0]) for line in shown.splitlines()[2:] if line.strip()]
    logit = float(library.load(folder / "fm").logits(folder / "clicks.parquet")[6])
    assert sum(terms) == pytest.approx(logit, abs=1e-2)
    result = json_of(anyfm("explain", folder / "fm", folder / "clicks.parquet", "--row", 7, "--json"))
    assert sum(term["contribution"] for term in result["terms"]) == pytest.approx(logit, abs=1e-5)
    assert "9" not in anyfm("explain", folder / "fm", folder / "new.csv", "--row", 9_999, status=2).stdout


def test_explain_writes_terms(folder, tmp_path):
    terms = tmp_path / "terms.parquet"
    anyfm("explain", folder / "fm", folder / "clicks.parquet", "--out", terms, "--top", 5)
    totals = pl.read_parquet(terms).group_by("row").agg(pl.col("contribution").sum()).sort("row")["contribution"]
    assert totals.to_numpy() == pytest.approx(library.load(folder / "fm").logits(folder / "clicks.parquet"), abs=1e-5)


def test_explain_shows_what_the_values_of_a_field_do(folder):
    shown = anyfm("explain", folder / "fm", folder / "new.csv", "--field", "gender").stdout
    assert "training" in shown
    assert "│▇" in shown
    assert "change of mean logit: " in shown
    assert "sample of 1,000 rows" in shown
    result = json_of(anyfm("explain", folder / "fm", folder / "new.csv", "--field", "age", "--json"))
    assert result["ordered"] is True
    assert result["measured_rows"] == 1_000
    assert sum(record["training_rows"] for record in result["values"]) == 4_500  # a tenth is held out


def test_inspect_shows_values_alike_and_writes_factors(folder, tmp_path):
    factors = tmp_path / "factors.parquet"
    asked = ("inspect", folder / "fm", "--nearest", "ad_category=cars", "--top", 2)
    assert "cosine" in anyfm(*asked).stdout
    result = json_of(anyfm(*asked, "--factors", factors, "--json"))
    assert result["nearest"] == [
        {"value": value, "cosine": pytest.approx(cosine)}
        for value, cosine in library.load(folder / "fm").nearest("ad_category", "cars", n=2)
    ]
    assert pl.read_parquet(factors).equals(library.load(folder / "fm").factors())


def test_report_writes_one_page_of_all_models(folder, tmp_path):
    out = tmp_path / "pages" / "report.html"
    result = anyfm("report", folder / "fm", folder / "linear", folder / "clicks.parquet", "--out", out, "--json")
    found = json_of(result)
    assert found["bytes"] == out.stat().st_size < 8_000_000
    assert found["models"].keys() == {"fm", "linear"}
    assert found["models"]["fm"]["auc"] == pytest.approx(
        library.load(folder / "fm").evaluate(folder / "clicks.parquet")["auc"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "fm", "clicks.parquet", "--row", "0"], "--row must be from 1 to"),
        (["explain", "fm", "clicks.parquet", "--top", "-1"], "--top must be"),
        (["explain", "fm", "clicks.parquet", "--out", "x.exe"], "a table is written as"),
        (["explain", "fm", "clicks.parquet", "--field", "ages"], "Did you mean age?"),
        (["explain", "fm", "clicks.parquet", "--field", "age", "--row", "1"], "cannot be combined"),
        (["inspect", "fm", "--nearest", "gender"], "--nearest must be FIELD=VALUE"),
        (["inspect", "fm", "--nearest", "gender=W"], "does not occur in the training rows"),
        (["inspect", "linear", "--nearest", "gender=F"], "a model with factors"),
        (["report", "fm"], "at least one model"),
        (["report", "fm", "clicks.parquet", "--out", "r.pdf"], ".html"),
        (["report", "fm", "new.csv", "--out", "x.html"], "click"),
        (["report", "fm", "clicks.parquet", "--rows", "0"], "--rows must be"),
        (["report", "nowhere", "clicks.parquet"], "'nowhere' is not a model directory"),
    ],
)
def test_errors_are_plain_words(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    assert message in anyfm(*arguments, status=2).output


def test_explain_reads_text_of_ids_too(tmp_path):
    lines = [f"{i % 2} 0:{i % 3}:1 1:{3 + i % 4}:0.5" for i in range(60)]
    (tmp_path / "tr.ffm").write_text("\n".join(lines) + "\n", encoding="utf-8")
    anyfm("train", tmp_path / "tr.ffm", "--model", "fm", "--out", tmp_path / "m", "--epochs", 2)
    result = json_of(anyfm("explain", tmp_path / "m", tmp_path / "tr.ffm", "--json"))
    assert next(pair["field"] for pair in result["pairs"]).startswith("field_")
    shown = anyfm("explain", tmp_path / "m", tmp_path / "tr.ffm", "--row", 2).stdout
    assert "field_0=id 1" in shown
    assert (
        "trained on a table" in anyfm("explain", tmp_path / "m", tmp_path / "tr.ffm", "--field", "a", status=2).output
    )
    assert "trained on tables" in anyfm("report", tmp_path / "m", tmp_path / "tr.ffm", status=2).output


def test_a_model_of_ids_gives_its_factors_and_neighbors_by_id(tmp_path):
    lines = [f"{i % 2} 0:{i % 3}:1 1:{3 + i % 4}:0.5" for i in range(60)]
    (tmp_path / "tr.ffm").write_text("\n".join(lines) + "\n", encoding="utf-8")
    anyfm("train", tmp_path / "tr.ffm", "--model", "ffm", "--out", tmp_path / "m", "--epochs", 2)
    factors = tmp_path / "factors.parquet"
    asked = ("inspect", tmp_path / "m", "--nearest", "id=4", "--factors", factors, "--json")
    nearest = json_of(anyfm(*asked))["nearest"]
    assert {neighbor["value"] for neighbor in nearest} == {"0", "1", "2", "3", "5", "6"}
    frame = pl.read_parquet(factors)
    assert frame.columns[:3] == ["id", "linear", "toward"]
    assert frame["id"].to_list() == [number for number in range(7) for _ in range(2)]
    assert frame["toward"].to_list() == ["field_0", "field_1"] * 7
    learned = library.load(tmp_path / "m").artifact.parameters["field_factors"].reshape(14, -1)
    assert frame["factor_1"].to_numpy() == pytest.approx(learned[:, 0])
