"""Inference of a schema: the kind of each column, with the reason in words.

All rows of a column are looked at, never a sample, so the answer depends on the rows but not on their order.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from anyfm.core.errors import InputError, shown
from anyfm.core.forks import check_polars
from anyfm.core.task import TASKS
from anyfm.data.cleaning import Cleaner, items_of, number_text_of, seconds_text_of
from anyfm.data.dates import EARLIEST_SECOND, EPOCH_UNITS, LATEST_SECOND, epoch_unit, number_label, read_datetimes
from anyfm.data.messages import check_choice, input_error, missing_column
from anyfm.data.moments import date_of_digits, date_order
from anyfm.data.schema import FORMATS, MIN_COUNT, N_BINS, Field, Schema, check_overrides
from anyfm.data.target import infer_target
from anyfm.data.values import (
    EXACT,
    LEADING_ZERO,
    WHITESPACE,
    as_basic,
    as_integers,
    as_text,
    is_datetime,
    is_list,
    is_missing,
    is_text,
)

log = logging.getLogger(__name__)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROWS_PER_BIN = 25
MIN_ROWS = 20
"""In fewer rows, values may all be distinct by chance."""
MIN_REPEATED = 0.05
"""With a smaller fraction of repeated values, a column is an identifier of the row."""
MAX_ODD_WORDS = 3
"""So many different words among numbers or times count as missing values."""
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
    "qty rating delay salary revenue sales spend spent budget paid views clicks impressions followers votes likes "
    "visits population area sqft mileage speed power volume temperature"
)
TIME_WORDS = _words("time timestamp ts date datetime created updated at when epoch")
SEPARATORS = ("|", ";", ",", "/", "+", "\t", " ")
_INTEGER = r"^[+-]?\d+$"


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
    missing: Sequence[str] = (),
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
    missing : sequence of str
        Words and numbers that count as missing in every field, besides `anyfm.data.values.MISSING_WORDS`.

    Raises
    ------
    SettingError
        The task or an override breaks its rule.
    InputError
        The table has no rows; the target, the weight or an overridden column is not in it; no field is left; or the
        target cannot be used.
    """
    check_polars("learning from a table")
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
        _field(frame[name], given.get(name, {}), min_count, tuple(missing))
        for name in frame.columns
        if name not in (target, weight)
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


def _field(series: pl.Series, override: dict[str, Any], min_count: int, missing: tuple[str, ...]) -> Field:
    settings: dict[str, Any] = {"name": series.name, "min_count": min_count, "reason": "set by the user", **override}
    settings["missing"] = (*missing, *settings.get("missing", ()))
    raw = Cleaner(missing=settings["missing"]).column(series) if settings["missing"] else series
    if "kind" not in settings and settings.get("parts"):
        settings["kind"] = "datetime"
    elif "kind" not in settings and settings.get("separator"):
        settings["kind"] = "tags"
    if "kind" in settings:
        found = _format_of(raw, settings)
        shown_as = [
            found.get("time_zone") and f"times of day are those of {found['time_zone']}",
            FORMATS.get(found.get("format", "")),
        ]
        settings = {**found, **settings}
        if "reason" not in override:
            settings["reason"] = "; ".join(["set by the user", *(text for text in shown_as if text)])
    else:
        kind, reason, further = _verdict(raw)
        words = further.pop("missing", ())
        settings = {**further, **settings, "kind": kind, "reason": reason}
        settings["missing"] = (*settings["missing"], *words)
    return Field(**settings)


