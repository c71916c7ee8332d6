"""What a field does to raw values before they are encoded: words for missing, and other ways to write a number, a time
or a list.

`Cleaner.column` and `Cleaner.value` do the same to a column and to one value. Text is handled value by value, by one
Python function for both, and only once for each distinct value of a column.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from anyfm.data.moments import date_of_digits, iso_text, local_time, parse_moment
from anyfm.data.schema import DATE_FORMATS, Field
from anyfm.data.values import WHITESPACE, as_basic, evaluate, is_list, is_text

_GROUPED = {
    "decimal_comma": re.compile(r"[+-]?(?:\d{1,3}(?:[. '’\u00a0\u202f]\d{3})+|\d+)?(?:,\d*)?(?:[eE][+-]?\d+)?"),
    "thousands_comma": re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?(?:[eE][+-]?\d+)?"),
}
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:[.,]\d+)?))?(?:\s*([AaPp])\.?[Mm]\.?)?")
_DIGITS = re.compile(r"\d+")
_LIST = re.compile(r"[\[({].*[\])}]", re.DOTALL)
_ITEM = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"]+))\s*(?:,|$)""", re.DOTALL)


def number_text_of(text: str, format: str) -> str | None:
    """A number with commas as one with a decimal point, "1.281,87" as "1281.87"; None for other text."""
    text = text.strip(WHITESPACE)
    if not _GROUPED[format].fullmatch(text) or not any(c.isdigit() for c in text):
        return None
    if format == "thousands_comma":
        return text.replace(",", "")
    return re.sub(r"[. '’\u00a0\u202f]", "", text).replace(",", ".")


def seconds_text_of(text: str) -> str | None:
    """A time of day or a duration, "05:31", as text of its seconds; None for other text."""
    found = _CLOCK.fullmatch(text.strip(WHITESPACE))
    if found is None:
        return None
    hours, minutes, seconds, half = found.groups()
    hour = int(hours) % 12 + 12 * (half in "Pp") if half else int(hours)
    return repr(hour * 3600 + int(minutes) * 60 + float((seconds or "0").replace(",", ".")))


def items_of(text: str) -> list[str] | None:
    """The items of a list as Python, JSON or PostgreSQL write it; None for other text."""
    text = text.strip(WHITESPACE)
    if not _LIST.fullmatch(text):
        return None
    inner = text[1:-1].strip(WHITESPACE)
    found = [single or double or plain for single, double, plain in _ITEM.findall(inner)]
    return [re.sub(r"\\(.)", r"\1", item).strip(WHITESPACE) for item in found]


@dataclass(frozen=True)
class Cleaner:
    """Prepares the raw values of one field for its encoder.

    Parameters
    ----------
    format : str
        One of `anyfm.data.schema.FORMATS`, or empty.
    missing : tuple of str
        Words that count as missing; those that are numbers also stand for the numbers.
    time_zone : str, optional
        Where the time of day of times with a zone is taken; UTC by default.
    """

    format: str = ""
    missing: tuple[str, ...] = ()
    time_zone: str | None = None

    @classmethod
    def of(cls, field: Field) -> Cleaner | None:
        """The cleaner of a field, None for a field that takes raw values as they are."""
        if not (field.format or field.missing or field.time_zone):
            return None
        return cls(field.format, field.missing, field.time_zone)

    @cached_property
    def _numbers(self) -> frozenset[float]:
        return frozenset(number for word in self.missing if math.isfinite(number := _number(word)))

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(self.missing)

    @cached_property
    def _zone(self) -> ZoneInfo | None:
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    @cached_property
    def _text(self) -> Callable[[str], Any] | None:
        """What becomes of text; None from it leaves the text as it is."""
        if self.format in ("decimal_comma", "thousands_comma"):
            return lambda text: number_text_of(text, self.format)
        if self.format == "clock":
            return seconds_text_of
        if self.format == "list":
            return items_of
        if self.format in ("yyyymmdd", "yymmddhh", "yyyymm"):
            return lambda text: iso_text(date_of_digits(text, self.format) or parse_moment(text, zone=self._zone))
        if self.format in DATE_FORMATS or self.time_zone is not None:
            order = self.format or "ymd"
            return lambda text: iso_text(parse_moment(text, order=order, zone=self._zone))
        return None

    def value(self, value: Any) -> Any:
        """One raw value, cleaned."""
        kind = type(value)
        if self.missing and self._is_missing(value):
            return None
        if self.format in DATE_FORMATS and kind is int:
            return date_of_digits(str(value), self.format) or value
        if kind is str and self._text is not None:
            found = self._text(value)
            if found is None:
                return [value] if self.format == "list" and value else value
            return found
        if self._zone is not None and isinstance(value, datetime.datetime):
            return local_time(value, self._zone)
        return value

    def _is_missing(self, value: Any) -> bool:
        if isinstance(value, str):
            return value.strip(WHITESPACE) in self._words
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value in self._numbers

    def column(self, series: pl.Series) -> pl.Series:
        """A raw column, cleaned; of the type of `series`, text, datetimes or lists of text."""
        zone = getattr(series.dtype, "time_zone", None)
        if zone is not None and self.time_zone is not None:
            series = evaluate(series, pl.col("x").dt.convert_time_zone(self.time_zone).dt.replace_time_zone(None))
        series = self._without_missing(as_basic(series) if series.dtype != pl.Object else series)
        if series.dtype == pl.Int64 and self.format in DATE_FORMATS:
            series = series.cast(pl.String)
        if not is_text(series) or self._text is None:
            return series
        distinct = series.unique()
        texts = distinct.to_list()
        if self.format == "list":
            cleaned: list[Any] = [None if text is None else _items(text) for text in texts]
            table = pl.DataFrame({"x": distinct, "y": pl.Series(cleaned, dtype=pl.List(pl.String))})
        else:
            cleaned = [None if text is None else self._text(text) or text for text in texts]
            table = pl.DataFrame({"x": distinct, "y": pl.Series(cleaned, dtype=pl.String)})
        joined = pl.DataFrame({"x": series}).join(table, on="x", how="left", maintain_order="left", nulls_equal=True)
        return joined["y"].rename(series.name)

    def _without_missing(self, series: pl.Series) -> pl.Series:
        if not self.missing:
            return series
        x = pl.col("x")
        if is_text(series):
            return evaluate(series, pl.when(~x.str.strip_chars(WHITESPACE).is_in(list(self._words))).then(x))
        if series.dtype in (pl.Int64, pl.Float64) and self._numbers:
            return evaluate(series, pl.when(~x.cast(pl.Float64).is_in(list(self._numbers))).then(x))
        if is_list(series) and series.dtype.inner == pl.String:  # type: ignore[attr-defined]
            element = pl.element()
            words = list(self._words)
            return evaluate(
                series, x.list.eval(pl.when(~element.str.strip_chars(WHITESPACE).is_in(words)).then(element))
            )
        return series


def _items(text: str) -> list[str]:
    found = items_of(text)
    return ([text] if text.strip(WHITESPACE) else []) if found is None else found


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
