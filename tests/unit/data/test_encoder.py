"""Laws of encoding, on random tables of every kind of column."""

from __future__ import annotations

import io
import json
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfm.core.errors import ArtifactError, InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.data import Encoder, categorical, infer_schema, read_table, read_vocabulary, write_vocabulary

from .tables import floats, integers, moments, overrides, tables, texts


def fitted(frame: pl.DataFrame, min_count: int = 1) -> Encoder:
    return Encoder.fit(frame, infer_schema(frame, overrides=overrides(frame), min_count=min_count))


def assert_same(left: Rows, right: Rows) -> None:
    for name in ("ids", "offsets", "values", "fields", "y", "weight"):
        a, b = getattr(left, name), getattr(right, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_array_equal(a, b, err_msg=name)


def joined(parts: list[Rows]) -> Rows:
    def stack(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    if parts[0].offsets is None:
        return Rows(ids=stack("ids"), values=stack("values"))
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Rows(ids=stack("ids"), offsets=offsets, values=stack("values"), fields=stack("fields"))


def as_python(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return list(frame.iter_rows(named=True))


two_tables = st.booleans().flatmap(lambda ragged: st.tuples(tables(ragged=ragged), tables(ragged=ragged)))


class TestLaws:
    @given(two_tables, st.integers(1, 3))
    @settings(max_examples=30)
    def test_encoding_does_not_depend_on_how_rows_are_cut(
        self, both: tuple[pl.DataFrame, pl.DataFrame], min_count: int
    ):
        encoder = fitted(both[0], min_count)
        for frame in both:
            with mock.patch.object(categorical, "SMALL", 0):  # the whole table by joins, its parts by look-ups
                whole = encoder.encode(frame)
            parts = [encoder.encode(frame[i : i + 3]) for i in range(0, frame.height, 3)]
            assert_same(whole.rows, joined([part.rows for part in parts]))
            assert whole.report == sum((part.report for part in parts[1:]), start=parts[0].report)

    @given(two_tables, st.integers(1, 3))
    @settings(max_examples=30)
    def test_one_row_is_encoded_as_in_a_table(self, both: tuple[pl.DataFrame, pl.DataFrame], min_count: int):
        encoder = fitted(both[0], min_count)
        for frame in both:
            with mock.patch.object(categorical, "SMALL", 0):
                rows = encoder.encode(frame).rows
            for i, row in enumerate(as_python(frame)):
                assert_same(encoder.encode_one(row), rows.take(np.array([i])))
            assert_same(encoder.encode_rows(as_python(frame)).rows, rows)

    @given(two_tables, st.data())
    @settings(max_examples=30)
    def test_rows_of_any_values_are_encoded_one_by_one(
        self, both: tuple[pl.DataFrame, pl.DataFrame], data: st.DataObject
    ):
        encoder = fitted(both[0])
        value = st.one_of(texts, integers, floats, moments, st.booleans(), st.just(10**400), st.just(np.float32(0.5)))
        rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(encoder.columns, value)), min_size=1, max_size=6))
        assert_same(encoder.encode_rows(rows).rows, joined([encoder.encode_one(row) for row in rows]))

    @pytest.mark.parametrize("value", [{"a": 1}, b"a", [["a"]], [{"a": 1}]])
    def test_a_value_that_no_column_holds_is_refused(self, value: Any):
        frame = pl.DataFrame({"x": ["a|b", "b", "a", "b"]})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"x": "tags"}))
        for encode in (lambda: encoder.encode_one({"x": value}), lambda: encoder.encode_rows([{"x": value}])):
            with pytest.raises(InputError, match="column 'x'"):
                encode()

    @given(two_tables)
    @settings(max_examples=20)
    def test_fit_encode_is_fit_then_encode(self, both: tuple[pl.DataFrame, pl.DataFrame]):
        frame = both[0]
        schema = infer_schema(frame, overrides=overrides(frame), min_count=2)
        encoder, encoded = Encoder.fit_encode(frame, schema)
        with mock.patch.object(categorical, "SMALL", 0):
            again = encoder.encode(frame)
        assert_same(encoded.rows, again.rows)
        assert encoded.report == again.report
        np.testing.assert_array_equal(encoder.counts, encoded.rows.feature_counts(encoder.n_features))

    @given(two_tables)
    @settings(max_examples=20)
    def test_saved_and_read_again_it_gives_the_same_ids_and_bytes(self, both: tuple[pl.DataFrame, pl.DataFrame]):
        encoder = fitted(both[0])
        parts = json.loads(json.dumps(encoder.to_dict()))
        again = Encoder.from_parts(parts, encoder.vocabulary_frame())
        assert_same(encoder.encode(both[1]).rows, again.encode(both[1]).rows)
        assert json.dumps(again.to_dict()) == json.dumps(encoder.to_dict())
        assert again.vocabulary_frame().equals(encoder.vocabulary_frame())
        np.testing.assert_array_equal(again.counts, encoder.counts)
        assert again.schema == encoder.schema
        assert [again.field_values(f) for f in again.field_names] == [
            encoder.field_values(f) for f in encoder.field_names
        ]

    @given(two_tables, st.randoms(use_true_random=False))
    @settings(max_examples=15)
    def test_order_of_columns_and_extra_columns_do_not_matter(
        self, both: tuple[pl.DataFrame, pl.DataFrame], random: Any
    ):
        encoder = fitted(both[0])
        names = list(both[1].columns)
        random.shuffle(names)
        other = both[1].select(names).with_columns(extra=pl.lit("x"))
        assert_same(encoder.encode(other).rows, encoder.encode(both[1]).rows)

    @given(tables(ragged=False))
    @settings(max_examples=20)
    def test_column_types_of_a_part_do_not_matter(self, frame: pl.DataFrame):
        """A row read from Python values may have other column types: all null, or whole numbers only."""
        encoder = fitted(frame)
        rows = encoder.encode(frame).rows
        for i, row in enumerate(as_python(frame)):
            alone = read_table({name: [value] for name, value in row.items()})
            assert_same(encoder.encode(alone).rows, rows.take(np.array([i])))

    @given(tables(ragged=True), st.data())
    @settings(max_examples=20)
    def test_weight_three_is_three_copies(self, frame: pl.DataFrame, data: Any):
        weights = data.draw(st.lists(st.integers(0, 3), min_size=frame.height, max_size=frame.height))
        weights[0] = 2
        copied = frame[np.repeat(np.arange(frame.height), weights).tolist()]
        schema = infer_schema(frame, overrides=overrides(frame), min_count=2)
        weighted = Encoder.fit(frame, schema, weight=np.array(weights, np.float32))
        plain = Encoder.fit(copied, schema)
        one, other = weighted.to_dict(), plain.to_dict()
        for left, right in zip(one["fields"], other["fields"], strict=True):
            if left["type"] == "scaled":
                assert left["mean"] == pytest.approx(right["mean"])
                assert left["deviation"] == pytest.approx(right["deviation"])
            elif left.get("key_type") == right.get("key_type"):  # a value of weight 0 may still change the key type
                assert left == right
        np.testing.assert_allclose(np.sort(weighted.counts), np.sort(plain.counts))


