"""What the optimiser takes from the training rows before it starts: scales that make one default fit all tables.

With m the mean squared norm of a row (the number of fields, for one-hot rows):

- a step is ``learning_rate / √m``: the logit of a row moves by about the learning rate, however many fields it has;
- the prior precision of the linear weights starts at ``m / 4`` and that of FM's factors at ``n_factors
  √(m (m − 1) / 2)``, so that the pairs of a row have a prior variance of the same order whatever m is; both are then
  estimated per field (native/evidence.hpp) unless the settings fix them;
- factors start from N(0, s²) with s = ``init (8 / n_factors)^¼ / √λ``: well inside their prior, so that a small table
  begins as a linear model, and large enough to leave the saddle at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import DivergenceError, SettingError
from anyfm.core.rows import Floats, Rows


@dataclass(frozen=True)
class PriorGuess:
    """What is thought of a precision λ before the data speak: its value in the first epoch, the guess it is drawn to
    afterwards, worth `strength` features, its bounds, and what share of an estimate is taken."""

    start: float
    hyper: float
    lowest: float
    highest: float
    strength: float = 2.0
    share: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """Facts of the training rows.

    Attributes
    ----------
    counts : float32 array of shape (n_features,)
        The summed row weights of each feature's entries.
    field_of : int32 array of shape (n_features,)
        Each feature's field.
    n_rows : int
    total_weight : float
        The summed row weights.
    squared_norm : float
        m, the weighted mean of Σ x² over the rows.
    centre, scale : float
        For regression, the mean and the standard deviation of the target: training sees (y / scale) and starts its
        bias at centre / scale. For binary tasks, the log odds of the base rate and 1.
    target_range : tuple of float, optional
        For regression, the least and the greatest target over scale, and a margin of 1 on either side.
    """

    counts: Floats
    field_of: NDArray[np.int32]
    n_rows: int
    total_weight: float
    squared_norm: float
    centre: float
    scale: float
    target_range: tuple[float, float] | None

    @property
    def linear_prior(self) -> PriorGuess:
        return PriorGuess(start=max(self.squared_norm, 1.0) / 4, hyper=1.0, lowest=1e-2, highest=1e4)

    def factor_prior(self, n_factors: int) -> PriorGuess:
        """The prior of FM's factors."""
        start = n_factors * float(np.sqrt(max(self.squared_norm * (self.squared_norm - 1) / 2, 1.0)))
        return PriorGuess(start=start, hyper=start, lowest=start / 100, highest=start * 10, share=0.95)

    def factor_deviation(self, n_factors: int) -> float:
        """The deviation of FM's factors at their start for ``init_scale=1``."""
        return float((8 / n_factors) ** 0.25 / np.sqrt(self.factor_prior(n_factors).start))

    def batch_rows(self, most: int) -> int:
        """Rows of a batch: so many that an epoch of a small table has some 128, but at most `most` and 16 or more."""
        return min(most, max(16, self.n_rows // 128))

    def step_size(self, learning_rate: float) -> float:
        return learning_rate / float(np.sqrt(max(self.squared_norm, 1.0)))


def recipe(train: Rows, *, n_features: int, n_fields: int, task: str, normalize: bool) -> Recipe:
    """Take the facts of `train`; SettingError without a target, DivergenceError where it is not finite."""
    if train.y is None:
        raise SettingError("training needs rows with a target")
    y = train.y.astype(np.float64)
    if not np.isfinite(y).all():
        raise DivergenceError("the target must be finite in every training row")
    weight = np.ones(train.n_rows) if train.weight is None else train.weight.astype(np.float64)
    total = max(weight.sum(), 1e-30)
    mean = float(y @ weight) / total
    target_range: tuple[float, float] | None
    if task == "regression":
        deviation = float(np.sqrt((y - mean) ** 2 @ weight / total))
        scale = deviation if deviation > 0 else max(abs(mean), 1.0)
        centre = mean
        target_range = (float(y.min()) / scale - 1, float(y.max()) / scale + 1)
    else:
        share = min(max(mean, 1e-6), 1 - 1e-6)
        centre, scale = float(np.log(share / (1 - share))), 1.0
        target_range = None
    return Recipe(
        counts=_counts(train, weight, n_features),
        field_of=_field_of(train, n_features, n_fields),
        n_rows=train.n_rows,
        total_weight=total,
        squared_norm=1.0 if normalize else _squared_norm(train, weight / total),
        centre=centre,
        scale=scale,
        target_range=target_range,
    )


def _entry_lengths(rows: Rows) -> NDArray[np.int64] | int:
    return rows.ids.shape[1] if rows.offsets is None else np.diff(rows.offsets)


def _counts(rows: Rows, weight: NDArray[np.float64], n_features: int) -> Floats:
    if rows.weight is None:
        return rows.feature_counts(n_features).astype(np.float32)
    weights = np.repeat(weight, _entry_lengths(rows))
    return np.bincount(rows.ids.reshape(-1), weights=weights, minlength=n_features).astype(np.float32)


def _squared_norm(rows: Rows, share: NDArray[np.float64]) -> float:
    if rows.values is None:
        return float(np.sum(share * _entry_lengths(rows)))
    squares = np.repeat(share, _entry_lengths(rows)) @ rows.values.reshape(-1).astype(np.float64) ** 2
    return float(squares)


def _field_of(rows: Rows, n_features: int, n_fields: int) -> NDArray[np.int32]:
    """The field in which a feature stands (the last, if several); 0 for features without an entry."""
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
