"""Inference of a schema: the kind of each column, with the reason in words.

All rows of a column are looked at, never a sample, so the answer depends on the rows but not on their order.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from anyfm.core.errors import InputError, shown
from anyfm.core.task import TASKS
from anyfm.data.dates import EARLIEST_SECOND, EPOCH_UNITS, LATEST_SECOND, epoch_unit, number_label, read_datetimes
from anyfm.data.messages import check_choice, missing_column
from anyfm.data.schema import MIN_COUNT, N_BINS, Field, Schema, check_overrides
from anyfm.data.target import infer_target
from anyfm.data.values import WHITESPACE, as_basic, as_integers, as_text, is_datetime, is_list, is_missing, is_text

log = logging.getLogger(__name__)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROWS_PER_BIN = 25
MIN_ROWS = 20
"""In fewer rows, values may all be distinct by chance."""
MIN_REPEATED = 0.05
"""With a smaller fraction of repeated values, a column is an identifier of the row."""
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
    n_rows, n_missing : int
    missing_words : tuple of str
        The words that count as missing.
    """

    name: str
    distinct: pl.DataFrame
    n_rows: int
    n_missing: int
    missing_words: tuple[str, ...] = ()

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
    def percent_distinct(self) -> str:
        return _percent(self.n_distinct, self.n_present)

    @property
    def hardly_repeats(self) -> bool:
        """Whether less than `MIN_REPEATED` of the rows hold a value that occurred before."""
        return self.n_present >= MIN_ROWS and self.n_distinct > (1 - MIN_REPEATED) * self.n_present

    @property
    def words(self) -> list[str]:
        """The words of the column's name: "userId" is user and id."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return [word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word]

    @property
    def is_measure(self) -> bool:
        """Whether the name is that of a quantity."""
        return bool(MEASURE_WORDS.intersection(self.words)) and not ID_WORDS.intersection(self.words[-1:])

    @property
    def is_identifier(self) -> bool:
        """Whether the name is that of an identifier or code: user_id, userId, userid, zip, site."""
        stems = {word.removesuffix("id") for word in self.words}
        return not self.is_measure and bool(ID_WORDS.intersection(self.words) or stems & ENTITY_WORDS)


Verdict = tuple[str, str, dict[str, Any]]  # kind, reason, other settings of the Field


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
        Columns that are not fields: what to predict, and the weight of each row.
    task : {"auto", "binary", "regression"}
        "auto": two distinct values are binary, more than two numbers regression.
    positive : value, optional
        The class of a binary target encoded as 1.
    overrides : mapping, optional
        Column → kind, or column → settings of its `Field`: ``{"zip": "categorical", "ts": {"parts": ["hour"]}}``.
    min_count : int
        Values seen less often share the unseen feature, unless an override says otherwise.

    Raises
    ------
    SettingError
        The task or an override breaks its rule.
    InputError
        The table has no rows; the target, the weight or an overridden column is not in it; no field is left; or the
        target cannot be used.
    """
    check_choice("task", task, ("auto", *TASKS))
    given = check_overrides(overrides or {})
    for role, name in (("target", target), ("weight", weight), *(("overridden", name) for name in given)):
        if name is not None and name not in frame.columns:
            raise missing_column(role, name, frame.columns)
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