class TestIds:
    def test_unseen_and_missing_come_before_values_by_frequency(self):
        frame = pl.DataFrame({"x": ["b", "a", "c", "b", None, "c", "z", "d", "d"]})
        encoder, encoded = Encoder.fit_encode(frame, infer_schema(frame, min_count=2))
        assert encoder.field_values("x") == ["<unseen>", "<missing>", "b", "c", "d"]
        assert encoded.rows.ids[:, 0].tolist() == [2, 0, 3, 2, 1, 3, 0, 4, 4]
        assert encoder.counts.tolist() == [2, 1, 2, 2, 2]

    @given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 4))
    def test_ids_follow_frequency_and_min_count_for_any_values(self, values: list[int], min_count: int):
        frame = pl.DataFrame({"x": values})
        encoder, encoded = Encoder.fit_encode(
            frame, infer_schema(frame, overrides={"x": "categorical"}, min_count=min_count)
        )
        kept = sorted((v for v in set(values) if values.count(v) >= min_count), key=lambda v: (-values.count(v), v))
        assert encoder.field_values("x") == ["<unseen>", "<missing>", *kept]
        assert encoded.rows.ids[:, 0].tolist() == [kept.index(v) + 2 if v in kept else 0 for v in values]

    def test_global_ids_add_the_offset_of_the_field(self):
        frame = pl.DataFrame({"x": ["a", "a", "b", "b"], "y": ["u", "v", "v", "u"]})
        encoder, encoded = Encoder.fit_encode(frame, infer_schema(frame))
        assert encoder.field_offsets.tolist() == [0, 4, 8]
        assert encoded.rows.ids.tolist() == [[2, 6], [2, 7], [3, 7], [3, 6]]
        assert encoder.feature(7) == ("y", "v")
        assert encoder.feature(0) == ("x", "<unseen>")
        assert (encoder.n_features, encoder.n_fields, encoder.field_names) == (8, 2, ["x", "y"])

    def test_unknown_ids_and_fields_are_refused(self):
        frame = pl.DataFrame({"x": ["a", "a", "b", "b"]})
        encoder = Encoder.fit(frame, infer_schema(frame))
        with pytest.raises(SettingError, match=r"0 … 3, got global_id=4"):
            encoder.feature(4)
        with pytest.raises(SettingError, match="field must be one of x, got field='y'"):
            encoder.field_values("y")


