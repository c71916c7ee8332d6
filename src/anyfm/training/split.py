"""Dividing rows into training and validation rows: at random, by time, by the last row of each group, in folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import InputError, SettingError, got, located

Index = NDArray[np.int64]
Split = tuple[Index, Index]


def split_fraction(n_rows: int, fraction: float, *, seed: int, stratify: ArrayLike | None = None) -> Split:
    """Hold out a random fraction of the rows.

    Parameters
    ----------
    n_rows : int
        At least 2.
    fraction : float
        The fraction to hold out, above 0 and below 1; rounded to rows, with at least one row in each part.
    seed : int
        Equal seeds give equal splits.
    stratify : array of shape (n_rows,), optional
        Classes; each is divided by the same fraction, so that a rare one is in both parts if it has two rows.

    Returns
    -------
    training, validation : int64 arrays
        Row numbers from 0, ascending; every row is in exactly one.
    """
    _check(n_rows, fraction)
    shuffled = np.random.default_rng(seed).permutation(n_rows)
    classes = np.zeros(n_rows) if stratify is None else np.asarray(stratify)
    if classes.shape != (n_rows,):
        raise SettingError(got(f"stratify must have shape ({n_rows},)", stratify=classes.shape))
    members = classes[shuffled]
    held = [
        rows[: _held_out(len(rows), fraction)]
        for rows in (shuffled[members == value] for value in np.unique(classes))
        if len(rows) > 1
    ]
    if not held:
        raise InputError(got("stratify needs a class of at least two rows", n_rows=n_rows))
    validation = np.zeros(n_rows, bool)
    validation[np.concatenate(held)] = True
    return np.flatnonzero(~validation), np.flatnonzero(validation)


def split_folds(n_rows: int, n_folds: int, *, seed: int, stratify: ArrayLike | None = None) -> list[Split]:
    """The folds of a cross-validation: every row is a validation row of one of them.

    Parameters
    ----------
    n_rows, n_folds : int
    seed : int
        Equal seeds give equal folds.
    stratify : array of shape (n_rows,), optional
        Classes; each is divided evenly among the folds.
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    if stratify is not None:
        order = order[np.argsort(np.asarray(stratify)[order], kind="stable")]
    fold = np.empty(n_rows, np.int64)
    fold[order] = np.arange(n_rows) % n_folds
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(min(n_folds, n_rows))]


def split_by(values: ArrayLike, fraction: float) -> Split:
    """Hold out the last rows in the order of `values`, a time for example: train on the past, validate on the future.

    Rows of equal value stay together, since rows of the same moment often leak each other's target; the boundary is
    the one nearest to `fraction`.

    Parameters
    ----------
    values : array of shape (n_rows,)
        Numbers, datetimes or texts without missing ones.
    fraction : float
        As for `split_fraction`.

    Raises
    ------
    InputError
        A value is missing, or all are the same.
    """
    order_by = np.asarray(values)
    n_rows = len(order_by)
    _check(n_rows, fraction)
    _refuse_missing(order_by)
    ordered = np.sort(order_by)
    boundaries = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1  # row counts of the possible training parts
    if len(boundaries) == 0:
        raise InputError(located("a split by value needs at least two different values", value=ordered[0].item()))
    n_train = boundaries[np.argmin(np.abs(boundaries - (n_rows - _held_out(n_rows, fraction))))]
    validation = order_by >= ordered[n_train]
    return np.flatnonzero(~validation), np.flatnonzero(validation)


def split_last_of_groups(groups: ArrayLike, values: ArrayLike) -> Split:
    """Hold out the last row of each group in the order of `values`: a user's last click, for example.

    Among rows of equal value the one that stands last is the last. A group of one row stays in training.

    Parameters
    ----------
    groups : array of shape (n_rows,)
        Values of any kind that can be compared, without missing ones.
    values : array of shape (n_rows,)
        As for `split_by`.

    Raises
    ------
    InputError
        A value or a group is missing, or no group has two rows.
    """
    of_group, order_by = np.asarray(groups), np.asarray(values)
    _refuse_missing(of_group)
    _refuse_missing(order_by)
    numbers = np.unique(of_group, return_inverse=True)[1].reshape(-1)
    places = np.unique(order_by, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((places, numbers))
    ordered = numbers[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    is_first = np.append(True, ordered[1:] != ordered[:-1])
    validation = np.zeros(len(order), bool)
    validation[order[is_last & ~is_first]] = True
    if not validation.any():
        raise InputError(got("holding out the last row of each group needs a group of two rows", n_rows=len(order)))
    return np.flatnonzero(~validation), np.flatnonzero(validation)


def _held_out(n_rows: int, fraction: float) -> int:
    return min(max(round(n_rows * fraction), 1), n_rows - 1)


def _check(n_rows: int, fraction: float) -> None:
    if not 0 < fraction < 1:
        raise SettingError(got("the fraction to hold out must be above 0 and below 1", fraction=fraction))
    if n_rows < 2:
        raise InputError(got("a split needs at least two rows", n_rows=n_rows))


def _refuse_missing(values: NDArray[Any]) -> None:
    if values.dtype.kind == "O":
        # None, NaN and NaT are the values that are missing; the last two are not equal to themselves.
        missing = np.array([value is None or value != value for value in values], bool)
    else:
        missing = values != values
    if missing.any():
        row = int(np.argmax(missing))
        raise InputError(
            located("a column to split by must not have missing values", row=row + 1, remedy="Fill or drop them first.")
        )
