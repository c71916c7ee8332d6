"""Inference of a schema: what each column looks like, with the reason in words.

Columns are looked at whole, never by a sample, so that the answer depends on the rows and not on their order.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from anyfm.core.errors import InputError, SettingError, got, located, shown
from anyfm.data.dates import EPOCH_UNITS, Clock, read_moments, unit_of
from anyfm.data.schema import MIN_COUNT, N_BINS, Field, Schema, overrides_of
from anyfm.data.target import infer_target
from anyfm.data.values import BLANKS, as_text, is_list, is_missing, is_moment, on, plain, whole_numbers

log = logging.getLogger(__name__)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROWS_PER_BIN = 25
FEW_ROWS = 20
"""In fewer rows, values that are all distinct prove nothing."""
RARE_REPEATS = 0.05
"""With a smaller share of repeated values, a column is an identifier of the row."""
ID_WORDS = _words("id ids uid uuid guid key hash code zip zipcode postcode postal sku isbn ip")
ENTITY_WORDS = _words(
    "user item movie film artist track song album tag site app device ad advert advertiser publisher creative banner "
    "product store shop category brand customer client merchant account channel region city country state zone author "
    "book genre query"
)
CALENDAR_WORDS = _words("hour weekday dayofweek dow day month quarter week")
MEASURE_WORDS = _words(
    "num n count cnt counts total sum amount avg mean rate ratio pct percent age ages price cost hours days minutes "
    "seconds duration length size weight height score balance income gain loss year years distance time per quantity "
    "qty rating delay"
)
TIME_WORDS = _words("time timestamp ts date datetime created updated at when epoch")
SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True)
class _Column:
    """What the rules ask about a column.

    Parameters
    ----------
    distinct : polars DataFrame
        The distinct values ("x") that are not missing, and how often each occurs ("count").
    markers : tuple of str
        The words taken for missing.
    """

    name: str
    distinct: pl.DataFrame
    n_rows: int
    n_missing: int
    markers: tuple[str, ...] = ()

    @property
    def values(self) -> pl.Series:
        return self.distinct["x"]

    @property
    def n_present(self) -> int:
        return self.n_rows - self.n_missing

    @property
    def n_distinct(self) -> int:
        return len(self.distinct)

    @property
    def repeats(self) -> float:
        """The share of rows that a value already met accounts for: 0 where all are distinct."""
        return 1.0 - self.n_distinct / max(self.n_present, 1)

    @property
    def words(self) -> list[str]:
        """The words of the column's name: "userId" is user and id."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return [word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word]

    @property
    def is_measure(self) -> bool:
        """Whether the name is that of a quantity."""
        return bool(set(self.words) & MEASURE_WORDS) and not set(self.words[-1:]) & ID_WORDS

    @property
    def is_identifier(self) -> bool:
        """Whether the name is that of an identifier or code: user_id, userId, userid, zip, site."""
        stems = {word.removesuffix("id") for word in self.words}
        return not self.is_measure and bool(set(self.words) & ID_WORDS or stems & ENTITY_WORDS)


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
        raise SettingError(got("task must be one of auto, binary, regression", task=task))
    given = overrides_of(overrides or {})
    for role, name in (("target", target), ("weight", weight), *(("overridden", name) for name in given)):
        if name is not None and name not in frame.columns:
            raise InputError(missing_column(role, name, frame.columns))
    if frame.height == 0:
        raise InputError(
            "a table to learn from must have at least one row, but it has none. Give rows, not a header only"
        )
    fields = tuple(
        _field(frame[name], given.get(name, {}), min_count) for name in frame.columns if name not in (target, weight)
    )
    for field in fields:
        if field.kind == "ignore" and field.name not in given:
            log.info("column %r is left out: %s", field.name, field.reason)
    if not any(field.kind != "ignore" for field in fields):
        reasons = "; ".join(f"{field.name}: {field.reason}" for field in fields) or "the table has no other column"
        raise InputError(f"a table needs at least one field to learn from, but none is left ({reasons})")
    found = None if target is None else infer_target(frame[target], task=task, positive=positive)
    return Schema(fields=fields, target=found, weight=weight)


