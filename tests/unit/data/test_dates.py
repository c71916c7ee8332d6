"""Dates and times become bins or parts, whatever the type of their column."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.data import Encoder, infer_schema
from anyfm.data.dates import DatePartEncoder, epoch_unit, numbers_of, read_datetimes
from anyfm.data.schema import DATE_PARTS

NOON = datetime.datetime(2024, 1, 31, 12, 30)  # a Wednesday
SECONDS = 1_706_704_200


def fitted(values: Any, **settings: Any) -> Encoder:
    frame = pl.DataFrame({"ts": values})
    return Encoder.fit(frame, infer_schema(frame, overrides={"ts": settings}, min_count=1))


class TestParts:
    @pytest.mark.parametrize(
        "values",
        [
            [NOON, NOON],
            ["2024-01-31 12:30:00"] * 2,
            ["2024-01-31T12:30:00Z", "2024-01-31T14:30:00+02:00"],
            ["2024-01-31 12:30"] * 2,
            [SECONDS, SECONDS],
            [SECONDS * 1000] * 2,
            [float(SECONDS)] * 2,
        ],
    )
    def test_parts_are_fields_named_after_the_column(self, values: Any):
        encoder = fitted(values, parts=list(DATE_PARTS))
        assert encoder.field_names == [f"ts.{part}" for part in DATE_PARTS]
        assert [encoder.field_values(f)[2] for f in encoder.field_names] == [2024, 1, 1, 5, 31, 3, 12, 30]
        assert encoder.columns == ["ts"]

    @given(st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)))
    def test_one_python_datetime_is_encoded_as_in_a_column(self, moment: datetime.datetime):
        for part in DATE_PARTS:
            coder, coded = DatePartEncoder.fit(pl.Series("ts", [moment]), part=part, unit="s")
            assert coder.encode_one(moment) == coded.ids[0] == 2

    def test_null_is_missing_and_other_text_is_unseen(self):
        encoder = fitted(["2024-01-31", "2024-02-01", None], parts=["month"])
        frame = pl.DataFrame({"ts": ["2024-01-01", None, "soon", "2024-03-01"]})
        values = [encoder.feature(i)[1] for i in encoder.encode(frame).rows.ids[:, 0]]
        assert values == [1, "<missing>", "<unseen>", "<unseen>"]
        ones = [encoder.encode_one({"ts": ts}).ids[0, 0] for ts in frame["ts"]]
        assert ones == encoder.encode(frame).rows.ids[:, 0].tolist()

    def test_dates_and_datetimes_are_encoded_alike(self):
        encoder = fitted([datetime.date(2024, 1, 31), datetime.date(2024, 2, 1)], parts=["day"])
        assert encoder.encode_one({"ts": NOON}).ids.tolist() == encoder.encode_one({"ts": "2024-01-31"}).ids.tolist()

    def test_hours_are_those_of_the_zone_of_the_column(self):
        zoned = pl.Series([NOON, NOON]).dt.replace_time_zone("America/New_York")
        assert fitted(zoned, parts=["hour"]).field_values("ts.hour")[2:] == [12]
        assert fitted(zoned, parts=["hour"], time_zone="UTC").field_values("ts.hour")[2:] == [17]


class TestBinsOfTimes:
    def test_labels_are_dates(self):
        encoder = fitted([datetime.date(2024, 1, d) for d in range(1, 5)], kind="datetime", n_bins=4)
        assert encoder.field_values("ts") == [
            "<unseen>",
            "<missing>",
            "< 2024-01-02",
            "[2024-01-02, 2024-01-03)",
            "[2024-01-03, 2024-01-04)",
            "≥ 2024-01-04",
        ]

    def test_text_seconds_and_datetimes_are_encoded_alike(self):
        encoder = fitted([SECONDS + 86_400 * d for d in range(10)], kind="datetime", n_bins=10)
        for value in (SECONDS, str(SECONDS), NOON, "2024-01-31 12:30:00"):
            assert encoder.encode(pl.DataFrame({"ts": [value]})).rows.ids.tolist() == [[2]]
            assert encoder.encode_one({"ts": value}).ids.tolist() == [[2]]


class TestReading:
    def test_iso_8601_is_read(self):
        text = [
            "2024-01-31",
            "2024-01-31 12:30",
            "2024-01-31T12:30:00",
            " 2024-01-31 12:30:00.000 ",
            "2024-01-31T12:30:00Z",
        ]
        moments = read_datetimes(pl.Series(text)).to_list()
        assert moments == [datetime.datetime(2024, 1, 31), NOON, NOON, NOON, NOON]

    def test_other_text_is_null(self):
        text = ["31.01.2024", "2024-13-01", "soon", "2024", "", None, "2024-02-30"]
        assert read_datetimes(pl.Series(text)).null_count() == len(text)

    @pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns")])
    def test_the_unit_of_whole_numbers_is_found(self, factor: float, unit: str):
        assert epoch_unit(pl.Series([int(SECONDS * factor)])) == unit


def test_seconds_do_not_depend_on_the_number_of_rows():
    """Division in polars differs by an ulp between one row and many."""
    moments = pl.Series([datetime.datetime(1961, 1, 1) + datetime.timedelta(microseconds=578 * i) for i in range(1000)])
    for series in (moments, moments - NOON, (moments - NOON).cast(pl.Duration("ns")), moments.dt.time()):
        whole = numbers_of(series, "")
        alone = [numbers_of(series[i : i + 1], "")[0] for i in range(len(series))]
        assert whole.tolist() == alone