class TestOtherColumnTypes:
    """A number is the same feature whatever the type of its column."""

    @pytest.mark.parametrize("kind", ["categorical", "numeric"])
    def test_whole_numbers(self, kind: str):
        train = pl.DataFrame({"x": [3, 3, 4, 4, 4, 5, 5]})
        encoder = Encoder.fit(train, infer_schema(train, overrides={"x": kind}))
        expected = encoder.encode(pl.DataFrame({"x": [3, 4]})).rows.ids
        for values in (["3", "4"], [3.0, 4.0], ["3.0", " 4 "], pl.Series([3, 4], dtype=pl.UInt8)):
            frame = pl.DataFrame({"x": values})
            np.testing.assert_array_equal(encoder.encode(frame).rows.ids, expected)
            one_by_one = [encoder.encode_one(row).ids[0] for row in frame.iter_rows(named=True)]
            np.testing.assert_array_equal(one_by_one, expected)

    def test_text_that_looks_like_numbers(self):
        train = pl.DataFrame({"x": ["3", "3", "a", "a", "04", "04"]})
        encoder = Encoder.fit(train, infer_schema(train))
        three, a, zero_four = (encoder.field_values("x").index(v) for v in ("3", "a", "04"))
        assert encoder.encode(pl.DataFrame({"x": [3, 4]})).rows.ids[:, 0].tolist() == [three, 0]
        assert encoder.encode(pl.DataFrame({"x": [3.0, 4.5]})).rows.ids[:, 0].tolist() == [three, 0]
        assert encoder.encode(pl.DataFrame({"x": ["a", "04"]})).rows.ids[:, 0].tolist() == [a, zero_four]
        assert "x" in encoder.text_columns

    def test_float_identifiers_with_missing_values(self):
        train = pl.DataFrame({"user_id": [1.0, 1.0, 2.0, 2.0, None, float("nan")]})
        encoder = Encoder.fit(train, infer_schema(train, overrides={"user_id": "categorical"}))
        assert encoder.field_values("user_id") == ["<unseen>", "<missing>", 1, 2]
        assert encoder.encode(pl.DataFrame({"user_id": [2, 7]})).rows.ids[:, 0].tolist() == [3, 0]

    def test_booleans(self):
        train = pl.DataFrame({"x": [True, False, False]})
        encoder = Encoder.fit(train, infer_schema(train, min_count=1))
        assert encoder.field_values("x") == ["<unseen>", "<missing>", False, True]
        for values in ([True, False], [1, 0], [1.0, 0.0], ["True", "no"], ["1", "0"]):
            assert encoder.encode(pl.DataFrame({"x": values})).rows.ids[:, 0].tolist() == [3, 2]

    def test_32_bit_floats(self):
        train = pl.DataFrame({"x": pl.Series([0.1, 0.1, 0.2, 0.2], dtype=pl.Float32)})
        encoder = Encoder.fit(train, infer_schema(train, overrides={"x": "categorical"}))
        assert encoder.field_values("x") == ["<unseen>", "<missing>", 0.1, 0.2]
        assert encoder.encode(pl.DataFrame({"x": ["0.1", "0.2"]})).rows.ids[:, 0].tolist() == [2, 3]

    def test_a_word_among_numbers_is_unseen(self):
        train = pl.DataFrame({"x": [1, 1, 2, 2, 3, 3], "y": [1, 2, 3, 4, 5, 6]})
        encoder = Encoder.fit(train, infer_schema(train, overrides={"x": "categorical", "y": "numeric"}))
        encoded = encoder.encode(pl.DataFrame({"x": ["one"], "y": ["one"]}))
        assert [encoder.feature(i)[1] for i in encoded.rows.ids[0]] == ["<unseen>", "<unseen>"]
        assert encoded.report.n_unseen == 2


