"""Tables to text files and back: ids agree with the encoder, values are restored, mismatches are refused."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import ArtifactError, InputError, SettingError
from anyfm.data.encoder import Encoder
from anyfm.data.schema_inference import infer_schema
from anyfm.data.text.convert import convert, load_vocabulary, save_vocabulary, vocabulary_beside
from anyfm.data.text.reader import read_text


def table(n: int = 200, *, tags: bool = False) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    columns = {
        "click": rng.integers(0, 2, n),
        "site": [None if i % 17 == 0 else f"s{rng.integers(7)}" for i in range(n)],
        "user_id": rng.integers(0, 30, n),
        "price": rng.random(n) * 100,
    }
    if tags:
        columns["words"] = [["a", "b", "c"][: i % 4] or None for i in range(n)]
    return pl.DataFrame(columns)


def encoded(frame: pl.DataFrame):
    return Encoder.fit_encode(frame, infer_schema(frame, target="click", min_count=1))


OPTIONS = {"target": "click", "schema_options": {"min_count": 1}}


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("name", ["rows.ffm", "rows.svm"])
def test_text_holds_the_rows_of_the_encoder(tmp_path, tags, name):
    frame = table(tags=tags)
    done = convert(frame, tmp_path / name, **OPTIONS)
    encoder, expected = encoded(frame)
    read = read_text(tmp_path / name)
    assert np.array_equal(read.rows.ids, expected.rows.ids)
    assert np.array_equal(read.rows.y, expected.rows.y)
    assert (done.n_rows, done.n_features, done.n_fields) == (200, encoder.n_features, encoder.n_fields)
    if tags:
        assert np.array_equal(read.rows.values, expected.rows.values)
    if tags and name == "rows.ffm":
        assert np.array_equal(read.rows.fields, expected.rows.fields)
    if not tags and name == "rows.ffm":
        assert read.rows.fields is None


@pytest.mark.parametrize("name", ["rows.ffm", "rows.svm"])
def test_a_vocabulary_restores_values(tmp_path, name):
    frame = table(tags=True)
    done = convert(frame, tmp_path / name, **OPTIONS)
    convert(tmp_path / name, tmp_path / "back.parquet", vocabulary=done.vocabulary)
    back = pl.read_parquet(tmp_path / "back.parquet")
    for column in ("click", "site", "user_id", "words"):
        assert back[column].to_list() == frame[column].to_list(), column
    labels = load_vocabulary(done.vocabulary).field_values("price")
    assert set(back["price"]) <= set(labels)  # bins stay intervals


def test_a_vocabulary_restores_scaled_numbers(tmp_path):
    frame = table()
    done = convert(frame, tmp_path / "rows.ffm", target="click", schema_options={"overrides": {"price": "scaled"}})
    convert(tmp_path / "rows.ffm", tmp_path / "back.parquet", vocabulary=done.vocabulary)
    back = pl.read_parquet(tmp_path / "back.parquet")
    assert back["price"].to_numpy() == pytest.approx(frame["price"].to_numpy(), rel=1e-5, abs=1e-4)


def test_unseen_values_are_marked(tmp_path):
    done = convert(table(), tmp_path / "rows.ffm", **OPTIONS)
    other = pl.DataFrame({"site": ["s1", "new", None], "user_id": [1, 10**6, 2], "price": [1.0, 2.0, 3.0]})
    again = convert(other, tmp_path / "test.ffm", vocabulary=done.vocabulary)
    assert again.report["fields"]["site"]["n_unseen"] == 1
    assert again.vocabulary is None
    assert [line.split()[0] for line in (tmp_path / "test.ffm").read_text().splitlines()] == ["0", "0", "0"]
    convert(tmp_path / "test.ffm", tmp_path / "back.parquet", vocabulary=done.vocabulary)
    back = pl.read_parquet(tmp_path / "back.parquet")
    assert back["site"].to_list() == ["s1", "<unseen>", None]
    assert back["user_id"].to_list() == ["1", "<unseen>", "2"]


def test_a_vocabulary_restores_classes(tmp_path):
    frame = table().with_columns(
        pl.when(pl.col("click") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("click")
    )
    done = convert(frame, tmp_path / "rows.ffm", target="click")
    convert(tmp_path / "rows.ffm", tmp_path / "back.csv", vocabulary=done.vocabulary)
    assert pl.read_csv(tmp_path / "back.csv")["click"].to_list() == frame["click"].to_list()


def test_without_a_vocabulary_the_table_has_ids(tmp_path):
    convert(table(), tmp_path / "rows.ffm", **OPTIONS)
    convert(tmp_path / "rows.ffm", tmp_path / "ids.csv")
    ids = pl.read_csv(tmp_path / "ids.csv")
    assert ids.columns == ["label", "field_0", "field_1", "field_2"]
    rows = read_text(tmp_path / "rows.ffm").rows
    assert np.array_equal(ids.drop("label").to_numpy(), rows.ids)
    assert np.array_equal(ids["label"].to_numpy(), rows.y)


def test_rows_of_different_lengths_become_lists(tmp_path):
    (tmp_path / "rows.ffm").write_text("-1 0:5:1 1:7:0.5\n1\n-1 3:9:2\n")
    convert(tmp_path / "rows.ffm", tmp_path / "ids.parquet")
    ids = pl.read_parquet(tmp_path / "ids.parquet")
    assert ids["label"].to_list() == [-1, 1, -1]
    assert ids["ids"].to_list() == [[5, 7], [], [9]]
    assert ids["fields"].to_list() == [[0, 1], [], [3]]
    assert ids["values"].to_list() == [[1, 0.5], [], [2]]
    with pytest.raises(InputError, match=r"different lengths .*\.parquet"):
        convert(tmp_path / "rows.ffm", tmp_path / "ids.csv")


def test_libffm_to_libsvm_and_back(tmp_path):
    done = convert(table(tags=True), tmp_path / "rows.ffm", **OPTIONS)
    convert(tmp_path / "rows.ffm", tmp_path / "rows.svm")
    with pytest.raises(SettingError, match="the field of an id"):
        convert(tmp_path / "rows.svm", tmp_path / "back.ffm")
    convert(tmp_path / "rows.svm", tmp_path / "back.ffm", vocabulary=done.vocabulary)
    assert (tmp_path / "back.ffm").read_bytes() == (tmp_path / "rows.ffm").read_bytes()


def test_labels_of_minus_one_are_preserved(tmp_path):
    (tmp_path / "rows.ffm").write_text("-1 0:5:1\n1 0:6:1\n")
    convert(tmp_path / "rows.ffm", tmp_path / "rows.svm")
    assert (tmp_path / "rows.svm").read_text() == "-1 5:1\n1 6:1\n"


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        convert(table(tags=True), tmp_path / name / "rows.ffm", **OPTIONS)
    files = [sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b")]
    assert len(files[0]) == 3
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]


# --- refused ------------------------------------------------------------------------------------------------------


def test_a_vocabulary_of_other_data_is_refused(tmp_path):
    done = convert(table(), tmp_path / "rows.ffm", **OPTIONS)
    (tmp_path / "other.ffm").write_text("1 0:1:1\n1 2:1:1\n")
    with pytest.raises(InputError, match=r"the id 1 is of field 0 .*row 2, value '2:1'"):
        convert(tmp_path / "other.ffm", tmp_path / "back.csv", vocabulary=done.vocabulary)
    (tmp_path / "fixed.ffm").write_text("1 0:1:1 1:2:1\n")
    with pytest.raises(InputError, match=r"the id 2 is of field 0 .*row 1, value '1:2'"):
        convert(tmp_path / "fixed.ffm", tmp_path / "back.csv", vocabulary=done.vocabulary)
    (tmp_path / "large.ffm").write_text("1 0:1:1\n1 2:100000:1\n")
    with pytest.raises(InputError, match=r"a feature id must lie in .*row 2, value 100000"):
        convert(tmp_path / "large.ffm", tmp_path / "back.csv", vocabulary=done.vocabulary)
    (tmp_path / "twice.ffm").write_text("1 0:2:1 0:3:1\n")
    with pytest.raises(InputError, match=r"one entry of this field .*row 1, column 'site'"):
        convert(tmp_path / "twice.ffm", tmp_path / "back.csv", vocabulary=done.vocabulary)


def test_a_damaged_vocabulary_is_refused(tmp_path):
    done = convert(table(), tmp_path / "rows.ffm", **OPTIONS)
    (done.vocabulary / "encoder.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"encoder\.json"):
        load_vocabulary(done.vocabulary)
    with pytest.raises(ArtifactError, match="absent"):
        load_vocabulary(tmp_path / "absent")
    (done.vocabulary / "encoder.json").write_text(json.dumps({"fields": []}))
    with pytest.raises(ArtifactError):
        load_vocabulary(done.vocabulary)


def test_a_vocabulary_replaces_no_other_directory(tmp_path):
    place = vocabulary_beside(tmp_path / "rows.ffm")
    assert place.name == "rows.ffm.vocabulary"
    place.mkdir()
    (place / "thesis.txt").write_text("text")
    encoder, _ = encoded(table())
    with pytest.raises(InputError, match="this is not a vocabulary"):
        save_vocabulary(encoder, place)
    assert (place / "thesis.txt").read_text() == "text"


def test_source_or_result_must_be_text(tmp_path):
    with pytest.raises(SettingError, match="source or result must be"):
        convert(table(), tmp_path / "rows.csv")
    with pytest.raises(SettingError, match="format must be one of"):
        convert(table(), tmp_path / "rows.csv", format="vw")
    convert(table(), tmp_path / "rows.txt", format="libffm", **OPTIONS)
    convert(tmp_path / "rows.txt", tmp_path / "rows.csv", source_format="libffm")


def test_another_target_than_that_of_the_vocabulary_is_refused(tmp_path):
    done = convert(table(), tmp_path / "rows.ffm", **OPTIONS)
    with pytest.raises(SettingError, match="target must be that of the vocabulary"):
        convert(table(), tmp_path / "test.ffm", target="site", vocabulary=done.vocabulary)


def test_the_command_converts_there_and_back(tmp_path):
    from typer.testing import CliRunner

    from anyfm.cli import app

    def run(*arguments: object):
        return CliRunner().invoke(app, ["convert", *map(str, arguments)])

    table().write_parquet(tmp_path / "rows.parquet")
    text, back = tmp_path / "rows.ffm", tmp_path / "back.parquet"
    done = run(tmp_path / "rows.parquet", text, "--target", "click", "--min-count", 1, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["vocabulary"] == str(vocabulary_beside(text))
    assert run(text, back, "--vocabulary", vocabulary_beside(text)).exit_code == 0
    assert pl.read_parquet(back)["user_id"].to_list() == table()["user_id"].to_list()
    text.write_text("1 0:x:1")
    assert run(text, back).exit_code == 2
