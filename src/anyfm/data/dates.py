"""Dates and times: a moment as seconds since 1970 (UTC), and its parts (hour, weekday, …) as fields of their own."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.data.coder import MISSING, UNSEEN, Coded, Coder
from anyfm.data.values import BLANKS, is_moment, is_text, missing_mask, number_text, numbers, on, one, plain
from anyfm.data.vocabulary import Vocabulary

PARTS = ("year", "quarter", "month", "week", "day", "weekday", "hour", "minute")
"""Parts of a moment. Weekdays count from 1, Monday; weeks are ISO weeks."""

EPOCH_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


class Clock:
    """How a column becomes numbers, and numbers become text again.

    Parameters
    ----------
    unit : {"", "s", "ms", "us", "ns"}
        "" for plain numbers; otherwise the column holds moments, and where it holds integers, they count this unit
        since 1970. Moments become seconds.
    """

    def __init__(self, unit: str = "") -> None:
        if unit and unit not in EPOCH_UNITS:
            raise SettingError(got("the unit of a clock must be s, ms, us or ns", unit=unit))
        self.unit = unit
        self.is_plain = unit == ""

    def numbers(self, series: pl.Series) -> NDArray[np.float64]:
        """The column as numbers, float64 of shape (n_rows,); NaN where there is none to read."""
        series = plain(series)
        if self.is_plain or is_moment(series):
            return numbers(series)
        if is_text(series):
            moments = read_moments(series)
            if moments.null_count() < len(moments):
                seconds = numbers(moments)
                return np.where(np.isnan(seconds), numbers(series) / EPOCH_UNITS[self.unit], seconds)
        return numbers(series) / EPOCH_UNITS[self.unit]

    def moments(self, series: pl.Series) -> pl.Series:
        """The column as datetimes in UTC; null where there is none to read."""
        seconds = self.numbers(series)
        readable = np.abs(seconds) < 2.5e11  # years -5952 … 9892
        micros = pl.Series(series.name, np.where(readable, seconds * 1e6, 0).round().astype(np.int64))
        valid = pl.Series(readable)
        return pl.DataFrame({"x": micros, "valid": valid}).select(
            pl.when("valid").then(pl.col("x").cast(pl.Datetime("us")))
        )["x"]

    def text(self, number: float) -> str:
        if self.is_plain:
            return number_text(number)
        if abs(number) > 6e10:
            return number_text(number)
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=number)
        is_day = moment.time() == datetime.time(0)
        return moment.date().isoformat() if is_day else moment.isoformat(timespec="seconds")


numeric_clock = Clock()


def read_moments(series: pl.Series) -> pl.Series:
    """Text in ISO 8601 as datetimes in UTC, null where it is none: 2024-01-31, 2024-01-31 12:30:00, …T12:30:00Z."""
    text = pl.col("x").str.strip_chars(BLANKS)
    bare = text.str.replace(r"(Z|\+00:?00)$", "")
    attempts = [bare.str.to_datetime(form, strict=False, time_unit="us", exact=True) for form in FORMATS]
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    attempts.append(zoned.dt.replace_time_zone(None))
    return pl.DataFrame({"x": series}).select(pl.coalesce(attempts).alias("x"))["x"]


def unit_of(series: pl.Series) -> str:
    """The unit in which whole numbers most plausibly count since 1970: that which puts their median in 1980–2100."""
    present = np.abs(numbers(series)[~missing_mask(series)])
    middle = float(np.nanmedian(present)) if len(present) and not np.isnan(present).all() else 0.0
    for unit, size in EPOCH_UNITS.items():
        if 3.1e8 * size <= middle <= 4.1e9 * size:
            return unit
    return "s"


class Part(Coder):
    """One part of a moment, as a vocabulary of whole numbers."""

    type = "part"

    def __init__(self, part: str, clock: Clock, vocabulary: Vocabulary) -> None:
        self.part = part
        self.clock = clock
        self.vocabulary = vocabulary
        self.counts = vocabulary.counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, part: str, clock: Clock, min_count: int = 1, weight: pl.Series | None = None
    ) -> tuple[Part, Coded]:
        whole, unreadable = _part(series, part, clock)
        vocabulary, coded = Vocabulary.fit(whole, min_count=min_count, weight=weight, key="int")
        ids = coded.ids.copy()
        ids[unreadable] = UNSEEN
        mass = None if weight is None else weight.to_numpy()
        vocabulary.counts = np.bincount(ids, weights=mass, minlength=vocabulary.n_features).astype(np.float64)
        return cls(part, clock, vocabulary), Coded(ids)

    def encode(self, series: pl.Series) -> Coded:
        whole, unreadable = _part(series, self.part, self.clock)
        ids = self.vocabulary.encode(whole).ids.copy()
        ids[unreadable] = UNSEEN
        return Coded(ids)

    def encode_one(self, value: Any) -> int:
        if type(value) is datetime.datetime and value.tzinfo is None:
            return self.vocabulary.encode_one(_part_of(value, self.part))
        return MISSING if value is None else int(self.encode(one(value)).ids[0])

    def labels(self) -> list[Any]:
        return self.vocabulary.labels()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "part": self.part, "clock": self.clock.unit}

    @classmethod
    def from_parts(cls, parts: dict[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> Part:
        vocabulary = Vocabulary.from_parts({"key": "int"}, texts, counts)
        return cls(parts["part"], Clock(parts["clock"]), vocabulary)

    def texts(self) -> pl.Series:
        return self.vocabulary.texts()


def _part(series: pl.Series, part: str, clock: Clock) -> tuple[pl.Series, NDArray[np.bool_]]:
    """The part as whole numbers (null where missing), and where there was something that is no moment."""
    moments = clock.moments(series)
    whole = on(moments, getattr(pl.col("x").dt, part)().cast(pl.Int64))
    return whole, moments.is_null().to_numpy() & ~missing_mask(plain(series))


def _part_of(moment: datetime.datetime, part: str) -> int:
    if part == "week":
        return moment.isocalendar()[1]
    if part == "weekday":
        return moment.isoweekday()
    if part == "quarter":
        return (moment.month + 2) // 3
    return int(getattr(moment, part))
