r"""Metrics of rankings: rows are ranked within groups, such as the rows of a user, by falling score.

Every metric is the mean over the groups for which it is defined, each group counting once (`gauc` weights them). Rows
of equal score have no order: a metric is its expected value over all their orders, each as likely, so that a model that
gives all rows one score is measured as chance, however the table is sorted.

With :math:`y_r` the target at rank r = 1, 2, … of a group, P its number of positive rows:

=============== =====================================================================================================
``ndcg@k``      :math:`\sum_{r \le k} y_r / \log_2(r + 1)`, divided by its largest value (Järvelin and Kekäläinen,
                "Cumulated gain-based evaluation of IR techniques", TOIS 2002; as in scikit-learn, the gain is y)
``recall@k``    the fraction of the positive rows that are among the first k
``hit_rate@k``  whether any positive row is among the first k
``mrr``         1 / the rank of the first positive row
``map``         the mean over the positive rows of the fraction of positive rows up to their rank
``group_auc``   the AUC of the group
``gauc``        the same, weighted by the total weight of the group (Zhou et al., "Deep Interest Network", KDD 2018)
=============== =====================================================================================================

A metric is not defined for a group without positive rows, and the last two need both classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.task import Task
from anyfm.metrics.scored_rows import Doubles, ScoredRows, present_rows

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """Rows by group, and in a group by falling score; made by `GroupedRows.of`.

    Parameters
    ----------
    y, logits, weight : float64 array of shape (n_rows,)
    group : int64 array of shape (n_rows,)
        The number of the row's group, from 0, ascending.
    """

    y: Doubles
    logits: Doubles
    weight: Doubles
    group: Indices

    @classmethod
    def of(
        cls, task: Task, y: ArrayLike, logits: ArrayLike, group: ArrayLike, weight: ArrayLike | None = None
    ) -> GroupedRows:
        """Check and sort; rows of weight 0 are left out. Raises as `ScoredRows.of`, and if `group` is not as long."""
        rows = ScoredRows.of(task, y, logits, weight)
        groups = np.asarray(group)
        if groups.shape != np.shape(y):
            raise SettingError(got("group must have one value per row", group=groups.shape, y=np.shape(y)))
        numbers = _numbered(groups[present_rows(weight, len(groups))])
        order = np.lexsort((-rows.logits, numbers))
        return cls(rows.y[order], rows.logits[order], rows.weight[order], numbers[order])

    @cached_property
    def n_groups(self) -> int:
        return int(self.group[-1]) + 1

    @cached_property
    def first(self) -> Indices:
        """The first row of each group, and the end, (n_groups + 1,)."""
        return np.searchsorted(self.group, np.arange(self.n_groups + 1))

    @cached_property
    def n_before(self) -> Indices:
        """How many rows of the row's group stand before it, (n_rows,)."""
        return np.arange(len(self.y)) - self.first[self.group]

    @cached_property
    def tie(self) -> Indices:
        """The first row of each run of equal scores in a group, and the end, (n_ties + 1,)."""
        differs = (self.logits[1:] != self.logits[:-1]) | (self.group[1:] != self.group[:-1])
        return np.concatenate([[0], np.flatnonzero(differs) + 1, [len(self.y)]])

    @cached_property
    def expected_y(self) -> Doubles:
        """The mean target of the rows of equal score, (n_rows,)."""
        size = np.diff(self.tie)
        return np.repeat(np.add.reduceat(self.y, self.tie[:-1]) / size, size)

    @cached_property
    def n_positive(self) -> Doubles:
        """(n_groups,)"""
        return self.sums(self.y)

    def sums(self, of_rows: Doubles) -> Doubles:
        """Sums over the rows of each group, (n_groups,)."""
        return np.add.reduceat(of_rows, self.first[:-1])


def _numbered(groups: NDArray[Any]) -> Indices:
    """Groups as numbers from 0."""
    if groups.dtype.kind == "O":
        numbers: dict[Any, int] = {}
        groups = np.array([numbers.setdefault(value, len(numbers)) for value in groups.tolist()], np.int64)
    return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)


