"""Priors of per-feature parameters: each field's weights have a normal prior, whose precision λ is the L2 penalty.

λ starts at a value that depends on m, the mean squared norm of a row, so that one default fits tables of two and of
forty fields. Before every epoch it is estimated again, for each field, from the weights and from Adagrad's sums of
squared gradients (native/optim/priors.hpp), unless a setting fixes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anyfm.optim.statistics import TrainingStatistics


@dataclass(frozen=True)
class Prior:
    """What is known of a precision λ before training.

    Parameters
    ----------
    start : float
        λ in the first epoch.
    expected : float
        The value that estimates are drawn to, worth `strength` features.
    lower, upper : float
        Bounds of the estimate.
    strength : float
    fraction : float
        The fraction of an estimate that is taken.
    """

    start: float
    expected: float
    lower: float
    upper: float
    strength: float = 2.0
    fraction: float = 1.0

    def initial_std(self, n_factors: int) -> float:
        """Standard deviation of factors at the start for an init_scale of 1: (8 / n_factors)^¼ / √λ.

        Well inside the prior, so that a small table starts as a linear model, and large enough to leave the saddle
        point at zero.
        """
        return float((8 / n_factors) ** 0.25 / np.sqrt(self.start))


PriorOf = Callable[[TrainingStatistics], Prior]
"""A prior as a function of the training statistics: what a parameter declares."""


def linear_prior(statistics: TrainingStatistics) -> Prior:
    """The prior of linear weights: λ = m / 4."""
    return Prior(start=max(statistics.squared_norm, 1.0) / 4, expected=1.0, lower=1e-2, upper=1e4)


def factor_prior(n_factors: int) -> PriorOf:
    """The prior of a feature's one vector: λ = √(8 n_factors m (m − 1) / 2).

    The sum over a row's m (m − 1) / 2 inner products has a prior variance of n_factors m (m − 1) / 2 / λ², which is
    then 1/8 whatever the number of fields and of factors. If λ were proportional to n_factors, more factors would mean
    a narrower prior, under which all factors can vanish.
    """

    def prior(statistics: TrainingStatistics) -> Prior:
        m = statistics.squared_norm
        start = float(np.sqrt(8 * n_factors * max(m * (m - 1) / 2, 1.0)))
        return Prior(start=start, expected=start, lower=start / 100, upper=start * 10, fraction=0.95)

    return prior


def field_factor_prior(statistics: TrainingStatistics) -> Prior:
    """The prior of a feature's vector toward one field: it grows with the root of FM's, since the vectors of a pair
    belong to that pair alone."""
    start = 8 * float(np.sqrt(factor_prior(8)(statistics).start / 8))
    return Prior(start=start, expected=start, lower=start / 30, upper=start * 10)
