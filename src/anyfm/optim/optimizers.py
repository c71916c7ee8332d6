"""Optimizers as declarations: which rule trains a parameter, with which settings. The engines carry them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Adagrad:
    """Adagrad on the features that occur (Duchi, Hazan, Singer, JMLR 2011), with a proximal step for the L2 penalty.

    Each vector of a feature has one accumulator, the sum of its gradients' mean squares. The formulas stand in
    native/optim/adagrad.hpp.

    Parameters
    ----------
    accumulator : float
        Where the sum of squared gradients starts.
    """

    accumulator: float


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1) for parameters that every row uses.

    Parameters
    ----------
    learning_rate : float
        The same for all parameters of a model.
    l2 : float
        Penalty l2/2 · (θ − center)² in the mean loss, θ in units of training.
    center : float
    weight_decay : float
        Each step multiplies θ by 1 − learning_rate · weight_decay (Loshchilov and Hutter, ICLR 2019).
    """

    learning_rate: float
    l2: float = 0.0
    center: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Running:
    """No optimizer: a running mean or variance that batch normalization updates."""
