"""What a raw value means: missing, a number or a key. All encoders use these functions, for columns and single rows.

Three rules hold everywhere:

- Missing is null, NaN, and in text the words of `MISSING_WORDS`, compared without surrounding whitespace.
- Text is compared without surrounding spaces, tabs and line ends.
- Numbers are equal when their values are: 3, 3.0 and "3" are the same in a field that was fitted on numbers.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.forks import check_polars
from anyfm.data.messages import input_error

MISSING_WORDS = (
    # pandas, Python and JSON; R; Spark and Hive
    "", "NA", "N/A", "n/a", "na", "NaN", "nan", "-NaN", "-nan", "NaT", "None", "<NA>", "#NA", "NULL", "Null", "null",
    "NA_integer_", "NA_real_", "NA_character_", "<null>", "(null)", "?",
    # MySQL's export, and its date of zeros; Excel's errors; the C library of Windows
    "\\N", "0000-00-00", "0000-00-00 00:00:00", "#N/A", "#N/A N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?",
    "#NULL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
"""Text that counts as a missing value, as pandas, Spark, MySQL, Excel and R write it. It becomes the feature <missing>,
so no information is lost."""

LEADING_ZERO = r"^\s*[+-]?0\d+\s*$"
"""Whole numbers written with zeros in front are codes."""
WHITESPACE = " \t\r\n"
EXACT = 2.0**53
"""Whole floats below this are exact integers."""

KEY_TYPES: dict[str, pl.DataType] = {"int": pl.Int64(), "float": pl.Float64(), "text": pl.String(), "bool": pl.Int64()}
TRUE_WORDS = ("true", "t", "yes", "y", "on", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "off", "0", "0.0")

_NUMBER = re.compile(r"[+-]?\d+(\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)?", re.ASCII)
_UNUSUAL_NUMBER = re.compile(r"[\d.+\-e_]+|[+-]?(?:inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_x = pl.col("x")
_stripped = _x.str.strip_chars(WHITESPACE)


def is_text(series: pl.Series) -> bool:
    return series.dtype == pl.String


def is_datetime(series: pl.Series) -> bool:
    """Whether the series holds dates or datetimes."""
    return series.dtype == pl.Date or series.dtype.base_type() == pl.Datetime


def is_list(series: pl.Series) -> bool:
    return series.dtype.base_type() in (pl.List, pl.Array)


def evaluate(series: pl.Series, expression: pl.Expr) -> pl.Series:
    """The value of an expression of ``pl.col("x")``, where x is the series; it keeps the name of the series."""
    return pl.DataFrame({"x": series}).select(expression.alias("x"))["x"].rename(series.name)


_CONVERSIONS: dict[Any, Callable[[pl.Expr], pl.Expr]] = {
    pl.Null: lambda x: x.cast(pl.String),
    pl.Float32: lambda x: x.cast(pl.String).cast(pl.Float64),  # 0.1f means 0.1: through its shortest text
    pl.Decimal: lambda x: x.cast(pl.Float64),
    pl.Categorical: lambda x: x.cast(pl.String),
    pl.Enum: lambda x: x.cast(pl.String),
    pl.Datetime: lambda x: x.cast(pl.Datetime("us")),
    pl.Time: lambda x: x.cast(pl.Int64) // 1000,
    pl.Duration: lambda x: x.cast(pl.Duration("us")).cast(pl.Int64),
}


def as_basic(series: pl.Series) -> pl.Series:
    """The series in one of the types that encoders know: Boolean, Int64, Float64, String, Date, Datetime, List.

    Raises
    ------
    InputError
        The column holds structs, bytes or Python objects.
    """
    kind = series.dtype
    if kind in (pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.Date) or is_list(series):
        return series
    if kind.is_integer() or (kind.is_decimal() and kind.scale == 0):  # type: ignore[attr-defined]
        whole = evaluate(series, _x.cast(pl.Int64, strict=False))
        return whole if whole.null_count() == series.null_count() else evaluate(series, _x.cast(pl.String))
    conversion = _CONVERSIONS.get(kind.base_type())
    if conversion is None:
        raise input_error(
            f"a column must hold numbers, text, booleans, dates or lists of them, but its type is {kind}",
            column=series.name,
            remedy='Convert it to text or numbers, or leave it out (kind = "ignore").',
        )
    in_utc = getattr(kind, "time_zone", None) is not None
    converted = evaluate(
        series, conversion(_x.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if in_utc else _x)
    )
    if kind in (pl.Time, pl.Duration):
        return pl.Series(series.name, _seconds(converted), nan_to_null=True)
    return converted


def _seconds(microseconds: pl.Series) -> NDArray[np.float64]:
    """Integers / 1e6, NaN where null. By NumPy: polars' quotient depends on the number of rows by one ulp."""
    return microseconds.to_numpy().astype(np.float64) / 1e6


def is_missing(series: pl.Series) -> pl.Expr:
    """The condition on ``pl.col("x")`` that a value of a basic series of this type is missing."""
    if series.dtype == pl.Float64:
        return _x.is_null() | _x.is_nan().fill_null(False)
    if series.dtype == pl.String:
        return _x.is_null() | _stripped.is_in(list(MISSING_WORDS)).fill_null(False)
    return _x.is_null()


