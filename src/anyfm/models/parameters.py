"""The declaration of one parameter: what it looks like, how it starts, what trains it, which prior it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anyfm.optim.initial import ZEROS, Initial, StatisticOf
from anyfm.optim.optimizers import Adagrad, Adam, Running
from anyfm.optim.priors import PriorOf, linear_prior


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter array of a model. Engines carry out what it says and know no parameter by name.

    Parameters
    ----------
    shape : tuple of int
        The full shape. Per-feature parameters start with n_features: (n_features,), (n_features, K) for one vector, or
        (n_features, F, K) for F vectors, each with an accumulator and a prior.
    optimizer : Adagrad, Adam, Running or None
        Adagrad trains per-feature parameters and the bias, Adam those that every row uses. Running: a moving mean or
        variance. None: not trained.
    per_feature : bool
        Whether the first axis is the feature, so that a batch gathers its rows.
    initial : Initial
        In units of training.
    prior : function of the training statistics, optional
        The prior of a per-feature parameter's precision.
    l2 : float, optional
        The precision, fixed: the L2 penalty of each value in the summed loss. None: estimated for each field.
    l2_per_occurrence : float, optional
        The precision, fixed for each field at this times the mean count of its features.
    target_power : float
        A model of a target that is s times as large has parameters that are s ** target_power times as large.
    unit : function of the training statistics, optional
        The model's value is the trained value times this unit; it makes one learning rate fit all tables. None: 1.
    """

    shape: tuple[int, ...]
    optimizer: Adagrad | Adam | Running | None
    per_feature: bool = False
    initial: Initial = ZEROS
    prior: PriorOf | None = None
    l2: float | None = None
    l2_per_occurrence: float | None = None
    target_power: float = 0.0
    unit: StatisticOf | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def width(self) -> int:
        """Number of values of one feature."""
        return int(np.prod(self.shape[1:], dtype=object))

    @property
    def deviations_shape(self) -> tuple[int, ...]:
        """The shape of the standard deviations of a per-feature parameter, one for each vector."""
        return self.shape if len(self.shape) == 1 else (self.shape[0], self.n_vectors)

    @property
    def n_vectors(self) -> int:
        """Number of vectors of one feature."""
        return self.shape[1] if len(self.shape) == 3 else 1


Specs = Mapping[str, ParameterSpec]


def bias_and_linear(n_features: int, *, l2: float | None, trained: bool = True) -> dict[str, ParameterSpec]:
    """The bias w_0, which starts at the logit of the mean target, and the linear weights w, which start at 0."""
    adagrad = Adagrad(accumulator=1.0) if trained else None
    return {
        "bias": ParameterSpec((1,), adagrad, target_power=1.0),
        "linear": ParameterSpec((n_features,), adagrad, per_feature=True, prior=linear_prior, l2=l2, target_power=1.0),
    }
