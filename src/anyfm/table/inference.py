"""Inference of a schema: what each column looks like, with the reason in words.

Columns are looked at whole, never by a sample, so that the answer depends on the rows and not on their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from anyfm.errors import InputError, SettingError, however, located, shown
from anyfm.table.dates import EPOCH_UNITS, Clock, read_moments, unit_of
from anyfm.table.schema import MIN_COUNT, N_BINS, Field, Schema, overrides_of
from anyfm.table.target import infer_target
from anyfm.table.values import BLANKS, MISSING_MARKERS, is_list, is_moment, plain, whole_numbers

ROWS_PER_BIN = 25
ID_WORDS = {
    "id",
    "ids",
    "uid",
    "uuid",
    "guid",
    "key",
    "hash",
    "code",
    "zip",
    "zipcode",
    "postcode",
    "postal",
    "sku",
    "isbn",
    "ip",
}
ENTITY_WORDS = {
    "user", "item", "movie", "film", "artist", "track", "song", "album", "tag", "site", "app", "device", "ad", "advert",
    "advertiser", "publisher", "creative", "banner", "product", "store", "shop", "category", "brand", "customer", "client",
    "merchant", "account", "channel", "region", "city", "country", "state", "zone", "author", "book", "genre", "query",
}  # fmt: skip
CALENDAR_WORDS = {"hour", "weekday", "dayofweek", "dow", "day", "month", "quarter", "week"}
MEASURE_WORDS = {
    "num", "n", "count", "cnt", "counts", "total", "sum", "amount", "avg", "mean", "rate", "ratio", "pct", "percent", "age",
    "ages", "price", "cost", "hours", "days", "minutes", "seconds", "duration", "length", "size", "weight", "height", "score",
    "balance", "income", "gain", "loss", "year", "years", "distance", "time", "per", "quantity", "qty", "rating", "delay",
}  # fmt: skip
TIME_WORDS = {"time", "timestamp", "ts", "date", "datetime", "created", "updated", "at", "when", "epoch"}
SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True)
class _Column:
    """A column with what the rules ask about it; `distinct` holds "x" and "count", missing left out."""

    name: str
    series: pl.Series
    distinct: pl.DataFrame
    n_missing: int
    markers: tuple[str, ...]

    @property
    def n_present(self) -> int:
        return len(self.series) - self.n_missing

    @property
    def n_distinct(self) -> int:
        return len(self.distinct)

    @property
    def repeats(self) -> float:
        """The share of rows that a value already met accounts for: 0 where all are distinct."""
        return 1.0 - self.n_distinct / max(self.n_present, 1)

    @property
    def words(self) -> set[str]:
        """The words of the column's name: "userId" is user and id."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return {word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word}


Verdict = tuple[str, str, dict[str, Any]]  # kind, reason, further settings


def infer_schema(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    weight: str | None = None,
    task: str = "auto",
    positive: Any = None,
    overrides: Mapping[str, Any] | None = None,
    min_count: int = MIN_COUNT,
) -> Schema:
    """Find the kind of every column, with its reason.

    Parameters
    ----------
    frame : polars DataFrame
    target, weight : str, optional
        Columns that are no fields: what to predict, and how much each row counts.
    task : {"auto", "binary", "regression"}
        "auto": two distinct values are binary, more than two numbers regression.
    positive : value, optional
        The class of a binary target coded as 1.
    overrides : mapping, optional
        Column → kind, or column → settings of its `Field`: ``{"zip": "categorical", "ts": {"parts": ["hour"]}}``.
    min_count : int
        Values seen less often share the unseen feature, unless an override says otherwise.

    Raises
    ------
    InputError
        The table has no rows; the target, the weight or an overridden column is not in it; no field is left; or the
        target cannot be used.
    """
    if task not in ("auto", "binary", "regression"):
        raise SettingError(however("task must be one of auto, binary, regression", task=task))
    given = overrides_of(overrides or {})
    for role, name in (("target", target), ("weight", weight), *(("overridden", name) for name in given)):
        if name is not None and name not in frame.columns:
            raise InputError(missing_column(role, name, frame.columns))
    if frame.height == 0:
        raise InputError(
            "a table to learn from must have at least one row, however it has none. Give rows, not a header only"
        )
    fields = tuple(
        _field(frame[name], given.get(name, {}), min_count) for name in frame.columns if name not in (target, weight)
    )
    if not any(field.kind != "ignore" for field in fields):
        reasons = "; ".join(f"{field.name}: {field.reason}" for field in fields) or "the table has no other column"
        raise InputError(f"a table needs at least one field to learn from, however none is left ({reasons})")
    found = None if target is None else infer_target(frame[target], task=task, positive=positive)
    return Schema(fields=fields, target=found, weight=weight)


