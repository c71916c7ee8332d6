"""What a raw value means: missing, number or key. One place, so that every coder and both speeds agree.

Three rules hold everywhere:

- Missing is null, NaN, and in text the markers of `MISSING_MARKERS`, compared after stripping blanks.
- Text is compared after stripping surrounding blanks, tabs and line ends.
- Numbers are the same when their values are: 3, 3.0 and "3" meet in a field that was fitted on numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.errors import InputError, located

MISSING_MARKERS = ("", "NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "Null", "null", "?")
"""Text taken for a missing value. It becomes the feature <missing>, so nothing is lost by it."""

BLANKS = " \t\r\n"
EXACT = 2.0**53
"""Whole floats below this are exact integers."""

KEY_TYPES: dict[str, pl.DataType] = {"int": pl.Int64(), "float": pl.Float64(), "text": pl.String(), "bool": pl.Int64()}
BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1", "1.0"), 1),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", "0.0"), 0),
}


def is_text(series: pl.Series) -> bool:
    return series.dtype == pl.String


def is_moment(series: pl.Series) -> bool:
    """Whether the series holds dates or datetimes."""
    return series.dtype == pl.Date or series.dtype.base_type() == pl.Datetime


def is_list(series: pl.Series) -> bool:
    return series.dtype.base_type() in (pl.List, pl.Array)


def plain(series: pl.Series) -> pl.Series:
    """The series in one of the few types the coders know: Boolean, Int64, Float64, String, Date, Datetime, List.

    Raises
    ------
    InputError
        The column holds structures, bytes or Python objects.
    """
    kind = series.dtype
    if kind in (pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.Date) or is_list(series):
        return series
    if kind == pl.Null:
        return series.cast(pl.String)
    if kind == pl.Float32:  # 0.1f is meant as 0.1, so it goes through its shortest decimal text
        return series.cast(pl.String).cast(pl.Float64)
    if kind.is_integer():
        whole = series.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == series.null_count() else series.cast(pl.String)
    if kind.is_decimal():
        return series.cast(pl.Float64)
    if kind.base_type() in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if kind.base_type() == pl.Datetime:
        return _utc(series).cast(pl.Datetime("us"))
    if kind == pl.Time:
        return series.cast(pl.Int64).cast(pl.Float64) / 1e9
    if kind.base_type() == pl.Duration:
        return series.cast(pl.Duration("us")).cast(pl.Int64).cast(pl.Float64) / 1e6
    raise InputError(
        located(
            f"a column must hold numbers, text, booleans, dates or lists of them, however its type is {kind}",
            column=series.name,
            remedy='Turn it into text or numbers, or leave it out (kind = "ignore").',
        )
    )


def _utc(series: pl.Series) -> pl.Series:
    zone = getattr(series.dtype, "time_zone", None)
    return series if zone is None else series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def missing_mask(series: pl.Series) -> NDArray[np.bool_]:
    """Where a `plain` series is missing, bool of shape (n_rows,)."""
    mask = series.is_null()
    if series.dtype == pl.Float64:
        mask = mask | series.is_nan().fill_null(False)
    elif series.dtype == pl.String:
        mask = mask | series.str.strip_chars(BLANKS).is_in(list(MISSING_MARKERS)).fill_null(False)
    return mask.to_numpy()


def numbers(series: pl.Series) -> NDArray[np.float64]:
    """The numbers of a `plain` series, float64 of shape (n_rows,); NaN where there is none to read.

    Booleans are 0 and 1; dates and datetimes are seconds since 1970 (UTC).
    """
    if series.dtype == pl.String:
        series = series.str.strip_chars(BLANKS).cast(pl.Float64, strict=False)
    elif series.dtype == pl.Date:
        series = series.cast(pl.Int64) * 86_400
    elif series.dtype.base_type() == pl.Datetime:
        series = series.cast(pl.Int64).cast(pl.Float64) / 1e6
    elif is_list(series):
        return np.full(len(series), np.nan)
    return series.cast(pl.Float64).to_numpy()


def keys(series: pl.Series, key: str) -> pl.Series:
    """A `plain` series as keys of one type ("int", "float", "text" or "bool"); null where there is no such key."""
    if is_list(series):
        return pl.Series(series.name, [None] * len(series), KEY_TYPES[key])
    if key == "text":
        return as_text(series)
    if key == "bool":
        return _as_bool(series)
    if is_moment(series):
        return pl.Series(series.name, [None] * len(series), KEY_TYPES[key])
    if key == "float":
        return (
            series.cast(pl.Float64) if series.dtype != pl.String else _stripped(series).cast(pl.Float64, strict=False)
        )
    return _as_int(series)


def as_text(series: pl.Series) -> pl.Series:
    """Text of a `plain` series: whole numbers without a decimal point, booleans as true and false, ISO moments."""
    kind = series.dtype
    if kind == pl.String:
        return _stripped(series)
    if kind == pl.Float64:
        whole = whole_numbers(series)
        text = series.fill_nan(None).cast(pl.String)
        return text if whole.null_count() == len(whole) else whole.cast(pl.String).zip_with(whole.is_not_null(), text)
    if kind.base_type() == pl.Datetime:
        return _utc(series).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    if kind == pl.Date:
        return series.dt.strftime("%Y-%m-%d")
    return series.cast(pl.String)


def whole_numbers(series: pl.Series) -> pl.Series:
    """Floats that are exact integers as Int64, the others null."""
    frame = pl.DataFrame({"x": series})
    x = pl.col("x")
    exact = x.is_finite() & (x.abs() < EXACT) & (x == x.round(0))
    return frame.select(pl.when(exact).then(x).otherwise(None).cast(pl.Int64, strict=False))["x"]


def _stripped(series: pl.Series) -> pl.Series:
    return series.str.strip_chars(BLANKS)


def _as_int(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        text = _stripped(series)
        whole = text.cast(pl.Int64, strict=False)
        if whole.null_count() == text.null_count():
            return whole
        return whole.zip_with(whole.is_not_null(), whole_numbers(text.cast(pl.Float64, strict=False)))
    return whole_numbers(series) if series.dtype == pl.Float64 else series.cast(pl.Int64)


def _as_bool(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        text = _stripped(series).str.to_lowercase()
        known = text.is_in(list(BOOLEAN_WORDS)).fill_null(False)
        truth = text.is_in([word for word, truth in BOOLEAN_WORDS.items() if truth])
        return truth.cast(pl.Int64).zip_with(known, pl.Series([None], dtype=pl.Int64).new_from_index(0, len(text)))
    whole = _as_int(series) if not is_moment(series) else pl.Series([None] * len(series), dtype=pl.Int64)
    return pl.DataFrame({"x": whole}).select(pl.when(pl.col("x").is_in([0, 1])).then(pl.col("x")))["x"]


def one(value: Any) -> pl.Series:
    """A series of one raw Python value, for the rare values that the fast path does not know."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        value = [item for item in value if item is not None]
        value = value if len({type(item) for item in value}) <= 1 else [str(item) for item in value]
        return pl.Series("value", [value] if value else [None], strict=False)
    try:
        return plain(pl.Series("value", [value]))
    except (OverflowError, pl.exceptions.PolarsError):  # an integer beyond every integer type
        return pl.Series("value", [str(value)])


def number_text(x: float) -> str:
    """A number as people write it: 17 rather than 17.0, and as many digits as it takes to be exact."""
    return str(int(x)) if math.isfinite(x) and x == int(x) and abs(x) < EXACT else repr(float(x))
