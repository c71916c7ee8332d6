"""What training takes from the training rows before it starts.

With m the mean squared norm of a row (the number of fields, for one-hot rows), the learning rate of every per-feature
parameter is ``learning_rate / √m``: the logit of a row moves by about the learning rate, however many fields it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import DivergenceError, SettingError
from anyfm.core.rows import Floats, Rows
from anyfm.core.task import TargetStatistics, Task

_BATCHES_PER_EPOCH = 128  # of a small table, at least, as long as a batch has 16 rows


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of the training rows; rows count by weight.

    Parameters
    ----------
    counts : float32 array of shape (n_features,)
        The summed row weights of each feature's entries.
    field_of : int32 array of shape (n_features,)
        Each feature's field; 0 for a feature without entries.
    n_rows : int
    total_weight : float
        The summed row weights.
    squared_norm : float
        m, the mean of Σ x² over the rows.
    mean_pairs : float
        The mean number of pairs of entries in a row, at least 1.
    one_feature_per_field : bool
        Whether no row can hold two features of one field.
    target : TargetStatistics
    """

    counts: Floats
    field_of: NDArray[np.int32]
    n_rows: int
    total_weight: float
    squared_norm: float
    mean_pairs: float
    one_feature_per_field: bool
    target: TargetStatistics

    def mean_counts(self, n_fields: int) -> NDArray[np.float64]:
        """The mean count of each field's features that occur, at least 1, shape (n_fields,)."""
        occurs = self.counts > 0
        n_features = np.bincount(self.field_of[occurs], minlength=n_fields)
        totals = np.bincount(self.field_of[occurs], weights=self.counts[occurs], minlength=n_fields)
        return np.maximum(totals / np.maximum(n_features, 1), 1.0)

    def learning_rate(self, learning_rate: float) -> float:
        """The learning rate of per-feature parameters, relative to the norm of a mean row."""
        return learning_rate / float(np.sqrt(max(self.squared_norm, 1.0)))

    def batch_size(self, limit: int) -> int:
        """Rows of a batch: `limit`, or fewer (but 16) so that an epoch of a small table has about 128 batches."""
        return min(limit, max(16, self.n_rows // _BATCHES_PER_EPOCH))


def training_statistics(
    train: Rows, *, n_features: int, n_fields: int, task: Task, normalize: bool
) -> TrainingStatistics:
    """The statistics of `train`; SettingError without a target, DivergenceError where it is not finite."""
    if train.y is None:
        raise SettingError("training needs rows with a target")
    y = train.y.astype(np.float64)
    if not np.isfinite(y).all():
        raise DivergenceError("the target must be finite in every training row")
    weight = np.ones(train.n_rows) if train.weight is None else train.weight.astype(np.float64)
    total = max(weight.sum(), 1e-30)
    return TrainingStatistics(
        counts=_counts(train, weight, n_features),
        field_of=_field_of(train, n_features, n_fields),
        n_rows=train.n_rows,
        total_weight=total,
        squared_norm=1.0 if normalize else _squared_norm(train, weight / total),
        mean_pairs=_mean_pairs(train),
        one_feature_per_field=train.offsets is None
        and (train.fields is None or len(np.unique(train.fields)) == len(train.fields)),
        target=task.statistics(y, weight),
    )


def _entry_counts(rows: Rows) -> NDArray[np.int64] | int:
    return rows.ids.shape[1] if rows.offsets is None else np.diff(rows.offsets)


def _counts(rows: Rows, weight: NDArray[np.float64], n_features: int) -> Floats:
    if rows.weight is None:
        return rows.feature_counts(n_features).astype(np.float32)
    weights = np.repeat(weight, _entry_counts(rows))
    return np.bincount(rows.ids.reshape(-1), weights=weights, minlength=n_features).astype(np.float32)


def _squared_norm(rows: Rows, weight: NDArray[np.float64]) -> float:
    if rows.values is None:
        return float(np.sum(weight * _entry_counts(rows)))
    return float(np.repeat(weight, _entry_counts(rows)) @ rows.values.reshape(-1).astype(np.float64) ** 2)


def _mean_pairs(rows: Rows) -> float:
    counts = np.asarray(_entry_counts(rows), np.float64)
    weights = None if rows.offsets is None else rows.weight
    pairs = np.average(counts * (counts - 1) / 2, weights=weights) if rows.n_rows else 0.0
    return max(1.0, float(pairs))


def _field_of(rows: Rows, n_features: int, n_fields: int) -> NDArray[np.int32]:
    """The field in which a feature occurs (the last, if several)."""
    field_of = np.zeros(n_features, np.int32)
    if rows.offsets is not None:
        if rows.fields is not None:
            field_of[rows.ids] = rows.fields
        return field_of
    fields = np.arange(rows.ids.shape[1]) if rows.fields is None else rows.fields
    if len(fields) == 0 or int(fields.max()) >= n_fields:
        return field_of
    for slot, field in enumerate(fields):
        field_of[rows.ids[:, slot]] = field
    return field_of
