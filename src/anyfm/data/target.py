"""The target column, inferred and encoded as 0/1 or a number; and the weight column."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, shown
from anyfm.core.rows import MAX_WEIGHT, Floats, Targets
from anyfm.core.task import get_task
from anyfm.data.cleaning import Cleaner, number_text_of
from anyfm.data.messages import input_error
from anyfm.data.schema import Target
from anyfm.data.values import as_basic, as_numbers, as_text, is_list, missing_mask, series_of

POSITIVE_WORDS = ("1", "true", "yes", "y", "t", "+1", "positive", "pos", "click", "clicked", "won", "success")


def infer_target(series: pl.Series, *, task: str = "auto", positive: Any = None) -> Target:
    """The task of a target column and, for two classes, which one is positive.

    "auto" takes two distinct values for binary and more than two numbers for regression. The positive class is the
    one with a positive meaning ("1", "true", "yes", … in any case), otherwise the last in sort order.

    Raises
    ------
    InputError
        The column has no rows, a missing value, only one value, more than two values for a binary target, text for a
        regression target, or infinite numbers.
    """
    series = as_basic(series)
    _check_present(series)
    if len(series) == 0:
        raise input_error("a target needs at least one row", column=series.name)
    distinct = as_text(series).unique().sort()
    format = _number_format(distinct)
    if format:
        series = Cleaner(format).column(series)
    is_number = not np.isnan(as_numbers(series)).any()
    if task == "auto":
        task = "regression" if len(distinct) > 2 and is_number else "binary"
    if len(distinct) == 1:
        raise input_error(
            "a target must have at least two distinct values, but every row has the same",
            column=series.name,
            value=distinct[0],
            remedy="Check the filter that selected the rows, or the column.",
        )
    if not get_task(task).is_classification:
        _check_numbers(series, task)
        return Target(name=series.name, task=task, reason=f"{len(distinct):,} distinct numbers: {task}", format=format)
    if len(distinct) > 2:
        raise _too_many_values(series, distinct)
    low, high = distinct.to_list()
    if is_number and float(as_numbers(pl.Series([low]))[0]) > float(as_numbers(pl.Series([high]))[0]):
        low, high = high, low
    chosen, why = _positive_class(series.name, low, high, positive, is_number=is_number)
    percent = 100 * (as_text(series) == chosen).sum() / len(series)
    return Target(
        name=series.name,
        task=task,
        classes=(high if chosen == low else low, chosen),
        positive=chosen,
        reason=f"two values: {task}; {chosen!r} is positive ({why}), {percent:.3g}% of rows",
    )


def _number_format(distinct: pl.Series) -> str:
    """The format in which all of more than two texts are numbers with commas; empty if there is none."""
    if len(distinct) <= 2 or not distinct.str.contains(",", literal=True).any():
        return ""
    texts = distinct.to_list()
    return next(
        (
            format
            for format in ("thousands_comma", "decimal_comma")
            if all(number_text_of(text, format) is not None or _is_plain(text) for text in texts)
        ),
        "",
    )


def _is_plain(text: str) -> bool:
    return text.strip().replace(".", "", 1).lstrip("+-").isdecimal()


def _positive_class(column: str, low: str, high: str, positive: Any, *, is_number: bool) -> tuple[str, str]:
    """The positive one of two classes, and why."""
    if positive is not None:
        chosen: str = as_text(series_of(positive))[0]
        if chosen not in (low, high):
            raise input_error(f"the positive class must be one of {low!r} and {high!r}", column=column, value=positive)
        return chosen, "set by the user"
    words = [value for value in (low, high) if value.lower() in POSITIVE_WORDS]
    if len(words) == 1:
        return words[0], "by its meaning"
    return high, "the larger number" if is_number else "the last in sort order"


def encode_target(series: pl.Series, target: Target) -> Targets:
    """The target, of shape (n_rows,): 1 for the positive class and 0 for the other as float32, or the number as
    float64.

    Raises
    ------
    InputError
        A value is missing, belongs to neither class, or is not a finite number; the text names its row.
    """
    series = as_basic(series)
    _check_present(series)
    if target.format:
        series = Cleaner(target.format).column(series)
    if not target.is_classification:
        return _check_numbers(series, target.task)
    assert target.classes is not None
    text = as_text(series)
    is_positive: NDArray[np.bool_] = (text == target.classes[1]).to_numpy()
    neither = ~is_positive & (text != target.classes[0]).to_numpy()
    if neither.any():  # perhaps the same values written differently
        numbers, classes = _truth_numbers(series), _truth_numbers(pl.Series(list(map(str, target.classes))))
        is_positive = numbers == classes[1]
        if not (is_positive | (numbers == classes[0])).all():
            rule = f"a target must be {target.classes[0]!r} or {target.classes[1]!r}, as in training"
            _refuse_rows(neither, series, rule)
    return is_positive.astype(np.float32)


def _truth_numbers(series: pl.Series) -> NDArray[np.float64]:
    """The values as numbers, so that "1.0", 1 and true are the same class; NaN for other text."""
    return as_numbers(as_text(series).str.to_lowercase().replace({"true": "1", "false": "0"}))


def encode_weight(series: pl.Series) -> Floats:
    """Row weights as float32 of shape (n_rows,).

    Raises
    ------
    InputError
        A weight is missing, negative or not a finite number, or all are zero; the text names the row.
    """
    series = as_basic(series)
    weight = as_numbers(series)
    _refuse_rows(
        ~((weight >= 0) & (weight <= MAX_WEIGHT)),
        series,
        f"a row weight must be a finite number from 0 to {MAX_WEIGHT:,.0f}",
        remedy="Give weight 0 to rows that should not count; divide large weights by their mean.",
    )
    if len(weight) and not weight.any():
        raise input_error("row weights must not all be 0", column=series.name)
    return weight.astype(np.float32)


def _check_present(series: pl.Series) -> None:
    if is_list(series):
        raise input_error("a target must hold one value per row, but this column holds lists", column=series.name)
    missing = missing_mask(series)
    n_missing = int(missing.sum())
    _refuse_rows(
        missing,
        series,
        f"a target must not be missing, but it is in {n_missing:,} of {len(series):,} rows; the first",
        remedy="Leave those rows out, or fill the target in.",
    )


def _check_numbers(series: pl.Series, task: str) -> NDArray[np.float64]:
    """The numbers of a target that is no class."""
    numbers, least = as_numbers(series), get_task(task).least_target
    _refuse_rows(np.isnan(numbers), series, f"a {task} target must be a number")
    _refuse_rows(numbers < least, series, f"a {task} target must be at least {least:g}")
    _refuse_rows(
        np.abs(numbers) > np.finfo(np.float32).max,
        series,
        f"a {task} target must be a finite number of at most 3.4e38",
        remedy="Leave those rows out.",
    )
    return numbers


def _refuse_rows(bad: NDArray[np.bool_], series: pl.Series, rule: str, remedy: str | None = None) -> None:
    """Raise InputError for the first row where `bad`, naming its number and value."""
    if bad.any():
        row = int(np.argmax(bad))
        value = "missing" if series[row] is None else series[row]
        raise input_error(rule, row=row + 1, column=series.name, value=value, remedy=remedy)


def _too_many_values(series: pl.Series, distinct: pl.Series) -> InputError:
    examples = ", ".join(shown(value, width=30) for value in distinct.head(4)) + (", …" if len(distinct) > 4 else "")
    third = int(np.sort(as_text(series).arg_unique().to_numpy())[2])
    return input_error(
        f"a binary target must have two values, but it has {len(distinct):,}: {examples}; the third first occurs",
        row=third + 1,
        column=series.name,
        value=series[third],
        remedy="A model tells two classes apart: train one for each class against the rest (a column such as "
        f"{series.name} == {shown(distinct[0], width=30)}), or, if it is a number to predict, use "
        'task = "regression".',
    )
