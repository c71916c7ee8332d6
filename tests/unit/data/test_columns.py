"""Columns that are easily taken for what they are not: identifiers, codes, dates, numbers with commas, lists.

Every kind is drawn from its whole grammar: dates in all formats, identifiers of all widths, all separators.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfm.core.errors import InputError, SettingError
from anyfm.data import Encoder, infer_schema, read_table
from anyfm.data.cleaning import items_of, number_text_of, seconds_text_of
from anyfm.data.moments import parse_moment
from anyfm.data.schema import FORMATS, settings_of_kind
from anyfm.data.values import MISSING_WORDS

N = 400
RANDOM = np.random.default_rng(7)
OTHER = [("a", "b", "c")[i % 3] for i in range(N)]


def verdict(values: Any, name: str = "x", **options: Any) -> Any:
    frame = read_table({name: values, "other": OTHER[: len(values)]})
    return infer_schema(frame, **options).fields[0]


def encoder_of(values: Any, name: str = "x", **options: Any) -> Encoder:
    frame = read_table({name: values})
    return Encoder.fit(frame, infer_schema(frame, min_count=1, **options))


def from_csv(tmp_path, frame: pl.DataFrame, **options: Any) -> pl.DataFrame:
    frame.write_csv(tmp_path / "t.csv", **options)
    return read_table(tmp_path / "t.csv")


class TestIdentifiersOfTheRow:
    @pytest.mark.parametrize("name", ["index", "Unnamed: 0", "level_0", "column_1", "row", "order_no", "kept"])
    @pytest.mark.parametrize("first", [0, 1, -5, 10**6, 2_000_000_000])
    @pytest.mark.parametrize("step", [1, 2, 37])
    @pytest.mark.parametrize("kind", ["whole", "real", "text"])
    def test_whole_numbers_distinct_in_every_row_are_ignored(self, name: str, first: int, step: int, kind: str):
        numbers = first + step * RANDOM.permutation(N)
        values = {"whole": numbers, "real": numbers.astype(float), "text": numbers.astype(str)}[kind]
        field = verdict(values, name)
        if step > 1 and first == 2_000_000_000:  # may be seconds since 1970
            assert "1970" in field.reason
        else:
            assert field.kind == "ignore", field.reason

    @given(st.integers(0, 2**32), st.integers(17, 64))
    @settings(max_examples=30)
    def test_identifiers_of_all_widths(self, seed: int, n_bits: int):
        rng = np.random.default_rng(seed)
        distinct = np.unique(rng.integers(2 ** (n_bits - 1), 2**n_bits, N, dtype=np.uint64, endpoint=False))
        for values in (distinct, distinct.astype(str)):
            assert verdict(values, "key").kind == "ignore"
        few = rng.permutation(np.tile(distinct[:20], 20)[:N])
        for values in (few, few.astype(str), few.astype(str).tolist()):
            field = verdict(values, "customer_id")
            assert field.kind == "categorical", field.reason
        if n_bits > 54:
            assert verdict(few, "x").kind == "categorical"
            encoder = encoder_of(few, "customer_id")
            assert encoder.n_features == 2 + len(np.unique(few))

    def test_quantities_and_times_are_kept(self):
        assert verdict(RANDOM.permutation(10 * N)[:N], "price").kind == "numeric"
        assert verdict(RANDOM.normal(size=N)).kind == "numeric"
        assert verdict(1_600_000_000 + 86_400 * np.arange(N), "created_at").kind == "datetime"
        assert verdict(RANDOM.integers(0, 50, N)).kind == "numeric"

    def test_decimals_without_fraction_are_whole_numbers(self):
        codes = pl.Series("x", [2**60 + i % 9 for i in range(N)]).cast(pl.Decimal(38, 0))
        assert verdict(codes).kind == "categorical"
        assert len(encoder_of(codes).field_values("x")) == 2 + 9


class TestDictionaryTypes:
    VALUES = (1, 2, 30, 2, 1, 30) * 50

    def sources(self, tmp_path) -> dict[str, Any]:
        column = pa.array(self.VALUES).dictionary_encode()
        table = pa.table({"x": column, "other": OTHER[: len(self.VALUES)]})
        pandas = pd.DataFrame({"x": pd.Categorical(self.VALUES), "other": OTHER[: len(self.VALUES)]})
        polars = pl.DataFrame({"x": self.VALUES, "other": OTHER[: len(self.VALUES)]})
        pyarrow.parquet.write_table(table, tmp_path / "arrow.parquet")
        pandas.to_parquet(tmp_path / "pandas.parquet")
        return {
            "pandas": pandas,
            "arrow": table,
            "polars": polars.with_columns(pl.col("x").cast(pl.String).cast(pl.Categorical)),
            "arrow.parquet": tmp_path / "arrow.parquet",
            "pandas.parquet": tmp_path / "pandas.parquet",
        }

    @pytest.mark.parametrize("name", ["pandas", "arrow", "polars", "arrow.parquet", "pandas.parquet"])
    def test_they_are_categorical_whatever_the_values(self, tmp_path, name: str):
        frame = read_table(self.sources(tmp_path)[name])
        schema = infer_schema(frame)
        assert schema.fields[0].kind == "categorical", schema.fields[0]
        encoder = Encoder.fit(frame, schema)
        plain = encoder.encode(pl.DataFrame({"x": self.VALUES, "other": OTHER[: len(self.VALUES)]}))
        assert plain.report.n_unseen == 0
        assert (plain.rows.ids == encoder.encode(frame).rows.ids).all()


class TestLeadingZeros:
    @given(st.integers(2, 12), st.lists(st.integers(0, 10**9), min_size=3, max_size=20, unique=True))
    @settings(max_examples=25)
    def test_codes_of_all_widths_stay_apart(self, width: int, numbers: list[int]):
        words = [*{f"{n:0{width}d}" for n in numbers} - {"0"}, "007", "07", "7"]
        words = list(dict.fromkeys(words)) * 3
        csv = "code,n,other\n" + "".join(f"{word},{i},{'ab'[i % 2]}\n" for i, word in enumerate(words))
        frame = pl.read_csv(io.BytesIO(csv.encode()), schema_overrides={"code": pl.String})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"n": "ignore"}))
        assert set(encoder.field_values("code")[2:]) == set(words)

    def test_a_file_keeps_them(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("product,price\n" + "007,0.5\n07,1.5\n7,00.5\n" * 20)
        frame = read_table(path)
        assert frame["product"].to_list()[:3] == ["007", "07", "7"]
        assert frame.schema["price"] == pl.Float64


class TestNumbersWithCommas:
    @given(st.sampled_from([".", " ", "'", "\u00a0", ""]), st.lists(st.floats(-1e7, 1e7), min_size=60, max_size=80))
    @settings(max_examples=40)
    def test_decimal_commas(self, thousands: str, numbers: list[float]):
        numbers = [*(round(x, 2) for x in numbers), 1234.56, 0.5]
        texts = [f"{x:,.2f}".replace(",", "_").replace(".", ",").replace("_", thousands) for x in numbers]
        field = verdict(texts)
        assert (field.kind, field.format) == ("numeric", "decimal_comma"), field.reason
        frame = read_table({"x": texts})
        override = {"x": {"kind": "scaled"}}
        as_text = Encoder.fit(frame, infer_schema(frame, overrides=override)).encode(frame).rows
        plain = read_table({"x": numbers})
        assert np.array_equal(
            as_text.values, Encoder.fit(plain, infer_schema(plain, overrides=override)).encode(plain).rows.values
        )

    def test_thousands_with_commas(self):
        texts = [f"{x:,.1f}" for x in RANDOM.uniform(0, 1e6, N)]
        assert verdict(texts).format == "thousands_comma"
        assert number_text_of("1,281.87", "thousands_comma") == "1281.87"
        assert number_text_of("1.281,87", "decimal_comma") == "1281.87"
        assert number_text_of("12.5", "decimal_comma") is None
        assert verdict([f"0,{i % 50:03d}" for i in range(N)]).format == "decimal_comma"

    def test_targets(self):
        frame = pl.DataFrame({"x": OTHER, "y": [f"{i % 90},{i % 7}5" for i in range(N)]})
        schema = infer_schema(frame, target="y")
        assert schema.target is not None
        assert (schema.target.task, schema.target.format) == ("regression", "decimal_comma")
        assert Encoder.fit_encode(frame, schema)[1].rows.y[:2].tolist() == pytest.approx([0.05, 1.15])

    def test_tags_are_never_digits_alone(self):
        for separator in ",|;/ ":
            texts = [separator.join(map(str, RANDOM.integers(1, 9, 1 + i % 3))) for i in range(N)]
            assert verdict(texts).kind != "tags"


class TestWordsForMissing:
    @pytest.mark.parametrize("word", MISSING_WORDS)
    def test_all_known_words(self, word: str):
        field = verdict(["1.5", "2.5", word, " 3.5"] * (N // 4))
        assert (field.kind, "25% missing" in field.reason) == ("numeric", True)

    @pytest.mark.parametrize("word", ["unknown", "-", "n.a.", "missing", "--", "#ERR", "k.A.", "<not given>"])
    def test_one_odd_word_among_numbers_or_dates(self, word: str):
        numbers = [str(x) for x in RANDOM.uniform(0, 9, N).round(3)]
        numbers[5::10] = [word] * len(numbers[5::10])
        field = verdict(numbers)
        assert (field.kind, field.missing) == ("numeric", (word,)), field.reason
        assert f"10% missing (including {word!r})" in field.reason
        encoder = encoder_of(numbers)
        assert encoder.encode(pl.DataFrame({"x": [word]})).rows.ids.tolist() == [[1]]
        assert encoder.encode_one({"x": f" {word} "}).ids.tolist() == [[1]]
        dates = [f"2024-01-{1 + i % 28:02d}" for i in range(N)]
        dates[5::10] = [word] * len(dates[5::10])
        assert verdict(dates).kind == "datetime"

    def test_own_words_and_numbers(self):
        values = [-999.0, 1.5, 2.5, 3.5] * (N // 4)
        frame = pl.DataFrame({"x": values, "word": ["gone", "a", "b", "a"] * (N // 4)})
        encoder = Encoder.fit(frame, infer_schema(frame, missing=("-999", "gone")))
        assert encoder.encode(frame[:1]).rows.ids[0].tolist() == [1, 1 + int(encoder.field_offsets[1])]
        assert encoder.encode_one({"x": -999, "word": "gone"}).ids[0].tolist() == [1, 1 + int(encoder.field_offsets[1])]

    def test_several_words_stay_categories(self):
        words = ["1", "2", "low", "high", "medium", "none of them"] * 50
        assert verdict(words).kind == "categorical"
        assert verdict(["401", "402", "V27", "E11"] * 50).kind == "categorical"


MOMENTS = st.datetimes(datetime.datetime(1975, 1, 1), datetime.datetime(2065, 1, 1)).map(
    lambda m: m.replace(microsecond=0)
)
DATES = {
    "ymd": ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d %Y", "%a, %d %b %Y"),
    "dmy": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y"),
    "mdy": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y"),
}
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M:%S %p", " %H:%M:%S.000")
ZONES = {"": 0, "Z": 0, " UTC": 0, "+00:00": 0, "+0200": 2, " -05:00": -5, "+05": 5}


class TestTimes:
    @given(st.data(), MOMENTS)
    @settings(max_examples=300)
    def test_every_way_to_write_a_time(self, data: st.DataObject, moment: datetime.datetime):
        order = data.draw(st.sampled_from(sorted(DATES)))
        time = data.draw(st.sampled_from(TIMES))
        zone = data.draw(st.sampled_from(sorted(ZONES))) if time else ""
        text = moment.strftime(data.draw(st.sampled_from(DATES[order])) + time) + zone
        shown = (
            moment.replace(second=0)
            if time == " %H:%M"
            else moment
            if time
            else datetime.datetime.combine(moment, datetime.time())
        )
        assert parse_moment(text, order=order) == shown - datetime.timedelta(hours=ZONES[zone]), text

    @pytest.mark.parametrize(("order", "format"), [(order, format) for order in DATES for format in DATES[order]])
    @pytest.mark.parametrize("time", TIMES)
    def test_columns_are_recognised(self, order: str, format: str, time: str):
        start = datetime.datetime(2023, 1, 1, 5, 31)
        texts = [(start + datetime.timedelta(hours=37 * i)).strftime(format + time) for i in range(N)]
        field = verdict(texts)
        assert field.kind == "datetime", field.reason
        assert field.format == ("" if order == "ymd" else order)
        assert verdict(texts, overrides={"x": "datetime"}).format == field.format

    @pytest.mark.parametrize("written", ["yyyymmdd", "yymmddhh", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
    @pytest.mark.parametrize("as_text", [True, False])
    def test_compact_dates(self, written: str, as_text: bool):
        pattern = {"yyyymmdd": "%Y%m%d", "yymmddhh": "%y%m%d%H"}.get(written, written)
        start = datetime.datetime(2014, 10, 21)
        texts = [(start + datetime.timedelta(hours=7 * i)).strftime(pattern) for i in range(N)]
        values = texts if as_text else list(map(int, texts))
        field = verdict(values, "hour")
        assert field.kind == "datetime", field.reason
        assert field.format == ("yymmddhh" if written == "yymmddhh" else "yyyymmdd")
        encoder = encoder_of(values, overrides={"x": {"kind": "datetime", "parts": ["day", "weekday"]}})
        assert encoder.field_values("x.day")[2] in range(1, 32)
        assert encoder.encode(pl.DataFrame({"x": texts})).report.n_unseen == 0
        row = encoder.encode(pl.DataFrame({"x": values})).rows.ids[3]
        assert encoder.encode_one({"x": values[3]}).ids[0].tolist() == row.tolist()

    def test_a_zoned_frame_and_its_csv_are_the_same(self, tmp_path):
        start = datetime.datetime(2024, 3, 1)
        moments = pl.Series("ts", [start + datetime.timedelta(hours=5 * i) for i in range(N)])
        frame = pl.DataFrame({"ts": moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")})
        encoder = Encoder.fit(frame, infer_schema(frame, overrides={"ts": {"parts": ["hour", "weekday"]}}))
        again = from_csv(tmp_path, frame)
        assert encoder.encode(again).report.n_unseen == 0
        assert (encoder.encode(again).rows.ids == encoder.encode(frame).rows.ids).all()
        pandas = read_table(frame.to_pandas())
        assert (encoder.encode(pandas).rows.ids == encoder.encode(frame).rows.ids).all()
        row = frame["ts"].to_list()[9]
        assert encoder.encode_one({"ts": row}).ids[0].tolist() == encoder.encode(frame[9:10]).rows.ids[0].tolist()
        assert "Europe/Berlin" in infer_schema(frame).fields[0].reason

    def test_times_of_day_are_numbers(self):
        texts = [f"{i % 24:02d}:{i * 7 % 60:02d}" for i in range(N)]
        assert (verdict(texts).kind, verdict(texts).format) == ("numeric", "clock")
        assert seconds_text_of("05:31") == "19860.0"
        assert seconds_text_of("1:05 PM") == repr(13 * 3600 + 300.0)

    @pytest.mark.parametrize("kind", ["datetime", "numeric", "scaled", "log", "boolean"])
    def test_a_kind_that_does_not_fit_is_refused(self, kind: str):
        with pytest.raises(
            InputError, match=r"200 of 300 cannot be read so; the first \(row 2, column 'x', value 'p\d'\)"
        ):
            encoder_of(["1", "p1", "p2"] * 100, overrides={"x": kind})

    def test_a_guess_about_the_order_is_said(self):
        field = verdict([f"{1 + i % 12:02d}/{1 + i % 11:02d}/2024" for i in range(N)])
        assert "is a guess" in field.reason


class TestSeveralValuesInACell:
    TAGS = ("Drama", "Action", "Sci-Fi", "Film-Noir", "Comedy")

    def rows(self) -> list[list[str]]:
        return [list(RANDOM.permutation(self.TAGS)[: 1 + i % 4]) for i in range(N)]

    @pytest.mark.parametrize("separator", ["|", ";", ",", "/", " ", "+", "\t", ", ", " | "])
    def test_separators(self, separator: str):
        rows = self.rows()
        texts = [separator.join(row) for row in rows]
        asked = encoder_of(texts, overrides={"x": "tags"})
        assert set(asked.field_values("x")[2:]) == set(self.TAGS)
        found = verdict(texts)
        assert (found.kind, found.separator) == ("tags", separator.strip(" ") or " "), found.reason

    @pytest.mark.parametrize(
        "write",
        [
            str,
            json.dumps,
            lambda row: "{" + ",".join(row) + "}",
            lambda row: str(tuple(row)),
            lambda row: f"[{', '.join(row)}]",
        ],
    )
    def test_lists(self, write: Any):
        texts = [write([str(tag) for tag in row]) for row in self.rows()]
        assert verdict(texts).kind == "tags"
        encoder = encoder_of(texts)
        assert set(encoder.field_values("x")[2:]) == set(self.TAGS)
        one = encoder.encode_one({"x": texts[3]})
        assert one.ids.tolist() == encoder.encode(pl.DataFrame({"x": texts[3:4]})).rows.ids.tolist()

    @given(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool),
            max_size=5,
        )
    )
    def test_lists_that_python_and_json_wrote(self, items: list[str]):
        assert items_of(json.dumps(items, ensure_ascii=False)) == [item.replace("\\n", "n") for item in items]

    def test_without_a_separator_tags_are_refused(self):
        with pytest.raises(InputError, match=r"column 'x'.*categorical"):
            verdict(["a", "b"] * 50, overrides={"x": "tags"})

    def test_options_of_a_kind(self):
        assert settings_of_kind('tags:" "') == {"kind": "tags", "separator": " "}
        assert settings_of_kind("tags:::") == {"kind": "tags", "separator": "::"}
        assert settings_of_kind("datetime:hour,weekday") == {"kind": "datetime", "parts": ("hour", "weekday")}
        assert settings_of_kind("datetime:Asia/Tokyo") == {"kind": "datetime", "time_zone": "Asia/Tokyo"}
        assert settings_of_kind("numeric:8") == {"kind": "numeric", "n_bins": 8}
        assert {settings_of_kind(f"numeric:{format}")["format"] for format in FORMATS} == set(FORMATS)
        with pytest.raises(SettingError, match="option of a kind"):
            settings_of_kind("numeric:often")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 30),
    st.floats(),
    st.decimals(-1000, 1000, places=2),
    st.sampled_from([np.int64(3), np.float32(0.1), np.float64(2.5), np.bool_(True), np.datetime64("2024-01-05")]),
    st.sampled_from(["2024-01-05", "3", " 3 ",
 "3.0", "1e3", ".5", "5.", "+7", "1_000", "inf", "-inf", "NaN", "?", "x", "", "true", "0x1"]),
    st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    st.dates(datetime.date(1900, 1, 1), datetime.date(2200, 1, 1)),
    st.datetimes(timezones=st.just(datetime.timezone(datetime.timedelta(hours=3)))),
)  # fmt: skip
ENCODERS = {
    "int": encoder_of([1, 2, 3, 7, 10] * 20, overrides={"x": "categorical"}),
    "float": encoder_of([1.5, 2.5, 3.0, 0.1] * 20, overrides={"x": "categorical"}),
    "text": encoder_of(["3", "x", "2024-01-05", "true", "0.1"] * 20, overrides={"x": "categorical"}),
    "bool": encoder_of([True, False] * 20),
    "numeric": encoder_of([float(i) for i in range(100)], overrides={"x": "numeric"}),
    "scaled": encoder_of([float(i) for i in range(100)], overrides={"x": "scaled"}),
    "datetime": encoder_of([datetime.datetime(2024, 1, 1 + i % 28) for i in range(99)], overrides={"x": "datetime"}),
    "parts": encoder_of(
        [datetime.datetime(2024, 1 + i % 12, 1 + i % 28) for i in range(99)],
        overrides={"x": {"parts": ["month", "weekday"]}},
    ),
}


class TestOneValue:
    @pytest.mark.parametrize("name", ENCODERS)
    @given(VALUES)
    @settings(max_examples=300)
    def test_one_value_is_encoded_as_in_a_column(self, name: str, value: Any):
        encoder = ENCODERS[name]
        if isinstance(value, decimal.Decimal) or type(value) in (np.float32, np.datetime64):
            column = pl.Series("x", [float(str(value))] if not isinstance(value, np.datetime64) else [value.item()])
        elif isinstance(value, np.generic):
            column = pl.Series("x", [value.item()])
        else:
            try:
                column = pl.Series("x", [value], strict=True)
            except (OverflowError, TypeError, pl.exceptions.PolarsError):
                column = pl.Series("x", [str(value)])
        rows = encoder.encode(pl.DataFrame({"x": column})).rows
        one = encoder.encode_one({"x": value})
        assert one.ids.tolist() == rows.ids.tolist(), (value, column)
        if rows.values is not None:
            assert one.values == pytest.approx(rows.values, rel=1e-5)