def evaluate_groups(
    task: Task,
    y: ArrayLike,
    logits: ArrayLike,
    group: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    k: int = 10,
) -> dict[str, float]:
    """The metrics of rankings by name, without those that no group defines, and ``n_groups``.

    Parameters
    ----------
    task : Task
        For a regression there is ``ndcg@k`` alone, and only where no target is negative.
    y, logits, weight : array of shape (n_rows,)
        As for the metrics of rows. Weights count in the AUC of a group and in `gauc`; otherwise a row of any weight but
        0 is one row of the ranking.
    group : array of shape (n_rows,)
        Values of any kind; rows of equal value are ranked together.
    k : int

    Raises
    ------
    SettingError
        `k` is no positive integer, or `group` is not as long as `y`.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(got("k must be an integer of at least 1", k=k))
    rows = GroupedRows.of(task, y, logits, group, weight)
    metrics = {f"ndcg@{k}": ndcg(rows, k)}
    if task.is_classification:
        aucs, of_group = group_auc(rows)
        metrics |= {
            f"recall@{k}": recall(rows, k),
            f"hit_rate@{k}": hit_rate(rows, k),
            "mrr": reciprocal_rank(rows),
            "map": average_precision(rows),
            "group_auc": (aucs, (of_group > 0).astype(np.float64)),
            "gauc": (aucs, of_group),
        }
    means = {
        name: float((values * weights).sum() / weights.sum())
        for name, (values, weights) in metrics.items()
        if weights.sum() > 0
    }
    return {**means, "n_groups": float(rows.n_groups)}


ByGroup = tuple[Doubles, Doubles]
"""A metric of each group and the weight of the group in the mean, 0 where the metric is not defined, (n_groups,)."""


def ndcg(rows: GroupedRows, k: int) -> ByGroup:
    if (rows.y < 0).any():
        return np.zeros(rows.n_groups), np.zeros(rows.n_groups)
    discount = np.where(rows.n_before < k, 1 / np.log2(rows.n_before + 2.0), 0.0)
    ideal = rows.y[np.lexsort((-rows.y, rows.group))]
    return _divided(rows.sums(rows.expected_y * discount), rows.sums(ideal * discount))


def recall(rows: GroupedRows, k: int) -> ByGroup:
    return _divided(rows.sums(np.where(rows.n_before < k, rows.expected_y, 0.0)), rows.n_positive)


def hit_rate(rows: GroupedRows, k: int) -> ByGroup:
    # The first run of equal scores with a positive row decides: all rows before it are negative.
    def hit(n_before: int, n_rows: int, n_positive: int) -> float:
        return 1.0 - float(_none_positive(n_rows, n_positive)[min(max(k - n_before, 0), n_rows)])

    return _by_first_positive(rows, hit)


def reciprocal_rank(rows: GroupedRows) -> ByGroup:
    def inverse(n_before: int, n_rows: int, n_positive: int) -> float:
        probability = -np.diff(_none_positive(n_rows, n_positive))  # of place 1, 2, … of the first positive row
        return float((probability / (n_before + np.arange(1, n_rows + 1))).sum())

    return _by_first_positive(rows, inverse)


def average_precision(rows: GroupedRows) -> ByGroup:
    size = np.diff(rows.tie)
    of_tie = np.repeat(np.arange(len(size)), size)
    positive = np.add.reduceat(rows.y, rows.tie[:-1])
    up_to = np.cumsum(rows.y)
    before_group = up_to[rows.first[:-1]] - rows.y[rows.first[:-1]]
    before_tie = (up_to[rows.tie[1:] - 1] - positive)[of_tie] - before_group[rows.group]
    place = np.arange(len(rows.y)) - rows.tie[:-1][of_tie]  # in the run, from 0
    # If the row at this place is positive, each of the run's other places is so with probability (p − 1) / (m − 1).
    others = (positive - 1)[of_tie] / np.maximum(size - 1, 1)[of_tie]
    precision = (before_tie + 1 + place * others) / (rows.n_before + 1)
    return _divided(rows.sums(rows.expected_y * precision), rows.n_positive)


def group_auc(rows: GroupedRows) -> ByGroup:
    """The AUC of each group, and its total weight where it has both classes."""
    starts = rows.tie[:-1]
    positive = np.add.reduceat(rows.weight * rows.y, starts)
    negative = np.add.reduceat(rows.weight * (1 - rows.y), starts)
    group = rows.group[starts]
    first = np.searchsorted(group, np.arange(rows.n_groups))
    all_positive, all_negative = np.add.reduceat(positive, first), np.add.reduceat(negative, first)
    above = np.cumsum(negative)
    above = above - (above[first] - negative[first])[group]  # with the run itself
    below = all_negative[group] - above
    won = np.add.reduceat(positive * (below + 0.5 * negative), first)
    aucs, both = _divided(won, all_positive * all_negative)
    return np.minimum(aucs, 1.0), both * (all_positive + all_negative)


def _divided(values: Doubles, by: Doubles) -> ByGroup:
    defined = by > 0
    return values / np.where(defined, by, 1.0), defined.astype(np.float64)


def _by_first_positive(rows: GroupedRows, metric: Callable[[int, int, int], float]) -> ByGroup:
    """`metric` of each group's first run of equal scores that has a positive row: how many rows stand before the run,
    and how many rows and how many positive ones it has."""
    values = np.zeros(rows.n_groups)
    starts, size = rows.tie[:-1], np.diff(rows.tie)
    positive = np.add.reduceat(rows.y, starts)
    runs = np.flatnonzero(positive > 0)
    group, first = np.unique(rows.group[starts[runs]], return_index=True)
    runs = runs[first]
    known: dict[tuple[int, int, int], float] = {}
    for number, n_before, n_rows, n_positive in zip(
        group.tolist(),
        rows.n_before[starts[runs]].tolist(),
        size[runs].tolist(),
        positive[runs].astype(np.int64).tolist(),
        strict=True,
    ):
        run = (n_before, n_rows, n_positive)
        if run not in known:
            known[run] = metric(*run)
        values[number] = known[run]
    return values, (rows.n_positive > 0).astype(np.float64)


def _none_positive(n_rows: int, n_positive: int) -> Doubles:
    """The probability that none of the first 0, 1, …, n_rows of `n_rows` shuffled rows is positive."""
    left = np.arange(n_rows, 0, -1)
    return np.concatenate([[1.0], np.cumprod(np.maximum(left - n_positive, 0) / left)])
