"""What a raw value means: missing, number or key. One place, so that every coder and both speeds agree.

Three rules hold everywhere:

- Missing is null, NaN, and in text the markers of `MISSING_MARKERS`, compared after stripping blanks.
- Text is compared after stripping surrounding blanks, tabs and line ends.
- Numbers are the same when their values are: 3, 3.0 and "3" meet in a field that was fitted on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, located

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
    x = pl.col("x")
    if kind.is_integer():
        whole = on(series, x.cast(pl.Int64, strict=False))
        return whole if whole.null_count() == series.null_count() else on(series, x.cast(pl.String))
    conversion = _CONVERSIONS.get(kind.base_type())
    if conversion is None:
        raise InputError(
            located(
                f"a column must hold numbers, text, booleans, dates or lists of them, but its type is {kind}",
                column=series.name,
                remedy='Turn it into text or numbers, or leave it out (kind = "ignore").',
            )
        )
    if getattr(kind, "time_zone", None) is not None:
        x = x.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    converted = on(series, conversion(x))
    if kind in (pl.Time, pl.Duration):
        return pl.Series(series.name, _divided(converted, 1e6), nan_to_null=True)
    return converted


def _divided(whole: pl.Series, divisor: float) -> NDArray[np.float64]:
    """Whole numbers divided, NaN where null. By numpy: polars' quotient depends on the number of rows by one ulp."""
    return whole.to_numpy().astype(np.float64) / divisor


def on(series: pl.Series, expression: pl.Expr) -> pl.Series:
    """The value of an expression of ``pl.col("x")`` where x is the series; it keeps the series' name."""
    return pl.DataFrame({"x": series}).select(expression.alias("x"))["x"].rename(series.name)


_CONVERSIONS: dict[Any, Callable[[pl.Expr], pl.Expr]] = {
    pl.Null: lambda x: x.cast(pl.String),
    pl.Float32: lambda x: x.cast(pl.String).cast(pl.Float64),  # 0.1f is meant as 0.1: through its shortest text
    pl.Decimal: lambda x: x.cast(pl.Float64),
    pl.Categorical: lambda x: x.cast(pl.String),
    pl.Enum: lambda x: x.cast(pl.String),
    pl.Datetime: lambda x: x.cast(pl.Datetime("us")),
    pl.Time: lambda x: x.cast(pl.Int64) // 1000,
    pl.Duration: lambda x: x.cast(pl.Duration("us")).cast(pl.Int64),
}


def is_missing(series: pl.Series) -> pl.Expr:
    """The condition on ``pl.col("x")`` for a value of a `plain` series of this type to be missing."""
    x = pl.col("x")
    if series.dtype == pl.Float64:
        return x.is_null() | x.is_nan().fill_null(False)
    if series.dtype == pl.String:
        return x.is_null() | x.str.strip_chars(BLANKS).is_in(list(MISSING_MARKERS)).fill_null(False)
    return x.is_null()


def missing_mask(series: pl.Series) -> NDArray[np.bool_]:
    """Where a `plain` series is missing, bool of shape (n_rows,)."""
    if series.dtype == pl.Float64:  # null becomes NaN
        present: NDArray[np.float64] = series.to_numpy()
        return np.isnan(present)
    if series.dtype != pl.String:
        return series.is_null().to_numpy()
    return on(series, is_missing(series)).to_numpy()


def numbers(series: pl.Series) -> NDArray[np.float64]:
    """The numbers of a `plain` series, float64 of shape (n_rows,); NaN where there is none to read.

    Booleans are 0 and 1; dates and datetimes are seconds since 1970 (UTC).
    """
    if series.dtype in (pl.Float64, pl.Int64):
        return series.to_numpy().astype(np.float64, copy=False)
    if is_list(series):
        return np.full(len(series), np.nan)
    x = pl.col("x")
    if series.dtype == pl.String:
        x = _stripped.cast(pl.Float64, strict=False)
    elif series.dtype == pl.Date:
        x = x.cast(pl.Int64) * 86_400
    elif series.dtype.base_type() == pl.Datetime:
        return _divided(on(series, x.cast(pl.Int64)), 1e6)
    return on(series, x.cast(pl.Float64)).to_numpy()


def keys(series: pl.Series, key: str) -> pl.Series:
    """A `plain` series as keys of one type ("int", "float", "text" or "bool"); null where there is no such key."""
    if is_list(series) or (is_moment(series) and key != "text"):
        return pl.Series(series.name, [None] * len(series), KEY_TYPES[key])
    if key == "text":
        return as_text(series)
    x = pl.col("x")
    if key == "float":
        return on(series, x.cast(pl.Float64) if series.dtype != pl.String else _stripped.cast(pl.Float64, strict=False))
    if key == "bool" and series.dtype == pl.String:
        word = _stripped.str.to_lowercase()
        true, false = (word.is_in([w for w, truth in BOOLEAN_WORDS.items() if truth == wanted]) for wanted in (1, 0))
        return on(series, pl.when(true).then(pl.lit(1, pl.Int64)).when(false).then(pl.lit(0, pl.Int64)))
    whole = _whole(series)
    return whole if key == "int" else on(whole, pl.when(x.is_in([0, 1])).then(x))


def as_text(series: pl.Series) -> pl.Series:
    """Text of a `plain` series: whole numbers without a decimal point, booleans as true and false, ISO moments."""
    kind = series.dtype
    x = pl.col("x")
    if kind == pl.String:
        return on(series, _stripped)
    if kind == pl.Float64:
        return on(series, pl.coalesce(_exact(x).cast(pl.String), x.fill_nan(None).cast(pl.String)))
    if kind.base_type() == pl.Datetime:
        return on(series, x.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    return on(series, x.dt.strftime("%Y-%m-%d") if kind == pl.Date else x.cast(pl.String))


def whole_numbers(series: pl.Series) -> pl.Series:
    """Floats that are exact integers as Int64, the others null."""
    return on(series, _exact(pl.col("x")))


_stripped = pl.col("x").str.strip_chars(BLANKS)


def _exact(x: pl.Expr) -> pl.Expr:
    is_exact = x.is_finite() & (x.abs() < EXACT) & (x == x.round(0))
    return pl.when(is_exact).then(x).otherwise(None).cast(pl.Int64, strict=False)


def _whole(series: pl.Series) -> pl.Series:
    """The whole numbers among numbers, booleans or text as Int64; "3.0" is 3."""
    if series.dtype == pl.Float64:
        return whole_numbers(series)
    if series.dtype != pl.String:
        return on(series, pl.col("x").cast(pl.Int64))
    whole = on(series, _stripped.cast(pl.Int64, strict=False))
    if whole.null_count() == series.null_count():
        return whole
    return on(
        series, pl.coalesce(_stripped.cast(pl.Int64, strict=False), _exact(_stripped.cast(pl.Float64, strict=False)))
    )


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