def _format_of(series: pl.Series, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a column is written, for a kind that the user gave.

    Raises
    ------
    InputError
        Tags are asked for, and no separator occurs.
    """
    kind = settings["kind"]
    if kind == "datetime" and getattr(series.dtype, "time_zone", None) not in (None, "UTC"):
        return {"time_zone": series.dtype.time_zone}  # type: ignore[attr-defined]
    if kind not in ("tags", "numeric", "scaled", "log", "datetime") or settings.get("format"):
        return {}
    if is_list(series) or series.dtype.base_type() in (pl.Struct, pl.Binary, pl.Object):
        return {}
    column = _summarised(series)
    if kind == "tags":
        return {} if "separator" in settings or not is_text(column.values) else _tags_format(column)
    if kind == "datetime":
        return _dates_format(column, certain=True)[0] if not is_datetime(column.values) else {}
    found = _number_format(column.values.to_list()) if is_text(column.values) else None
    return {"format": found} if found else {}


def _tags_format(column: _Column) -> dict[str, Any]:
    """The separator of a text column that is known to hold tags, or that it holds lists."""
    values = column.values
    if len(values) == 0:
        return {"separator": "|"}
    if all(items_of(value) is not None for value in values.to_list()):
        return {"format": "list"}
    counts = {mark: int(values.str.contains(mark, literal=True).sum()) for mark in SEPARATORS}
    best = max(SEPARATORS[:-1], key=lambda mark: counts[mark])
    if counts[best] < 0.1 * len(values) and counts[" "] > counts[best]:
        best = " "
    if not counts[best]:
        raise input_error(
            "tags need a separator between them, but none of "
            + ", ".join(map(repr, SEPARATORS))
            + " occurs in this column",
            column=column.name,
            value=values.min(),
            remedy=f'Name it ({column.name}=tags:"-"), or take the kind categorical.',
        )
    return {"separator": best}


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
    if raw.dtype.base_type() in (pl.Categorical, pl.Enum) and column.n_present:
        kind, reason, settings = _verdict_on_dictionary(column)
    else:
        kind, reason, settings = _verdict_on_values(column)
    zone = getattr(raw.dtype, "time_zone", None)
    if kind == "datetime" and zone is not None:
        reason += f"; times of day are those of {zone}"
        settings = settings if zone == "UTC" else {**settings, "time_zone": zone}
    odd = settings.get("missing", ())
    n_missing = column.n_missing + int(
        column.distinct.filter(pl.col("x").is_in(list(odd)))["count"].sum() if odd else 0
    )
    if n_missing and kind != "ignore":
        words = " and ".join(map(repr, (*column.missing_words, *odd)))
        reason += f"; {_percent(n_missing, column.n_rows)} missing" + (f" (including {words})" if words else "")
    return kind, reason, settings


def _verdict_on_dictionary(column: _Column) -> Verdict:
    """The verdict on a dictionary type of pandas, polars or Arrow: categorical, whatever its values look like."""
    n = column.n_distinct
    if n == 1 and column.n_missing == 0:
        return "ignore", f"constant: every value is {shown(column.values[0], width=30)}", {}
    if column.n_present >= MIN_ROWS and n == column.n_present:
        return "ignore", "a dictionary type, no value is repeated: an identifier of the row", {}
    return "categorical", f"a dictionary type, {n:,} distinct value{'s' * (n != 1)}", {}


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
    is_word = number.is_null()
    if not is_word.any():
        return _verdict_on_number_text(column, number)
    for write, odd in _without_odd_words(column, is_word):
        verdict = _verdict_on_written(write)
        if verdict is not None and (not odd or verdict[0] in ("numeric", "datetime")):
            kind, reason, settings = verdict
            return kind, reason, {**settings, "missing": odd} if odd else settings
    tags = _tags(values)
    if tags is not None:
        return tags
    if column.hardly_repeats:
        which = (
            "no value is repeated" if n == column.n_present else f"{column.percent_distinct} of the values are distinct"
        )
        return "ignore", f"text, {which}: an identifier of the row, or free text", {}
    n_words = int(column.distinct["count"].filter(is_word).sum())
    if n_words < 0.5 * column.n_present:
        word = shown(values.filter(is_word).min(), width=30)
        what = f"mostly numbers, but {n_words:,} of {column.n_present:,} values are not, such as {word}"
        return "categorical", f"{what}: treated as text, {n:,} distinct values", {}
    return "categorical", f"text, {n:,} distinct value{'s' * (n != 1)}", {}


def _without_odd_words(column: _Column, is_word: pl.Series) -> list[tuple[_Column, tuple[str, ...]]]:
    """The column; and without its few words that have no digit, if numbers or times are left."""
    columns: list[tuple[_Column, tuple[str, ...]]] = [(column, ())]
    has_digit = column.values.str.contains(r"\d")
    odd = column.distinct.filter(is_word & ~has_digit)
    n_odd = int(odd["count"].sum())
    if 0 < len(odd) <= MAX_ODD_WORDS and n_odd < 0.5 * column.n_present:
        rest = column.distinct.filter(has_digit)
        further = replace(column, distinct=rest, n_missing=column.n_missing + n_odd)
        columns.append((further, tuple(sorted(odd["x"].to_list()))))
    return columns


def _verdict_on_written(column: _Column) -> Verdict | None:
    """The verdict on text that is numbers, dates or times of day throughout; None if it is not."""
    number = column.values.cast(pl.Float64, strict=False)
    if number.null_count() == 0:
        return _verdict_on_number_text(column, number)
    settings, doubt = _dates_format(column)
    if settings is not None:
        if settings.get("format") in ("dmy", "mdy"):
            which = "day first" if settings["format"] == "dmy" else "month first"
            kind, reason, further = _binned_times(column, f"dates in text, {which}")
            return kind, reason + (f"; {doubt}" if doubt else ""), {**further, **settings}
        datetimes = read_datetimes(column.values)
        kind, reason, further = _datetimes(column, datetimes, "ISO dates and times in text")
        if column.values.str.contains(r":\d{2}.*(?:[zZ]|[+-]\d{2}(?::?\d{2})?|UTC|GMT)$").any():
            reason += "; times of day are those of UTC, unless time_zone is set"
        return kind, reason, further
    format = _number_format(column.values.to_list())
    if format is None:
        return None
    write: Callable[[str], str | None] = (
        seconds_text_of if format == "clock" else lambda text: number_text_of(text, format)
    )
    texts = [write(value) or value for value in column.values.to_list()]
    numbers = pl.Series("x", texts).cast(pl.Float64)
    distinct = column.distinct.with_columns(x=numbers).group_by("x").agg(pl.col("count").sum())
    n_bins = default_n_bins(column.n_present)
    example = shown(column.values.sort()[-1], width=30)
    what = {"clock": "times of day", "decimal_comma": "numbers with a decimal comma"}
    reason = f"{what.get(format, 'numbers with commas between thousands')} such as {example}"
    return "numeric", f"{reason}, {len(distinct):,} distinct, in bins", {"n_bins": n_bins, "format": format}


def _verdict_on_number_text(column: _Column, number: pl.Series) -> Verdict:
    """The verdict on text that is numbers throughout."""
    values = column.values
    if values.str.contains(LEADING_ZERO).any():
        return _verdict_on_codes(column, "text of digits with leading zeros")
    whole = values.str.contains(_INTEGER).all()
    if whole and float(number.abs().max() or 0) >= EXACT:  # type: ignore[arg-type]
        integers = values.cast(pl.Int64, strict=False)
        if integers.null_count():
            return _verdict_on_codes(column, "whole numbers beyond 64 bits")
        number = integers
    distinct = column.distinct.with_columns(x=number).group_by("x").agg(pl.col("count").sum())
    return _verdict_on_numbers(replace(column, distinct=distinct), "numbers stored as text: ")


def _verdict_on_codes(column: _Column, what: str) -> Verdict:
    """The verdict on whole numbers that name something."""
    settings, _ = _dates_format(column)
    if settings is not None:
        return _compact_times(column, settings)
    if column.hardly_repeats:
        return "ignore", f"{what}, {column.percent_distinct} distinct: too few values are repeated", {}
    return "categorical", f"{what}: {column.n_distinct:,} distinct codes", {}


def _compact_times(column: _Column, settings: dict[str, Any]) -> Verdict:
    kind, reason, further = _binned_times(column, f"dates of digits alone ({settings['format']})")
    return kind, reason, {**further, **settings}


def _dates_format(column: _Column, *, certain: bool = False) -> tuple[Any, str]:
    """The settings with which all values are dates, and a doubt about them in words; (None, "") if there are none.

    `certain`: the user says that they are dates; an empty mapping then stands for no special format.
    """
    nothing: tuple[Any, str] = ({} if certain else None, "")
    values = column.values
    if len(values) == 0:
        return nothing
    if not is_text(values) or values.str.contains(r"^\d+$").all():
        whole = as_integers(values) if not is_text(values) else values
        if whole.null_count():
            return nothing
        digits = as_text(whole).to_list()
        format = _digits_format(column, digits, certain=certain)
        return ({"format": format}, "") if format else nothing
    if not values.head(20).str.contains(r"\d").all():
        return nothing
    for texts in (values.head(100).to_list(), values.to_list()):
        found = date_order(texts)
        if found is None and not certain:
            return nothing
    if found is None:  # the user says so: the order in which most are dates
        counts = {order: sum(_is_date(text, order) for text in values.to_list()) for order in ("ymd", "dmy", "mdy")}
        best = max(counts, key=lambda order: counts[order])
        return ({} if best == "ymd" else {"format": best}), ""
    order, doubt = found
    return ({} if order == "ymd" else {"format": order}), doubt


def _is_date(text: str, order: str) -> bool:
    return date_order([text]) is not None and (order == "ymd") == (date_order([text]) == ("ymd", ""))


def _digits_format(column: _Column, digits: list[str], *, certain: bool) -> str | None:
    """The format in which all these digits are dates, if there are enough of them or the column is named for a time."""
    named = certain or bool((TIME_WORDS | CALENDAR_WORDS).intersection(column.words))
    if column.is_identifier and not certain:
        return None
    formats = ("yyyymmdd", "yymmddhh", "yyyymm") if named else ("yyyymmdd", "yymmddhh")
    for format in formats:
        if len(digits) < (2 if named else 5) and not certain:
            continue
        lengths = {len(text) for text in digits}
        if (len(lengths) == 1 or (format == "yymmddhh" and lengths <= {7, 8})) and all(
            date_of_digits(text, format) is not None for text in digits
        ):
            return format
    return None


def _number_format(texts: list[str]) -> str | None:
    """The format in which all texts are numbers with commas, or times of day; None if there is none."""
    if not texts:
        return None
    if all(seconds_text_of(text) is not None for text in texts):
        return "clock"
    plain = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?").fullmatch

    def fits(format: str, *, also_plain: bool) -> bool:
        return all(
            number_text_of(text, format) is not None or (also_plain and plain(text.strip(WHITESPACE)) is not None)
            for text in texts
        )

    if not any("," in text for text in texts):
        return None
    thousands = fits("thousands_comma", also_plain=True)
    # "0,125" is no group of thousands
    if thousands and not any(re.match(r"[+-]?0\d*,", text.strip(WHITESPACE)) for text in texts):
        return "thousands_comma"
    return "decimal_comma" if fits("decimal_comma", also_plain=False) else None


def _tags(values: pl.Series) -> Verdict | None:
    """Text is tags if splitting it leaves at most half as many tags, each in three texts on average.

    Blanks also separate words that belong together, so they need a tenth as many tags as texts, and texts of
    different lengths. Tags are never made of digits alone.
    """
    lists = [items_of(value) for value in values.to_list()] if _all_lists(values) else None
    if lists is not None and all(items is not None for items in lists):
        found = {item for items in lists for item in items or ()}
        return "tags", f"text that holds lists: {len(found):,} tags in {len(values):,} combinations", {"format": "list"}
    for separator in SEPARATORS:
        if values.str.contains(separator, literal=True).sum() < max(3, 0.1 * len(values)):
            continue
        split = values.str.split(separator).list.eval(pl.element().str.strip_chars(WHITESPACE))
        tags = split.explode()
        tags = tags.filter(tags != "")
        n_tags = tags.n_unique()
        if separator == " " and (split.list.len().n_unique() < 2 or n_tags > 0.1 * len(values)):
            continue
        if tags.str.contains(r"^[\d.,:-]+$").all():
            continue
        if n_tags <= 0.5 * len(values) and len(tags) >= 3 * n_tags:
            reason = f"text with values separated by {separator!r}: {n_tags:,} tags in {len(values):,} combinations"
            return "tags", reason, {"separator": separator}
    return None


def _all_lists(values: pl.Series) -> bool:
    return bool(values.str.contains(r"^\s*[\[{(].*[\]})]\s*$").all())


def _verdict_on_numbers(column: _Column, prefix: str) -> Verdict:
    values = column.values if column.values.dtype == pl.Int64 else column.values.filter(column.values.is_finite())
    whole = as_integers(values)
    is_whole = whole.null_count() == 0
    if is_whole and len(whole):
        verdict = _verdict_on_integers(column, whole)
        if verdict is not None:
            kind, reason, settings = verdict
            return kind, prefix + reason, settings
    is_large = float(values.abs().max() or 0) >= EXACT  # type: ignore[arg-type]
    if not is_whole and column.is_identifier and is_large and (values == values.round()).all():
        return _verdict_on_codes(column, prefix + "whole numbers too large for a quantity")
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
    dates, _ = _dates_format(column)
    if dates is not None:
        return _compact_times(column, dates)
    time_range = _time_range(column, values)
    is_time = bool(time_range) and (bool(TIME_WORDS.intersection(column.words)) or (values % 1000 == 0).all())
    if column.hardly_repeats and column.is_identifier:
        what = f"whole numbers with the name of an identifier, {column.percent_distinct} distinct"
        return "ignore", f"{what}: too few values are repeated", {}
    may_be_time = is_time or (bool(time_range) and span > 1.05 * n)
    if column.n_present >= MIN_ROWS and not column.is_measure and n == column.n_present and not may_be_time:
        return "ignore", "whole numbers, no value is repeated: an identifier of the row", {}
    if max(-low, high) >= EXACT and not is_time:
        return _verdict_on_codes(column, "whole numbers too large for a quantity")
    if n <= 2:
        return "categorical", "two whole numbers" if n == 2 else "one whole number, or missing", {}
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
