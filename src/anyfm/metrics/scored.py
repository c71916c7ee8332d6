"""Scored rows: targets, logits and weights side by side, checked once, as every metric wants them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import DivergenceError, InputError, SettingError, got, located

Doubles = NDArray[np.float64]


class Ties(NamedTuple):
    """Rows of equal logit put together, by rising logit; all arrays have shape (n_distinct,).

    Rows of one logit are never told apart, so that whatever is computed from here depends neither on the order of
    the rows nor on whether a row was copied or weighted.
    """

    logits: Doubles
    weight: Doubles  # total weight of the rows
    positive: Doubles  # total weight × target
    n_rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Checked float64 arrays of shape (n_rows,); rows of weight 0 are gone.

    Make it with `Scored.of`.
    """

    y: Doubles
    logits: Doubles
    weight: Doubles

    @classmethod
    def of(cls, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None, *, task: str = "binary") -> Scored:
        """Check and convert; rows of weight 0 are left out unseen, whatever they hold.

        Parameters
        ----------
        y, logits, weight : array of shape (n_rows,)
            Targets (0 or 1 for the task "binary"), logits (the predictions themselves for "regression"), and row
            weights; no weights means all ones.

        Raises
        ------
        SettingError
            The arrays differ in length or are not one-dimensional.
        InputError
            A target or weight is not usable (the row is named), or no row of positive weight is left.
        DivergenceError
            A logit is not a finite number.
        """
        scores = np.asarray(logits, np.float64)
        targets = np.asarray(y, np.float64)
        if scores.ndim != 1 or targets.shape != scores.shape:
            raise SettingError(
                got("y and logits must be one-dimensional and equally long", y=targets.shape, logits=scores.shape)
            )
        present = present_rows(weight, len(targets))
        check_target(targets, present, task=task)
        bad = np.flatnonzero(present & ~np.isfinite(scores))
        if len(bad):
            row = int(bad[0])
            problem = f"logits must be finite numbers, got {len(bad)} of {len(scores)} are not"
            raise DivergenceError(located(problem, row=row + 1, value=float(scores[row])))
        weights = np.ones(len(targets)) if weight is None else np.asarray(weight, np.float64)
        if present.all():
            return cls(targets, scores, weights)
        return cls(targets[present], scores[present], weights[present])

    @cached_property
    def total(self) -> float:
        """The total weight."""
        return float(self.weight.sum())

    @cached_property
    def mean_target(self) -> float:
        """The weighted mean target; for binary tasks the base rate."""
        return self.mean(self.y)

    @cached_property
    def ties(self) -> Ties:
        """The rows by rising logit, equal logits together. O(n log n)."""
        order = np.argsort(self.logits, kind="stable")
        logits, weight = self.logits[order], self.weight[order]
        starts = np.flatnonzero(np.concatenate([[True], logits[1:] != logits[:-1]]))
        return Ties(
            logits=logits[starts],
            weight=np.add.reduceat(weight, starts),
            positive=np.add.reduceat(weight * self.y[order], starts),
            n_rows=np.diff(starts, append=len(logits)).astype(np.int64),
        )

    def mean(self, quantity: Doubles) -> float:
        """The weighted mean of a quantity of shape (n_rows,)."""
        return float((quantity * self.weight).sum()) / self.total


def probability(logits: ArrayLike) -> Doubles:
    """The logistic function 1 / (1 + exp(−z)) in float64, without overflow for any finite z."""
    z = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(z))
    result: Doubles = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result


def present_rows(weight: ArrayLike | None, n_rows: int) -> NDArray[np.bool_]:
    """Which rows count (bool, shape (n_rows,)): those whose weight is not 0.

    Raises
    ------
    SettingError
        The weights are not one number per row.
    InputError
        A weight is negative or not finite (the row is named), or no row counts.
    """
    present = np.ones(n_rows, bool)
    if weight is not None:
        weights = np.asarray(weight)
        if weights.shape != (n_rows,):
            raise SettingError(got(f"weight must have shape ({n_rows},)", weight=weights.shape))
        _refuse(~(np.isfinite(weights) & (weights >= 0)), weights, "a row weight must be a finite number of at least 0")
        present = weights > 0
    if not present.any():
        raise InputError(got("at least one row of positive weight is needed", n_rows=n_rows))
    return present


def check_target(y: NDArray[Any], present: NDArray[np.bool_], *, task: str) -> None:
    """Raise InputError, naming the row, unless targets are 0 or 1 ("binary") or finite ("regression") where present."""
    if task == "binary":
        _refuse(present & (y != 0) & (y != 1), y, "the target of a binary task must be 0 or 1")
    else:
        _refuse(present & ~np.isfinite(y), y, "the target of a regression must be a finite number")


def _refuse(bad: NDArray[np.bool_], values: NDArray[Any], rule: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        row = int(rows[0])
        raise InputError(located(f"{rule}, got {len(rows)} rows break this", row=row + 1, value=values[row].item()))
