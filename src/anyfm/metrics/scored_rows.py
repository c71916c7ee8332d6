"""Targets, logits and weights of rows, checked once: the input of every metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import DivergenceError, InputError, SettingError, got, located
from anyfm.core.rows import MAX_WEIGHT
from anyfm.core.task import Task, get_task, refuse_rows

Doubles = NDArray[np.float64]


class Ties(NamedTuple):
    """Rows grouped by equal logit, by rising logit; all arrays have shape (n_distinct,).

    What is computed from the groups depends neither on the order of the rows nor on whether a row is repeated or
    weighted.
    """

    logits: Doubles
    weight: Doubles  # total weight of the rows
    positive: Doubles  # total weight × target
    n_rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Checked float64 arrays of shape (n_rows,), without the rows of weight 0. Made by `ScoredRows.of`."""

    task: Task
    y: Doubles
    logits: Doubles
    weight: Doubles

    @classmethod
    def of(cls, task: Task, y: ArrayLike, logits: ArrayLike, weight: ArrayLike | None = None) -> ScoredRows:
        """Check and convert; rows of weight 0 are left out and may hold anything.

        Parameters
        ----------
        task : Task
            Its rule for targets is checked.
        y, logits, weight : array of shape (n_rows,)
            Targets, logits (for regression the predictions themselves) and row weights, by default 1.

        Raises
        ------
        SettingError
            The arrays differ in length or are not one-dimensional.
        InputError
            A target or weight breaks its rule (the row is named), or no row has positive weight.
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
        task.check_target(targets, present)
        bad = np.flatnonzero(present & ~np.isfinite(scores))
        if len(bad):
            row = int(bad[0])
            problem = f"logits must be finite numbers, but {len(bad)} of {len(scores)} are not"
            raise DivergenceError(located(problem, row=row + 1, value=float(scores[row])))
        weights = np.ones(len(targets)) if weight is None else np.asarray(weight, np.float64)
        if present.all():
            return cls(task, targets, scores, weights)
        return cls(task, targets[present], scores[present], weights[present])

    def mean(self, quantity: Doubles) -> float:
        """The weighted mean of a quantity of shape (n_rows,)."""
        return float((quantity * self.weight).sum() / self.weight.sum())

    @cached_property
    def mean_target(self) -> float:
        """The weighted mean target; for binary tasks the base rate."""
        return self.mean(self.y)

    @cached_property
    def mean_loss(self) -> float:
        """The weighted mean of the task's reported loss: logloss, or the squared error."""
        return self.mean(self.task.reported_loss(self.logits, self.y))

    @cached_property
    def predictions(self) -> Doubles:
        """Probabilities for binary tasks, numbers for regression; shape (n_rows,)."""
        predictions: Doubles = self.task.predictions(self.logits)
        return predictions

    @cached_property
    def ties(self) -> Ties:
        """The rows grouped by equal logit. O(n log n)."""
        order = np.argsort(self.logits, kind="stable")
        logits, weight = self.logits[order], self.weight[order]
        starts = np.flatnonzero(np.concatenate([[True], logits[1:] != logits[:-1]]))
        return Ties(
            logits=logits[starts],
            weight=np.add.reduceat(weight, starts),
            positive=np.add.reduceat(weight * self.y[order], starts),
            n_rows=np.diff(starts, append=len(logits)).astype(np.int64),
        )


def probability(logits: ArrayLike) -> Doubles:
    """The logistic function 1 / (1 + exp(−z)) in float64, without overflow for any finite z."""
    probabilities: Doubles = get_task("binary").predictions(np.asarray(logits, np.float64))
    return probabilities


def present_rows(weight: ArrayLike | None, n_rows: int) -> NDArray[np.bool_]:
    """Which rows have a weight other than 0; bool, shape (n_rows,).

    Raises
    ------
    SettingError
        The weights are not one number per row.
    InputError
        A weight is negative or not finite (the row is named), or all are 0.
    """
    present = np.ones(n_rows, bool)
    if weight is not None:
        weights = np.asarray(weight)
        if weights.shape != (n_rows,):
            raise SettingError(got(f"weight must have shape ({n_rows},)", weight=weights.shape))
        rule = f"a row weight must be a number from 0 to {MAX_WEIGHT:,.0f} (divide all by their mean)"
        refuse_rows(~((weights >= 0) & (weights <= MAX_WEIGHT)), weights, rule)
        present = weights > 0
    if not present.any():
        raise InputError(got("at least one row of positive weight is needed", n_rows=n_rows))
    return present