def missing_mask(series: pl.Series) -> NDArray[np.bool_]:
    """Where a basic series is missing, bool of shape (n_rows,)."""
    if series.dtype == pl.Float64:
        is_nan: NDArray[np.bool_] = np.isnan(series.to_numpy())  # null becomes NaN
        return is_nan
    return (evaluate(series, is_missing(series)) if is_text(series) else series.is_null()).to_numpy()


def as_numbers(series: pl.Series) -> NDArray[np.float64]:
    """The numbers of a basic series, float64 of shape (n_rows,); NaN where a value is not a number.

    Booleans are 0 and 1; dates and datetimes are seconds since 1970 (UTC).
    """
    if series.dtype in (pl.Float64, pl.Int64):
        return series.to_numpy().astype(np.float64, copy=False)
    if is_list(series):
        return np.full(len(series), np.nan)
    if series.dtype.base_type() == pl.Datetime:
        return _seconds(evaluate(series, _x.cast(pl.Int64)))
    if series.dtype == pl.Date:
        return evaluate(series, (_x.cast(pl.Int64) * 86_400).cast(pl.Float64)).to_numpy()
    return evaluate(series, (_stripped if is_text(series) else _x).cast(pl.Float64, strict=False)).to_numpy()


def as_keys(series: pl.Series, key_type: str) -> pl.Series:
    """A basic series as keys of type "int", "float", "text" or "bool"; null where a value has no such key."""
    if is_list(series) or (is_datetime(series) and key_type != "text"):
        return pl.Series(series.name, [None] * len(series), KEY_TYPES[key_type])
    if key_type == "text":
        return as_text(series)
    if key_type == "float":
        return evaluate(series, (_stripped if is_text(series) else _x).cast(pl.Float64, strict=False))
    if key_type == "bool" and is_text(series):
        word = _stripped.str.to_lowercase()
        one, zero = pl.lit(1, pl.Int64), pl.lit(0, pl.Int64)
        return evaluate(series, pl.when(word.is_in(TRUE_WORDS)).then(one).when(word.is_in(FALSE_WORDS)).then(zero))
    whole = as_integers(series)
    return whole if key_type == "int" else evaluate(whole, pl.when(_x.is_in([0, 1])).then(_x))


def as_text(series: pl.Series) -> pl.Series:
    """Text of a basic series: whole numbers without a decimal point, booleans as true and false, dates in ISO 8601."""
    kind = series.dtype
    if kind == pl.String:
        return evaluate(series, _stripped)
    if kind == pl.Float64:
        return evaluate(series, pl.coalesce(_exact(_x).cast(pl.String), _x.fill_nan(None).cast(pl.String)))
    if kind.base_type() == pl.Datetime:
        return evaluate(series, _x.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    return evaluate(series, _x.dt.strftime("%Y-%m-%d") if kind == pl.Date else _x.cast(pl.String))


def as_integers(series: pl.Series) -> pl.Series:
    """The whole numbers among numbers, booleans or text as Int64, the others null; "3.0" is 3."""
    if series.dtype == pl.Float64:
        return evaluate(series, _exact(_x))
    if not is_text(series):
        return evaluate(series, _x.cast(pl.Int64))
    whole = evaluate(series, _stripped.cast(pl.Int64, strict=False))
    if whole.null_count() == series.null_count():
        return whole
    floats = _exact(_stripped.cast(pl.Float64, strict=False))
    return evaluate(series, pl.coalesce(_stripped.cast(pl.Int64, strict=False), floats))


def _exact(x: pl.Expr) -> pl.Expr:
    is_exact = x.is_finite() & (x.abs() < EXACT) & (x == x.round(0))
    return pl.when(is_exact).then(x).otherwise(None).cast(pl.Int64, strict=False)


def number_in(text: str) -> float | int | None:
    """The number that text holds in its usual form; None for any other text."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        found = _NUMBER.fullmatch(text := text.strip(WHITESPACE))
    if found is None:
        return None
    return float(text) if found[1] or len(text) > 18 else int(text)


def may_be_number(text: str) -> bool:
    """Whether text that `number_in` does not know may be a number to polars: "1.", ".5", "inf"."""
    return _UNUSUAL_NUMBER.fullmatch(text.strip(WHITESPACE)) is not None


def plain_value(value: Any) -> Any:
    """A scalar of NumPy, Decimal, time or duration as the number or datetime that a column of it would hold."""
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        return value.item() if np.datetime_data(value.dtype)[0] == "D" else value.astype("datetime64[us]").item()
    if isinstance(value, np.float32):
        return float(str(value))  # 0.1f means 0.1, as in a column
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.timedelta) and value == value:
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.hour * 3600 + value.minute * 60 + (value.second * 1_000_000 + value.microsecond) / 1e6
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return list(value)
    return value


def series_of(value: Any) -> pl.Series:
    """A series of one raw Python value, for the rare values that the fast path of an encoder does not know."""
    check_polars(f"reading the value {value!r}")
    value = plain_value(value)
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        value = [item for item in value if item is not None]
        value = value if len({type(item) for item in value}) <= 1 else [str(item) for item in value]
        return pl.Series("value", [value] if value else [None], strict=False)
    try:
        return as_basic(pl.Series("value", [value]))
    except (OverflowError, pl.exceptions.PolarsError):  # an integer beyond every integer type
        return pl.Series("value", [str(value)])


def number_text(x: float) -> str:
    """A number as people write it: 17 rather than 17.0, and as many digits as it takes to be exact."""
    return str(int(x)) if math.isfinite(x) and x == int(x) and abs(x) < EXACT else repr(float(x))