def default_n_bins(n_rows: int) -> int:
    """How many quantile bins so many rows allow."""
    return max(2, min(N_BINS, n_rows // ROWS_PER_BIN))


def _field(series: pl.Series, override: dict[str, Any], min_count: int) -> Field:
    settings: dict[str, Any] = {"name": series.name, "min_count": min_count, "reason": "set by the user", **override}
    if "kind" in settings:
        if settings["kind"] == "tags" and "separator" not in settings and not is_list(series):
            settings["separator"] = _most_frequent_separator(_summarised(series).values)
    elif settings.get("parts"):
        settings["kind"] = "datetime"
    elif settings.get("separator"):
        settings["kind"] = "tags"
    else:
        kind, reason, further = _verdict(series)
        settings = {**further, **settings, "kind": kind, "reason": reason}
    return Field(**settings)


def _summarised(raw: pl.Series) -> _Column:
    series = as_basic(raw)
    counts = pl.DataFrame({"x": series}).group_by("x").agg(pl.len().alias("count"))
    if is_text(series):  # stripped here, where values are few
        counts = counts.group_by(pl.col("x").str.strip_chars(WHITESPACE)).agg(pl.col("count").sum())
    missing = counts.filter(is_missing(series))
    missing_words = tuple(sorted(x for x in missing["x"].to_list() if isinstance(x, str) and x))
    present = counts.filter(~is_missing(series))
    return _Column(raw.name, present, len(series), int(missing["count"].sum()), missing_words)


def _verdict(raw: pl.Series) -> Verdict:
    if raw.dtype.base_type() in (pl.Struct, pl.Binary, pl.Object):
        return "ignore", f"values of type {raw.dtype} cannot be used", {}
    if is_list(raw):
        return _verdict_on_lists(raw)
    column = _summarised(raw)
    kind, reason, settings = _verdict_on_values(column)
    if column.n_missing and kind != "ignore":
        words = " and ".join(map(repr, column.missing_words))
        reason += f"; {_percent(column.n_missing, column.n_rows)} missing" + (f" (including {words})" if words else "")
    return kind, reason, settings


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g}%"


def _verdict_on_lists(raw: pl.Series) -> Verdict:
    inner: Any = raw.dtype.inner  # type: ignore[attr-defined]
    if inner.base_type() in (pl.List, pl.Struct, pl.Array, pl.Binary, pl.Object):
        return "ignore", f"nested lists ({raw.dtype}) cannot be used", {}
    n_present = raw.cast(pl.List(inner)).list.drop_nulls().list.len()
    return ("tags", "lists of values", {}) if (n_present > 0).any() else ("ignore", "every list is empty", {})


def _verdict_on_values(column: _Column) -> Verdict:
    values = column.values
    if column.n_present == 0:
        return "ignore", "every value is missing", {}
    if column.n_distinct == 1 and column.n_missing == 0:
        return "ignore", f"constant: every value is {shown(values[0], width=30)}", {}
    if values.dtype == pl.Boolean:
        return "boolean", "true or false", {}
    if is_datetime(values):
        return _datetimes(column, values, "dates" if values.dtype == pl.Date else "dates and times")
    return _verdict_on_text(column) if is_text(values) else _verdict_on_numbers(column, "")


def _datetimes(column: _Column, datetimes: pl.Series, what: str) -> Verdict:
    return _binned_times(column, f"{what} from {datetimes.min()} to {datetimes.max()}")  # type: ignore[str-bytes-safe]


def _binned_times(column: _Column, what: str) -> Verdict:
    reason = f"{what}, in quantile bins; later ones fall into the last bin"
    advice = 'set parts such as ["hour", "weekday"] for daily or weekly patterns'
    return "datetime", f"{reason}; {advice}", {"n_bins": default_n_bins(column.n_present)}


def _verdict_on_text(column: _Column) -> Verdict:
    values, n = column.values, column.n_distinct
    number = values.cast(pl.Float64, strict=False)
    n_words = int(column.distinct["count"].filter(number.is_null()).sum())
    if n_words == 0:
        distinct = column.distinct.with_columns(x=number).group_by("x").agg(pl.col("count").sum())
        return _verdict_on_numbers(replace(column, distinct=distinct), "numbers stored as text: ")
    if read_datetimes(values.head(100)).null_count() == 0:
        datetimes = read_datetimes(values)
        if datetimes.null_count() == 0:
            return _datetimes(column, datetimes, "ISO dates and times in text")
    tags = _tags(values)
    if tags is not None:
        return tags
    if column.hardly_repeats:
        which = (
            "no value is repeated" if n == column.n_present else f"{column.percent_distinct} of the values are distinct"
        )
        return "ignore", f"text, {which}: an identifier of the row, or free text", {}
    if n_words < 0.5 * column.n_present:
        word = shown(values.filter(number.is_null()).min(), width=30)
        what = f"mostly numbers, but {n_words:,} of {column.n_present:,} values are not, such as {word}"
        return "categorical", f"{what}: treated as text, {n:,} distinct values", {}
    return "categorical", f"text, {n:,} distinct value{'s' * (n != 1)}", {}


def _tags(values: pl.Series) -> Verdict | None:
    """Text is tags if splitting it leaves at most half as many tags, each in three texts on average."""
    for separator in SEPARATORS:
        if values.str.contains(separator, literal=True).sum() < max(3, 0.1 * len(values)):
            continue
        tags = values.str.split(separator).explode().str.strip_chars(WHITESPACE)
        tags = tags.filter(tags != "")
        n_tags = tags.n_unique()
        if n_tags <= 0.5 * len(values) and len(tags) >= 3 * n_tags:
            reason = f"text with values separated by {separator!r}: {n_tags:,} tags in {len(values):,} combinations"
            return "tags", reason, {"separator": separator}
    return None


def _most_frequent_separator(values: pl.Series) -> str:
    """The separator that occurs in the most values, for a column that is known to hold tags."""
    text = as_text(values)
    return max(SEPARATORS, key=lambda separator: int(text.str.contains(separator, literal=True).sum()))


def _verdict_on_numbers(column: _Column, prefix: str) -> Verdict:
    values = column.values if column.values.dtype == pl.Int64 else column.values.filter(column.values.is_finite())
    whole = as_integers(values)
    is_whole = whole.null_count() == 0
    if is_whole and len(whole):
        verdict = _verdict_on_integers(column, whole)
        if verdict is not None:
            kind, reason, settings = verdict
            return kind, prefix + reason, settings
    n_bins = default_n_bins(column.n_present)
    bins = "one bin each" if column.n_distinct <= n_bins else f"in {n_bins} quantile bins"
    reason = f"{prefix}{column.n_distinct:,} distinct {'whole numbers' if is_whole else 'numbers'}, {bins}"
    if is_whole and _time_range(column, whole):
        reason += '; may be seconds since 1970: if so, set kind = "datetime"'
    return "numeric", reason, {"n_bins": n_bins}


def _verdict_on_integers(column: _Column, values: pl.Series) -> Verdict | None:
    """The verdict on whole numbers, None if they are a quantity."""
    low, high, n = int(values.min()), int(values.max()), column.n_distinct  # type: ignore[arg-type]
    span = high - low + 1
    if column.n_present >= MIN_ROWS and not column.is_measure and n == column.n_present and span <= 1.05 * n:
        return "ignore", "whole numbers, no value is repeated: an identifier of the row", {}
    if column.hardly_repeats and column.is_identifier:
        what = f"whole numbers with the name of an identifier, {column.percent_distinct} distinct"
        return "ignore", f"{what}: too few values are repeated", {}
    if n <= 2:
        return "categorical", "two whole numbers" if n == 2 else "one whole number, or missing", {}
    time_range = _time_range(column, values)
    if time_range and TIME_WORDS.intersection(column.words):
        return _binned_times(column, time_range)
    if column.is_identifier:
        return "categorical", f"{n:,} distinct whole numbers with the name of an identifier", {}
    if column.is_measure or low < 0:
        return None
    if high <= 366 and CALENDAR_WORDS.intersection(column.words):
        return "categorical", f"whole numbers from {low} to {high} with the name of a calendar unit", {}
    if _looks_like_codes(column, span):
        reason = f"{n:,} distinct whole numbers; neighbouring values differ in frequency, as those of codes do"
        return "categorical", reason, {}
    return None


def _time_range(column: _Column, values: pl.Series) -> str:
    """Words for whole numbers that can all be times from 1980 to 2100, counted since 1970; empty if they cannot."""
    unit = epoch_unit(values)
    first, last = (int(end) / EPOCH_UNITS[unit] for end in (values.min(), values.max()))  # type: ignore[arg-type]
    if column.n_distinct < MIN_ROWS or not EARLIEST_SECOND <= first <= last <= LATEST_SECOND:
        return ""
    start, end = (number_label(seconds, "s")[:10] for seconds in (first, last))
    return f"whole numbers, {unit} since 1970, from {start} to {end}"


def _looks_like_codes(column: _Column, span: int) -> bool:
    """Whether neighbouring values occur with unrelated frequencies.

    For a quantity the frequencies of neighbours c and d are about equal, up to chance, and (c − d)² / (c + d) has the
    median of χ² with one degree of freedom, 0.45; for codes it is much larger. Round numbers that are much more
    frequent hardly change the median.
    """
    if column.n_distinct < 100 or column.n_present < 5 * column.n_distinct or column.n_distinct < 0.3 * span:
        return False
    counts = column.distinct.sort("x")["count"].to_numpy().astype(np.float64)
    left, right = counts[:-1], counts[1:]
    return float(np.median((left - right) ** 2 / (left + right))) > 3.0