class TestReport:
    def test_is_one_line_in_a_console_and_a_table_in_a_notebook(self):
        frame = pl.DataFrame({"<b>": ["a", "a", "b", "b"]})
        encoder, encoded = Encoder.fit_encode(frame, infer_schema(frame))
        assert repr(encoded.report) == "EncodingReport(4 rows, 1 fields: 0 unseen and 0 missing values)"
        assert repr(encoder) == "Encoder(n_fields=1, n_features=4)"
        assert repr(encoded).startswith("Encoded(4 rows, 4 entries, EncodingReport(")
        assert repr(encoder.fields[0].encoder) == "CategoricalEncoder(n_features=4)"
        assert "<td>&lt;b&gt;</td><td>0 (0%)</td>" in encoded.report._repr_html_()

    def test_counts_unseen_and_missing_per_field(self, caplog: pytest.LogCaptureFixture):
        train = pl.DataFrame({"x": ["a", "a", "b", "b"], "y": ["u", "u", "v", "v"]})
        encoder = Encoder.fit(train, infer_schema(train))
        report = encoder.encode(pl.DataFrame({"x": ["a", "?", "new"], "y": ["p", "q", "r"]})).report
        assert report.to_dict() == {
            "n_rows": 3,
            "fields": {
                "x": {"n_unseen": 1, "n_missing": 1, "n_entries": 3},
                "y": {"n_unseen": 3, "n_missing": 0, "n_entries": 3},
            },
        }
        assert report.describe() == "y: 3 (100%) unseen, 0 (0%) missing\nx: 1 (33.3%) unseen, 1 (33.3%) missing"
        encoder.encode(pl.DataFrame({"x": ["a"] * 20, "y": ["p"] * 20}))
        assert [record.getMessage() for record in caplog.records] == [
            "field y: none of its 20 values was seen in training"
        ]


class TestLabels:
    def test_target_and_weight_are_encoded_with_the_rows(self):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"], "y": [0, 1, 1, 0], "w": [1.0, 2.0, 0.0, 0.5]})
        encoder, encoded = Encoder.fit_encode(frame, infer_schema(frame, target="y", weight="w"))
        assert encoded.rows.y is not None
        assert encoded.rows.weight is not None
        assert encoded.rows.y.tolist() == [0, 1, 1, 0]
        assert encoded.rows.weight.tolist() == [1, 2, 0, 0.5]
        assert encoder.encode(frame.select("x")).rows.y is None
        assert_same(encoder.encode(frame, labelled=True).rows, encoded.rows)

    def test_a_schema_without_target_has_no_labels(self):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"]})
        with pytest.raises(InputError, match="no target"):
            Encoder.fit(frame, infer_schema(frame)).encode(frame, labelled=True)

    def test_each_row_needs_a_weight(self):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"]})
        with pytest.raises(InputError, match="n_weights=3, n_rows=4"):
            Encoder.fit(frame, infer_schema(frame), weight=np.ones(3, np.float32))


