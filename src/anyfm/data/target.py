"""The target column: which task it asks for, and its coding as 0/1 or a number; and the weight column."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, located, shown
from anyfm.core.rows import Floats
from anyfm.data.schema import Target
from anyfm.data.values import as_text, is_list, missing_mask, numbers, on, one, plain

POSITIVE_WORDS = ("1", "true", "yes", "y", "t", "+1", "positive", "pos", "click", "clicked", "won", "success")


def infer_target(series: pl.Series, *, task: str = "auto", positive: Any = None) -> Target:
    """The task of a target column and, for two classes, which is positive.

    "auto" takes two distinct values for binary and more than two numbers for regression. The positive class is the
    one that says so ("1", "true", "yes", … in any case) or else the later in order.

    Raises
    ------
    InputError
        The column has no rows, a missing value, one value only, more than two values for a binary target, text for a
        regression target, or infinite numbers.
    """
    series = plain(series)
    _refuse_missing(series)
    if len(series) == 0:
        raise InputError(located("a target needs at least one row", column=series.name))
    distinct = as_text(series).unique().sort()
    is_number = not np.isnan(numbers(series)).any()
    if task == "auto":
        if len(distinct) > 2 and not is_number:
            raise _too_many(series, distinct)
        task = "binary" if len(distinct) <= 2 else "regression"
    if len(distinct) == 1:
        raise InputError(
            located(
                "a target must have at least two distinct values, but every row has the same",
                column=series.name,
                value=distinct[0],
                remedy="Check the filter that made the rows, or the column.",
            )
        )
    if task == "regression":
        if not is_number:
            _refuse_no_number(series)
        _refuse_infinite(series)
        return Target(name=series.name, task="regression", reason=f"{len(distinct):,} distinct numbers: regression")
    if len(distinct) > 2:
        raise _too_many(series, distinct)
    return _binary(series, distinct, positive, is_number)


def _binary(series: pl.Series, distinct: pl.Series, positive: Any, is_number: bool) -> Target:
    low, high = distinct.to_list()
    if is_number and float(numbers(pl.Series([low]))[0]) > float(numbers(pl.Series([high]))[0]):
        low, high = high, low
    if positive is not None:
        chosen, why = as_text(one(positive))[0], "as asked"
        if chosen not in (low, high):
            raise InputError(
                located(f"the positive class must be one of {low!r} and {high!r}", column=series.name, value=positive)
            )
    else:
        words = [value for value in (low, high) if value.lower() in POSITIVE_WORDS]
        chosen = words[0] if len(words) == 1 else high
        why = "the value that says so" if len(words) == 1 else "the greater" if is_number else "the later in order"
    other = high if chosen == low else low
    share = float((as_text(series) == chosen).mean() or 0.0)
    return Target(
        name=series.name,
        task="binary",
        classes=(other, chosen),
        positive=chosen,
        reason=f"two values: binary; {chosen!r} is positive ({why}), {100 * share:.3g}% of rows",
    )


def code_target(series: pl.Series, target: Target) -> Floats:
    """The target as float32 of shape (n_rows,): 1 for the positive class and 0 for the other, or the number.

    Raises
    ------
    InputError
        A value is missing, is of neither class, or is no finite number; the text names its row.
    """
    series = plain(series)
    _refuse_missing(series)
    if target.task == "regression":
        _refuse_no_number(series)
        _refuse_infinite(series)
        return numbers(series).astype(np.float32)
    assert target.classes is not None
    text = as_text(series)
    is_positive: NDArray[np.bool_] = (text == target.classes[1]).to_numpy()
    neither = np.flatnonzero(~is_positive & (text != target.classes[0]).to_numpy())
    if len(neither):
        by_number = _by_number(series, target)
        if by_number is not None:
            return by_number
        row = int(neither[0])
        raise InputError(
            located(
                f"a target must be {target.classes[0]!r} or {target.classes[1]!r}, as in training",
                row=row + 1,
                column=series.name,
                value=series[row],
            )
        )
    return is_positive.astype(np.float32)


def _by_number(series: pl.Series, target: Target) -> Floats | None:
    """The coding by numeric value ("1.0" is 1, true is 1); None where a value is still of neither class."""
    assert target.classes is not None
    words = {"true": 1.0, "false": 0.0}
    classes = [words.get(str(c).lower(), numbers(pl.Series([str(c)]))[0]) for c in target.classes]
    came = numbers(series)
    if series.dtype == pl.String:
        lowered = on(series, pl.col("x").str.to_lowercase())
        came = np.where((lowered == "true").to_numpy(), 1.0, np.where((lowered == "false").to_numpy(), 0.0, came))
    if np.isnan(classes).any() or not ((came == classes[0]) | (came == classes[1])).all():
        return None
    coded: Floats = (came == classes[1]).astype(np.float32)
    return coded


def code_weight(series: pl.Series) -> Floats:
    """Row weights as float32 of shape (n_rows,).

    Raises
    ------
    InputError
        A weight is missing, negative or no finite number, or all are zero; the text names the row.
    """
    series = plain(series)
    weight = numbers(series) if not is_list(series) else np.full(len(series), np.nan)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise InputError(
            located(
                "a row weight must be a finite number of at least 0",
                row=int(bad[0]) + 1,
                column=series.name,
                value=_shown_value(series, int(bad[0])),
                remedy="Give weight 0 to rows that should not count.",
            )
        )
    if len(weight) and not weight.any():
        raise InputError(located("row weights must not all be 0", column=series.name))
    return weight.astype(np.float32)


def _shown_value(series: pl.Series, row: int) -> Any:
    value = series[row]
    return "missing" if value is None else value


def _refuse_missing(series: pl.Series) -> None:
    if is_list(series):
        raise InputError(located("a target must hold one value a row, but this column holds lists", column=series.name))
    missing = np.flatnonzero(missing_mask(series))
    if len(missing):
        row = int(missing[0])
        raise InputError(
            located(
                f"a target must not be missing, but it is in {len(missing):,} of {len(series):,} rows; the first",
                row=row + 1,
                column=series.name,
                value=_shown_value(series, row),
                remedy="Leave those rows out, or fill the target in.",
            )
        )


def _refuse_no_number(series: pl.Series) -> None:
    bad = np.flatnonzero(np.isnan(numbers(series)))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            located("a regression target must be a number", row=row + 1, column=series.name, value=series[row])
        )


def _refuse_infinite(series: pl.Series) -> None:
    number = numbers(series)
    bad = np.flatnonzero(~(np.abs(number) <= np.finfo(np.float32).max))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            located(
                "a regression target must be a finite number of at most 3.4e38",
                row=row + 1,
                column=series.name,
                value=float(number[row]),
                remedy="Leave those rows out.",
            )
        )


def _too_many(series: pl.Series, distinct: pl.Series) -> InputError:
    examples = ", ".join(shown(value, width=30) for value in distinct.head(4))
    third = int(np.sort(as_text(series).arg_unique().to_numpy())[2])
    return InputError(
        located(
            f"a binary target must have two values, but it has {len(distinct):,}: {examples}"
            + ("" if len(distinct) <= 4 else ", …")
            + "; the third is first met",
            row=third + 1,
            column=series.name,
            value=series[third],
            remedy='Turn it into two values, or, if it is a number to predict, use task = "regression".',
        )
    )
