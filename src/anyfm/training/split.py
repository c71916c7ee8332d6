"""Dividing rows into training and validation: at random, by time, by group. Nothing here looks at a table."""

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
        The share to hold out, above 0 and below 1; rounded to rows, with at least one row on either side.
    seed : int
        Equal seeds give equal splits.
    stratify : array of shape (n_rows,), optional
        Classes; each is divided by the same fraction, so that rare ones are on both sides where they have two rows.

    Returns
    -------
    training, validation : int64 arrays
        Row numbers from 0, rising; every row is in exactly one.
    """
    _check(n_rows, fraction)
    shuffled = np.random.default_rng(seed).permutation(n_rows)
    if stratify is None:
        return _parts(n_rows, shuffled[: _held_out(n_rows, fraction)])
    classes = np.asarray(stratify)
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
    return _parts(n_rows, np.concatenate(held))


def split_by(values: ArrayLike, fraction: float) -> Split:
    """Hold out the last rows in the order of `values`, a time for example: train on the past, validate on the future.

    Rows of one value stay together, since rows of the same moment often tell on each other; the boundary is the one
    nearest to `fraction`.

    Parameters
    ----------
    values : array of shape (n_rows,)
        Numbers, datetimes or texts without missing ones.
    fraction : float
        The share to hold out, above 0 and below 1.

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
    return _parts(n_rows, np.flatnonzero(order_by >= ordered[n_train]))


def split_groups(groups: ArrayLike, fraction: float, *, seed: int) -> Split:
    """Hold out a random fraction of the rows such that each group (a user, say) is wholly on one side.

    Groups are drawn at random until the fraction of rows is reached; where one big group overshoots it, the nearer of
    with and without that group is taken.

    Raises
    ------
    InputError
        A group is missing, or there is only one.
    """
    names = np.asarray(groups)
    n_rows = len(names)
    _check(n_rows, fraction)
    _refuse_missing(names)
    distinct, member, sizes = np.unique(names, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise InputError(located("a split by group needs at least two groups", value=distinct[0].item()))
    drawn = np.random.default_rng(seed).permutation(len(distinct))
    reached = np.cumsum(sizes[drawn])[:-1]  # at least one group stays for training
    n_groups = int(np.argmin(np.abs(reached - _held_out(n_rows, fraction)))) + 1
    held = np.zeros(len(distinct), bool)
    held[drawn[:n_groups]] = True
    return _parts(n_rows, np.flatnonzero(held[member]))


def _held_out(n_rows: int, fraction: float) -> int:
    return min(max(round(n_rows * fraction), 1), n_rows - 1)


def _parts(n_rows: int, validation: NDArray[Any]) -> Split:
    held = np.zeros(n_rows, bool)
    held[validation] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


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