class TestFiles:
    def test_the_same_vocabulary_gives_the_same_bytes(self, tmp_path):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"], "n": [1.5, 2.5, 3.5, None]})
        encoder = Encoder.fit(frame, infer_schema(frame))
        one, two = io.BytesIO(), io.BytesIO()
        write_vocabulary(encoder, one)
        again = Encoder.from_parts(encoder.to_dict(), read_vocabulary(one.getvalue(), file="v.parquet"))
        write_vocabulary(again, two)
        assert one.getvalue() == two.getvalue()

    def test_a_damaged_vocabulary_is_an_artifact_error(self):
        with pytest.raises(ArtifactError, match=r"v\.parquet"):
            read_vocabulary(b"PAR1 nonsense", file="v.parquet")
        other = io.BytesIO()
        pl.DataFrame({"field": [1]}).write_parquet(other)
        with pytest.raises(ArtifactError, match=r"w\.parquet"):
            read_vocabulary(other.getvalue(), file="w.parquet")

    def test_parts_that_do_not_belong_together_are_an_artifact_error(self):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"], "y": ["a", "b", "a", "b"]})
        encoder = Encoder.fit(frame, infer_schema(frame))
        frame = encoder.vocabulary_frame()
        with pytest.raises(ArtifactError):
            Encoder.from_parts(encoder.to_dict(), frame.filter(pl.col("field") == 0))
        with pytest.raises(ArtifactError):
            Encoder.from_parts({"schema": encoder.to_dict()["schema"]}, frame)
        damaged = encoder.to_dict()
        damaged["fields"][0]["key_type"] = "int"
        with pytest.raises(ArtifactError):
            Encoder.from_parts(damaged, frame)


class TestOneRow:
    def test_a_missing_column_is_named(self):
        frame = pl.DataFrame({"x": ["a", "b", "a", "b"], "y": ["a", "b", "a", "b"]})
        encoder = Encoder.fit(frame, infer_schema(frame))
        with pytest.raises(InputError, match=r"\(column 'y'\)"):
            encoder.encode_one({"x": "a"})

    @pytest.mark.parametrize("value", [np.int64(1), np.float32(1.0), np.str_("1"), "1", 1, 1.0, True])
    def test_numpy_scalars_are_values(self, value: Any):
        frame = pl.DataFrame({"x": [1, 1, 2, 2, 3, 3]})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"x": "categorical"}))
        assert encoder.encode_one({"x": value}).ids.tolist() == [[2]]

    @pytest.mark.parametrize("kind", ["categorical", "numeric", "scaled", "log", "tags", "datetime", "boolean"])
    def test_every_kind_of_field_knows_missing_values(self, kind: str):
        frame = pl.DataFrame({"x": [1, 0, 1, 0]})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"x": kind}))
        for value in (None, float("nan"), np.float32("nan"), "", "?", "NaN"):
            assert encoder.encode_one({"x": value}).ids.reshape(-1).tolist() == [1], value

    @pytest.mark.parametrize("value", [2**80, -(2**80), b"bytes", object(), {"a": 1}, [[1]], complex(1, 2)])
    def test_other_objects_are_unseen_or_refused(self, value: Any):
        frame = pl.DataFrame({"x": [1, 1, 2, 2, 3, 3]})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"x": "categorical"}))
        try:
            ids = encoder.encode_one({"x": value}).ids
        except InputError:
            return
        assert ids.tolist() == [[0]]