def missing_column(role: str, name: str, columns: list[str]) -> str:
    """Word that a column is not in the table, with the columns that are."""
    by_lower = {column.lower(): column for column in reversed(columns)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f"Did you mean {by_lower[close[0]]!r}? " if close else ""
    listed = ", ".join(map(repr, columns[:20])) + (", …" if len(columns) > 20 else "")
    return located(f"the {role} column must be in the table", column=name, remedy=f"{hint}The table has {listed}.")


def _field(series: pl.Series, override: dict[str, Any], min_count: int) -> Field:
    settings: dict[str, Any] = {"min_count": min_count, **override}
    if "kind" in settings:
        settings.setdefault("reason", "as asked")
        if settings["kind"] == "tags" and "separator" not in settings and not is_list(series):
            settings["separator"] = _likeliest_separator(_look(series).values)
        return Field(name=series.name, **settings)
    if settings.get("parts"):
        return Field(name=series.name, kind="datetime", reason="its parts, as asked", **settings)
    if settings.get("separator"):
        return Field(name=series.name, kind="tags", reason="text with a separator, as asked", **settings)
    kind, reason, further = _verdict(series)
    return Field(name=series.name, kind=kind, reason=reason, **{**further, **settings})


def _look(raw: pl.Series) -> _Column:
    series = plain(raw)
    x = pl.col("x")
    counts = pl.DataFrame({"x": series}).group_by("x").agg(pl.len().alias("count"))
    if series.dtype == pl.String:  # stripped here, where values are few
        counts = counts.group_by(x.str.strip_chars(BLANKS)).agg(pl.col("count").sum())
    condition = is_missing(series)
    missing = counts.filter(condition)
    markers = tuple(sorted(m for m in missing["x"].to_list() if isinstance(m, str) and m))
    return _Column(raw.name, counts.filter(~condition), len(series), int(missing["count"].sum()), markers)


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
        reason += f"; {_percent(column.n_missing, column.n_rows)} missing" + (f" ({words} among them)" if words else "")
    return kind, reason, further


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g}%"


def _any_item(series: pl.Series) -> bool:
    return bool((series.cast(pl.List(series.dtype.inner)).list.drop_nulls().list.len() > 0).any())  # type: ignore[attr-defined]


def _scalar(column: _Column) -> Verdict:
    kind = column.values.dtype
    if column.n_present == 0:
        return "ignore", "every value is missing", {}
    if column.n_distinct == 1 and column.n_missing == 0:
        return "ignore", f"constant: every value is {shown(column.values[0], width=30)}", {}
    if kind == pl.Boolean:
        return "boolean", "true or false", {}
    if is_moment(column.values):
        return _moments(column, column.values, "dates" if kind == pl.Date else "dates and times")
    return _text(column) if kind == pl.String else _number(column, "")


def _moments(column: _Column, moments: pl.Series, what: str) -> Verdict:
    return _binned_moments(column, f"{what} from {moments.min()} to {moments.max()}")  # type: ignore[str-bytes-safe]


def _binned_moments(column: _Column, what: str) -> Verdict:
    advice = 'later ones fall into the last bin; ask for parts such as ["hour", "weekday"] to learn rhythms'
    return "datetime", f"{what}, in quantile bins; {advice}", {"n_bins": _bins_for(column)}