def missing_column(role: str, name: str, columns: list[str]) -> str:
    """Word that a column is not in the table, with the columns that are."""
    import difflib

    close = difflib.get_close_matches(name, columns, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(map(repr, columns[:20])) + (", …" if len(columns) > 20 else "")
    return located(f"the {role} column must be in the table", column=name, remedy=f"{hint}The table has {listed}.")


def _field(series: pl.Series, override: dict[str, Any], min_count: int) -> Field:
    settings: dict[str, Any] = {"min_count": min_count, **override}
    if "kind" in settings:
        settings.setdefault("reason", "as asked")
        if settings["kind"] == "tags" and "separator" not in settings and not is_list(series):
            column = _look(series)
            found = _tags(column) or ("tags", "", {"separator": "|"})
            settings["separator"] = found[2]["separator"]
        return Field(name=series.name, **settings)
    if settings.get("parts"):
        return Field(name=series.name, kind="datetime", reason="its parts, as asked", **settings)
    if settings.get("separator"):
        return Field(name=series.name, kind="tags", reason="text with a separator, as asked", **settings)
    kind, reason, further = _verdict(series)
    return Field(name=series.name, kind=kind, reason=reason, **{**further, **settings})


def _look(raw: pl.Series) -> _Column:
    series = plain(raw)
    if series.dtype == pl.String:
        series = series.str.strip_chars(BLANKS)
    counts = pl.DataFrame({"x": series}).group_by("x").agg(pl.len().alias("count"))
    x = pl.col("x")
    is_missing = x.is_null()
    if series.dtype == pl.Float64:
        is_missing = is_missing | x.is_nan()
    if series.dtype == pl.String:
        is_missing = is_missing | x.is_in(list(MISSING_MARKERS))
    missing = counts.filter(is_missing)
    markers = tuple(sorted({m for m in missing["x"].to_list() if isinstance(m, str) and m})) if len(missing) else ()
    present = counts.filter(~is_missing)
    return _Column(raw.name, series, present, int(missing["count"].sum()), markers)


def _verdict(raw: pl.Series) -> Verdict:
    if raw.dtype.base_type() in (pl.Struct, pl.Binary, pl.Object):
        return "ignore", f"its type, {raw.dtype}, is no value a model can use", {}
    if is_list(raw):
        if raw.dtype.inner.base_type() in (pl.List, pl.Struct, pl.Array, pl.Binary, pl.Object):  # type: ignore[attr-defined]
            return "ignore", f"nested lists ({raw.dtype})", {}
        return ("ignore", "every list is empty", {}) if not _any_item(raw) else ("tags", "lists of values", {})
    column = _look(raw)
    kind, reason, further = _scalar(column)
    if column.n_missing and kind != "ignore":
        words = " and ".join(map(repr, column.markers))
        reason += f"; {100 * column.n_missing / len(column.series):.3g}% missing" + (
            f" ({words} among them)" if words else ""
        )
    return kind, reason, further


def _any_item(series: pl.Series) -> bool:
    return bool((series.cast(pl.List(series.dtype.inner)).list.drop_nulls().list.len() > 0).any())  # type: ignore[attr-defined]


def _scalar(column: _Column) -> Verdict:
    series = column.series
    if column.n_present == 0:
        return "ignore", "every value is missing", {}
    if column.n_distinct == 1 and column.n_missing == 0:
        return "ignore", f"constant: every value is {shown(column.distinct['x'][0], width=30)}", {}
    if series.dtype == pl.Boolean:
        return "boolean", "true or false", {}
    if is_moment(series):
        return _moments(column, column.distinct["x"], "dates" if series.dtype == pl.Date else "dates and times")
    if series.dtype == pl.String:
        return _text(column)
    return _number(column, "")


def _moments(column: _Column, moments: pl.Series, what: str) -> Verdict:
    first, last = moments.min(), moments.max()
    reason = (
        f"{what} from {first} to {last}, in quantile bins; later ones fall into the last bin; "
        'ask for parts such as ["hour", "weekday"] to learn rhythms'
    )
    return "datetime", reason, {"n_bins": _bins_for(column)}


def _bins_for(column: _Column) -> int:
    return max(2, min(N_BINS, column.n_present // ROWS_PER_BIN))


def _text(column: _Column) -> Verdict:
    values = column.distinct["x"]
    as_number = values.cast(pl.Float64, strict=False)
    n_odd = int(column.distinct["count"].filter(as_number.is_null()).sum())
    if n_odd == 0:
        numeric = _Column(
            column.name,
            column.series.cast(pl.Float64, strict=False),
            pl.DataFrame({"x": as_number, "count": column.distinct["count"]}).group_by("x").agg(pl.col("count").sum()),
            column.n_missing,
            column.markers,
        )
        return _number(numeric, "numbers in a text column: ")
    if n_odd < column.n_present:
        odd = values.filter(as_number.is_null()).sort()[0]
        reason = f"text among numbers, {n_odd:,} of {column.n_present:,} (such as {shown(odd, width=30)})"
        if column.repeats >= 0.05:
            return "categorical", f"{reason}, {column.n_distinct:,} distinct values", {}
    if read_moments(values.head(100)).null_count() == 0:
        moments = read_moments(values)
        if moments.null_count() == 0:
            return _moments(column, moments, "ISO dates and times in text")
    tags = _tags(column)
    if tags is not None:
        return tags
    if column.n_present >= 20 and column.repeats < 0.05:
        share = "all" if column.repeats == 0 else f"{100 * (1 - column.repeats):.3g}%"
        reason = f"text, {share} distinct: an identifier of the row, or free text, from which nothing repeats to learn"
        return "ignore", reason, {}
    return "categorical", f"text, {column.n_distinct:,} distinct values", {}


def _tags(column: _Column) -> Verdict | None:
    """Text is tags where splitting it leaves far fewer words, each met in several different texts."""
    values = column.distinct["x"]
    if values.dtype != pl.String:
        return None
    for separator in SEPARATORS:
        having = values.filter(values.str.contains(separator, literal=True))
        if len(having) < max(3, 0.1 * len(values)):
            continue
        items = values.str.split(separator).explode().str.strip_chars(BLANKS)  # never empty lists
        items = items.filter(items != "")
        n_items = items.n_unique()
        if n_items <= 0.5 * len(values) and len(items) >= 3 * n_items:
            reason = f"text with {separator!r} between values: {n_items:,} tags in {len(values):,} combinations"
            return "tags", reason, {"separator": separator}
    return None


def _number(column: _Column, prefix: str) -> Verdict:
    values = column.distinct["x"]
    finite = values if values.dtype == pl.Int64 else values.filter(values.is_finite())
    is_whole = values.dtype == pl.Int64 or whole_numbers(finite).null_count() == 0
    words = column.words
    measure = words & MEASURE_WORDS
    if is_whole and len(finite):
        verdict = _whole(column, finite.cast(pl.Int64, strict=False), measure)
        if verdict is not None:
            return verdict[0], prefix + verdict[1], verdict[2]
    n_bins = _bins_for(column)
    what = "whole numbers" if is_whole else "numbers"
    binned = "a bin for each" if column.n_distinct <= n_bins else f"in {n_bins} quantile bins"
    return "numeric", f"{prefix}{column.n_distinct:,} distinct {what}, {binned}", {"n_bins": n_bins}


def _whole(column: _Column, values: pl.Series, measure: set[str]) -> Verdict | None:
    """The verdicts on whole numbers other than "it is a quantity"."""
    low, high, n = int(values.min() or 0), int(values.max() or 0), column.n_distinct  # type: ignore[call-overload]
    identifier = _says_identifier(column.name, column.words) and not measure
    span = high - low + 1
    if column.n_present >= 20 and n == column.n_present and not measure and (identifier or span <= 1.05 * n):
        return "ignore", "whole numbers, all distinct: an identifier of the row", {}
    if n <= 2:
        return "categorical", "two whole numbers" if n == 2 else "one whole number, or missing", {}
    if column.words & TIME_WORDS:
        unit = unit_of(values)
        start, end = (numeric_clock_text(value, unit) for value in (low, high))
        if start is not None and end is not None:
            reason = f"whole numbers that count {unit} since 1970, from {start} to {end}, in quantile bins; later ones fall into "
            return (
                "datetime",
                reason + 'the last bin; ask for parts such as ["hour", "weekday"]',
                {"n_bins": _bins_for(column)},
            )
    if identifier:
        return "categorical", f"whole numbers, {n:,} distinct, with the name of an identifier", {}
    if column.words & CALENDAR_WORDS and 0 <= low and high <= 366 and not measure:
        return "categorical", f"whole numbers {low} … {high} with the name of a calendar part", {}
    if not measure and low >= 0 and _looks_like_codes(column, span):
        return "categorical", f"whole numbers, {n:,} distinct, whose neighbours differ in frequency as codes do", {}
    return None


def numeric_clock_text(value: int, unit: str) -> str | None:
    """A count since 1970 as text, None outside 1980 … 2100."""
    seconds = value / EPOCH_UNITS[unit]
    return Clock("s").text(seconds)[:10] if 3.1e8 <= seconds <= 4.1e9 else None


def _says_identifier(name: str, words: set[str]) -> bool:
    return bool(words & ID_WORDS) or bool(words & ENTITY_WORDS) or re.search(r"[a-z]id$", name.lower()) is not None


def _looks_like_codes(column: _Column, span: int) -> bool:
    """Whether neighbouring values occur with unrelated frequencies.

    Of a quantity the frequencies of neighbours c and d are about equal, up to chance, and (c − d)² / (c + d) has the
    median of χ² with one degree of freedom, 0.45; of codes it is much more. The median forgives heaps at round numbers.
    """
    if column.n_distinct < 100 or column.n_present < 5 * column.n_distinct or column.n_distinct < 0.5 * span:
        return False
    counts = column.distinct.sort("x")["count"].to_numpy().astype(np.float64)
    left, right = counts[:-1], counts[1:]
    return float(np.median((left - right) ** 2 / (left + right))) > 3.0
