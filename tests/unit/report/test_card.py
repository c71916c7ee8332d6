"""The model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.report.card import card_of, write_card
from tests.integration.command_line import anyfm as command


def table(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user|<b>": rng.choice(["a", "b", "c"], n),
            "at": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1, 6, 39), "1m", eager=True)[:n],
            "bought": rng.integers(0, 2, n),
        }
    )


def trained(**settings: object) -> anyfm.Model:
    held_out = {} if {"valid", "valid_by", "valid_last_by"} & settings.keys() else {"valid_fraction": 0.1}
    fixed = {"model": "fm", "epochs": 2, "search": False, "fields": {"at": "datetime"}}
    return anyfm.train(table(), "bought", **fixed, **{**held_out, **settings})


@pytest.fixture(scope="module")
def model() -> anyfm.Model:
    return trained(n_factors=4, valid_fraction=0.1)


def test_it_says_what_the_model_was_made_of(model: anyfm.Model) -> None:
    card = card_of(model.artifact)
    assert card.target == "the probability of bought = 1"
    assert card.facts["settings other than the defaults"] == "n_factors=4"
    assert (card.data["training rows"], card.data["validation rows"]) == ("360", "40")
    assert card.data["held out"] == "0.1 of the rows at random"
    first, last = card.data["at, from and to"].split(" – ")
    assert first.startswith("2024-01-01 00:0")
    assert last.startswith("2024-01-01 06:3")
    assert card.metrics == model.metrics
    assert [field[:2] for field in card.fields] == [("user|<b>", "categorical"), ("at", "datetime")]
    assert any("at random" in sentence for sentence in card.limits)


@pytest.mark.parametrize(
    ("settings", "held_out"),
    [
        ({"valid_by": "at"}, "the last 0.1 of the rows by at"),
        ({"valid_last_by": ("user|<b>", "at")}, "the last row of each user|<b> by at"),
        ({"valid": table(20)}, "a table of their own"),
        ({"valid_fraction": 0}, "none"),
    ],
)
def test_it_says_how_rows_were_held_out(settings: dict, held_out: str) -> None:
    card = card_of(trained(**settings).artifact)
    assert card.data["held out"] == held_out
    assert not any("at random" in sentence for sentence in card.limits)
    assert ("No rows were held out" in card.limits[0]) == (held_out == "none")


def test_the_fingerprint_is_that_of_the_data(model: anyfm.Model) -> None:
    same = trained(n_factors=8, valid_fraction=0.1)
    other = trained(n_factors=4, valid_fraction=0.1, seed=1)  # holds out other rows
    names = [made.artifact.training["data_sha256"] for made in (model, same, other)]
    assert names[0] == names[1] != names[2]
    rows = model.rows(table(), labelled=True)
    assert rows.fingerprint() == rows.slice(0, 400).fingerprint() != rows.slice(0, 399).fingerprint()


def test_the_markdown(model: anyfm.Model) -> None:
    text = write_card(model.artifact, name="a*b", measured={"logloss": 0.5}, data="t|x.csv")
    lines = text.splitlines()
    assert lines[0] == r"# a\*b"
    assert r"| user\|&lt;b&gt; | categorical | 5 | text, 3 distinct values |" in lines
    assert r"| metric | validation rows | t\|x.csv |" in lines
    assert f"| logloss | {model.metrics['logloss']:.5f} | 0.50000 |" in lines
    rows = [at for at, line in enumerate(lines) if line.startswith("|")]
    widths = {at: len(lines[at].replace(r"\|", "").split("|")) for at in rows}
    assert all(widths[at] == widths[at - 1] for at in rows if at - 1 in widths), text
    assert "\n\n\n" not in text


def test_a_regression_and_a_model_of_text(tmp_path: Path) -> None:
    made = anyfm.train(
        table().with_columns(bought=pl.col("bought") * 1.5),
        "bought",
        model="linear",
        task="regression",
        epochs=1,
        search=False,
    )
    card = card_of(made.artifact)
    assert (card.target, "mean of the target" in card.data) == ("bought", True)
    (tmp_path / "d.svm").write_text("1 1:1 2:1\n0 1:1 3:1\n" * 20)
    card = card_of(anyfm.train(tmp_path / "d.svm", model="fm", epochs=1, search=False).artifact)
    assert (card.target, card.fields, card.data["format"]) == ("the label of the file", [], "libsvm")


def test_the_command(model: anyfm.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    table(50).write_parquet(tmp_path / "t.parquet")
    assert command("card", tmp_path / "m").stdout == write_card(model.artifact, name="m")
    command("card", tmp_path / "m", "--data", tmp_path / "t.parquet", "--out", tmp_path / "card.md")
    expected = model.evaluate(tmp_path / "t.parquet")
    text = write_card(model.artifact, name="m", measured=expected, data="t.parquet")
    assert (tmp_path / "card.md").read_text() == text


def test_the_report_has_it(model: anyfm.Model, tmp_path: Path) -> None:
    page = model.report(table(), tmp_path / "report.html").read_text()
    assert "<h2>Data and limits</h2>" in page
    assert model.artifact.training["data_sha256"] in page
    assert "Contributions describe the model, not causes." in page