def _bins_for(column: _Column) -> int:
    return max(2, min(N_BINS, column.n_present // ROWS_PER_BIN))


def _text(column: _Column) -> Verdict:
    values, n = column.values, column.n_distinct
    number = on(values, pl.col("x").cast(pl.Float64, strict=False))
    n_words = int(column.distinct["count"].filter(number.is_null()).sum())
    if n_words == 0:
        distinct = column.distinct.with_columns(number.alias("x")).group_by("x").agg(pl.col("count").sum())
        return _number(replace(column, distinct=distinct), "numbers in a text column: ")
    moments = _all_moments(values)
    if moments is not None:
        return _moments(column, moments, "ISO dates and times in text")
    tags = _tags(values)
    if tags is not None:
        return tags
    if column.n_present >= FEW_ROWS and column.repeats < RARE_REPEATS:
        share = "all" if column.repeats == 0 else _percent(n, column.n_present)
        return (
            "ignore",
            f"text, {share} distinct: an identifier of the row, or free text, in which too little repeats",
            {},
        )
    if n_words < 0.5 * column.n_present:
        word = shown(values.filter(number.is_null()).min(), width=30)
        came = f"numbers, but for {n_words:,} of {column.n_present:,} values such as {word}"
        return "categorical", f"{came}: taken as text, {n:,} distinct values", {}
    return "categorical", f"text, {n:,} distinct values", {}


def _all_moments(values: pl.Series) -> pl.Series | None:
    """Text as moments, None unless every value is one."""
    if read_moments(values.head(100)).null_count():
        return None
    moments = read_moments(values)
    return None if moments.null_count() else moments


def _tags(values: pl.Series) -> Verdict | None:
    """Text is tags where splitting it leaves at most half as many words, each met in three texts on average."""
    text = pl.DataFrame({"x": values})
    for separator in SEPARATORS:
        n_split = text.select(pl.col("x").str.contains(separator, literal=True).sum()).item()
        if n_split < max(3, 0.1 * len(values)):
            continue
        items = text.select(pl.col("x").str.split(separator).explode().str.strip_chars(BLANKS)).filter(
            pl.col("x") != ""
        )
        n_items = items["x"].n_unique()
        if n_items <= 0.5 * len(values) and len(items) >= 3 * n_items:
            reason = f"text with {separator!r} between values: {n_items:,} tags in {len(values):,} combinations"
            return "tags", reason, {"separator": separator}
    return None


def _likeliest_separator(values: pl.Series) -> str:
    """The separator met in the most values, for a column that is known to hold tags."""
    text = as_text(values)
    n_with = [int(on(text, pl.col("x").str.contains(separator, literal=True)).sum()) for separator in SEPARATORS]
    return SEPARATORS[int(np.argmax(n_with))]


def _number(column: _Column, prefix: str) -> Verdict:
    values = column.values if column.values.dtype == pl.Int64 else column.values.filter(column.values.is_finite())
    whole = values if values.dtype == pl.Int64 else whole_numbers(values)
    is_whole = whole.null_count() == 0
    if is_whole and len(whole):
        verdict = _whole(column, whole)
        if verdict is not None:
            return verdict[0], prefix + verdict[1], verdict[2]
    n_bins = _bins_for(column)
    what = f"{column.n_distinct:,} distinct {'whole numbers' if is_whole else 'numbers'}"
    binned = "a bin for each" if column.n_distinct <= n_bins else f"in {n_bins} quantile bins"
    hint = (
        '; they could count seconds since 1970: if so, kind = "datetime"' if is_whole and _epoch(column, whole) else ""
    )
    return "numeric", f"{prefix}{what}, {binned}{hint}", {"n_bins": n_bins}


def _whole(column: _Column, values: pl.Series) -> Verdict | None:
    """The verdicts on whole numbers other than that they are a quantity."""
    low, high, n = int(values.min()), int(values.max()), column.n_distinct  # type: ignore[arg-type]
    span = high - low + 1
    if column.n_present >= FEW_ROWS and not column.is_measure:
        if n == column.n_present and span <= 1.05 * n:
            return "ignore", "whole numbers, all distinct: an identifier of the row", {}
        if column.is_identifier and column.repeats < RARE_REPEATS:
            share = _percent(n, column.n_present)
            return "ignore", f"whole numbers, {share} distinct, with the name of an identifier: too little repeats", {}
    if n <= 2:
        return "categorical", "two whole numbers" if n == 2 else "one whole number, or missing", {}
    span_of_time = _epoch(column, values)
    if span_of_time and set(column.words) & TIME_WORDS:
        return _binned_moments(column, span_of_time)
    if column.is_identifier:
        return "categorical", f"whole numbers, {n:,} distinct, with the name of an identifier", {}
    if not column.is_measure and low >= 0 and high <= 366 and set(column.words) & CALENDAR_WORDS:
        return "categorical", f"whole numbers {low} … {high} with the name of a calendar part", {}
    if not column.is_measure and low >= 0 and _looks_like_codes(column, span):
        return "categorical", f"whole numbers, {n:,} distinct, whose neighbours differ in frequency as codes do", {}
    return None


def _epoch(column: _Column, values: pl.Series) -> str:
    """Words for whole numbers that can all count since 1970 a moment of 1980 to 2100; none where they cannot."""
    unit = unit_of(values)
    first, last = (int(end) / EPOCH_UNITS[unit] for end in (values.min(), values.max()))  # type: ignore[arg-type]
    if column.n_distinct < FEW_ROWS or not 3.1e8 <= first <= last <= 4.1e9:
        return ""
    start, end = (Clock("s").text(moment)[:10] for moment in (first, last))
    return f"whole numbers that count {unit} since 1970, from {start} to {end}"


def _looks_like_codes(column: _Column, span: int) -> bool:
    """Whether neighbouring values occur with unrelated frequencies.

    Of a quantity the frequencies of neighbours c and d are about equal, up to chance, and (c − d)² / (c + d) has the
    median of χ² with one degree of freedom, 0.45; of codes it is much more. The median forgives heaps at round numbers.
    """
    if column.n_distinct < 100 or column.n_present < 5 * column.n_distinct or column.n_distinct < 0.3 * span:
        return False
    counts = column.distinct.sort("x")["count"].to_numpy().astype(np.float64)
    left, right = counts[:-1], counts[1:]
    return float(np.median((left - right) ** 2 / (left + right))) > 3.0
