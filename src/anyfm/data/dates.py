"""Dates and times: as seconds since 1970 (UTC), and their parts (hour, weekday, …) as separate fields.

A `unit` says how a column becomes numbers: "" for plain numbers; "s", "ms", "us" or "ns" for a column of dates and
times, whose whole numbers, if it has any, count that unit since 1970. Dates and times become seconds.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.data.categorical import CategoricalEncoder
from anyfm.data.field_encoder import MISSING, UNSEEN, EncodedColumn, FieldEncoder, weighted_counts
from anyfm.data.messages import check_choice
from anyfm.data.moments import local_time, parse_moment
from anyfm.data.schema import DATE_PARTS
from anyfm.data.values import (
    MISSING_WORDS,
    WHITESPACE,
    as_basic,
    as_numbers,
    evaluate,
    is_datetime,
    is_text,
    may_be_number,
    missing_mask,
    number_in,
    number_text,
    series_of,
)

EPOCH_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")
"""Read fast; `anyfm.data.moments` reads them too, and others."""
EARLIEST_SECOND, LATEST_SECOND = 3.1e8, 4.1e9  # of the years 1980 to 2100


_MISSING = frozenset(MISSING_WORDS)
_FIRST_SECOND, _END_SECOND = -62_135_596_800, 253_402_300_800  # of the years 1 to 9999, those of `datetime`
_EPOCH, _SECOND = datetime.datetime(1970, 1, 1), datetime.timedelta(seconds=1)


def check_unit(unit: str) -> str:
    check_choice("unit", unit, ("", *EPOCH_UNITS))
    return unit


def numbers_of(series: pl.Series, unit: str) -> NDArray[np.float64]:
    """A raw column as numbers, float64 of shape (n_rows,); NaN where a value is neither a number nor a date."""
    series = as_basic(series)
    numbers = as_numbers(series)
    if not unit or is_datetime(series):
        return numbers
    numbers = numbers / EPOCH_UNITS[unit]
    if is_text(series):
        seconds = as_numbers(read_datetimes(series))
        numbers = np.where(np.isnan(seconds), numbers, seconds)
    return numbers


def number_of(value: Any, unit: str) -> float | None:
    """One value as the number that `numbers_of` makes of it, NaN for what is none; None for values to look up there."""
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        if value != value:
            return None  # missing
        try:
            return float(value) / EPOCH_UNITS[unit] if unit else float(value)
        except OverflowError:
            return None
    if kind is str:
        number = number_in(value)
        if number is not None:
            return float(number) / EPOCH_UNITS[unit] if unit else float(number)
        if value.strip(WHITESPACE) in _MISSING or may_be_number(value):
            return None
        moment = parse_moment(value) if unit else None
        return np.nan if moment is None else seconds_of(moment)
    moment = moment_of(value)
    return None if moment is None else seconds_of(moment)


def moment_of(value: Any) -> datetime.datetime | None:
    """A datetime, a date or text of one as a datetime in UTC; None for any other value."""
    if isinstance(value, datetime.datetime):
        return local_time(value, None) if value == value else None  # NaT of pandas is a datetime too
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    return parse_moment(value) if isinstance(value, str) else None


def seconds_of(moment: datetime.datetime) -> float:
    """Seconds since 1970."""
    return (moment - _EPOCH) / _SECOND


def datetimes_of(series: pl.Series, unit: str) -> pl.Series:
    """A raw column as datetimes in UTC; null where a value is not one."""
    seconds = numbers_of(series, unit)
    readable = (seconds >= _FIRST_SECOND) & (seconds < _END_SECOND)
    datetimes = (np.where(readable, seconds, 0) * 1e6).round().astype(np.int64).astype("datetime64[us]")
    datetimes[~readable] = np.datetime64("NaT")
    return pl.Series(series.name, datetimes)


def number_label(number: float, unit: str) -> str:
    """A number as text; an ISO date or datetime where numbers are seconds since 1970."""
    if not unit or abs(number) > 6e10:
        return number_text(number)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=number)
    return moment.date().isoformat() if moment.time() == datetime.time(0) else moment.isoformat(timespec="seconds")


def read_datetimes(series: pl.Series) -> pl.Series:
    """Text that `anyfm.data.moments` can read as datetimes in UTC, null for other text."""
    text = pl.col("x").str.strip_chars(WHITESPACE)
    attempts = [text.str.to_datetime(format, strict=False, time_unit="us", exact=True) for format in FORMATS]
    fast = evaluate(series, pl.coalesce(*attempts))
    rest = (fast.is_null() & series.is_not_null()).arg_true()
    if len(rest) == 0:
        return fast
    distinct = series.gather(rest).unique()
    read = pl.Series("y", [parse_moment(value) for value in distinct.to_list()], pl.Datetime("us"))
    found = pl.DataFrame({"x": series.gather(rest)}).join(
        pl.DataFrame({"x": distinct, "y": read}), on="x", how="left", maintain_order="left"
    )
    return fast.scatter(rest, found["y"])


def epoch_unit(series: pl.Series) -> str:
    """The unit in which whole numbers most plausibly count since 1970: it puts their median in 1980–2100."""
    present = np.abs(as_numbers(series)[~missing_mask(series)])
    median = float(np.nanmedian(present)) if len(present) and not np.isnan(present).all() else 0.0
    fitting = (unit for unit, size in EPOCH_UNITS.items() if EARLIEST_SECOND * size <= median <= LATEST_SECOND * size)
    return next(fitting, "s")


class DatePartEncoder(FieldEncoder):
    """Encodes one part of a datetime, such as its hour, as a category.

    Parameters
    ----------
    part : str
        One of `anyfm.data.schema.DATE_PARTS`. Weekdays count from 1, Monday; weeks are ISO weeks.
    unit : str
    categories : CategoricalEncoder
        Of the part's whole numbers.
    """

    type = "part"

    def __init__(self, part: str, unit: str, categories: CategoricalEncoder) -> None:
        self.part = part
        self.unit = check_unit(unit)
        self.categories = categories
        self.counts = categories.counts

    @classmethod
    def fit(
        cls, series: pl.Series, *, part: str, unit: str, min_count: int = 1, weight: pl.Series | None = None
    ) -> tuple[DatePartEncoder, EncodedColumn]:
        """Learn the values of the part and encode the column."""
        numbers, unreadable = _part(series, part, unit)
        categories, encoded = CategoricalEncoder.fit(numbers, min_count=min_count, weight=weight, key_type="int")
        ids = np.where(unreadable, np.int32(UNSEEN), encoded.ids)
        categories.counts = weighted_counts(ids, categories.n_features, None if weight is None else weight.to_numpy())
        return cls(part, unit, categories), EncodedColumn(ids)

    def encode(self, series: pl.Series) -> EncodedColumn:
        numbers, unreadable = _part(series, self.part, self.unit)
        return EncodedColumn(np.where(unreadable, np.int32(UNSEEN), self.categories.encode(numbers).ids))

    @property
    def value_type(self) -> str:
        return "time"

    def encode_one(self, value: Any) -> int:
        moment = moment_of(value) or _moment_of_number(value, self.unit)
        if moment is not None:
            return self.categories.encode_one(_part_of(moment, self.part))
        if type(value) is str and value.strip(WHITESPACE) not in _MISSING and not _may_be_epoch(value):
            return UNSEEN
        return MISSING if value is None else int(self.encode(series_of(value)).ids[0])

    def labels(self) -> list[Any]:
        return self.categories.labels()

    def texts(self) -> pl.Series:
        return self.categories.texts()

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "part": self.part, "unit": self.unit}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], texts: pl.Series, counts: NDArray[np.float64]) -> DatePartEncoder:
        check_choice("part", saved["part"], DATE_PARTS)
        return cls(saved["part"], saved["unit"], CategoricalEncoder.from_dict({"key_type": "int"}, texts, counts))


def _part(series: pl.Series, part: str, unit: str) -> tuple[pl.Series, NDArray[np.bool_]]:
    """The part as whole numbers (null where missing), and where a value is present but no datetime."""
    datetimes = datetimes_of(series, unit)
    numbers = getattr(datetimes.dt, part)().cast(pl.Int64)
    return numbers, datetimes.is_null().to_numpy() & ~missing_mask(as_basic(series))


def _may_be_epoch(text: str) -> bool:
    return number_in(text) is not None or may_be_number(text)


def _moment_of_number(value: Any, unit: str) -> datetime.datetime | None:
    seconds = None if isinstance(value, (list, tuple)) else number_of(value, unit)
    if seconds is None or not -6e10 < seconds < 2.5e11:
        return None
    return _EPOCH + datetime.timedelta(microseconds=round(seconds * 1e6))


def _part_of(moment: datetime.datetime, part: str) -> int:
    if part == "week":
        return moment.isocalendar().week
    if part == "weekday":
        return moment.isoweekday()
    if part == "quarter":
        return (moment.month + 2) // 3
    return int(getattr(moment, part))
