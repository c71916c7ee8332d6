"""DeepFM's deep half by field: integrated gradients, with what they leave unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from anyfm.models.mlp import MLP
from anyfm.models.pairs import Doubles

N_STEPS = 16
# The path's points are cubes of even ones. Rare values have short vectors, among which the perceptron bends most: on
# one table of three fields the residual fell from .82 to .04, where the perceptron's logit was 1.5.
_DENSITY = 3


@dataclass(frozen=True, eq=False)
class DeepPart:
    """The perceptron's logit as a sum: baseline + fields + residual.

    Parameters
    ----------
    baseline : float
        Its logit for vectors of zeros.
    fields : array of shape (n_rows, n_fields)
        The integrated gradient of each field's vector.
    residual : array of shape (n_rows,)
        What the numerical integral leaves over.
    """

    baseline: float
    fields: Doubles
    residual: Doubles


def attribute(network: MLP, vectors: Doubles, *, n_steps: int = N_STEPS) -> DeepPart:
    """Integrated gradients along the straight line from zero vectors (Sundararajan et al., ICML 2017, equation 1).

    Parameters
    ----------
    network : MLP
    vectors : array of shape (B, n_fields, K)
        Each field's vector.
    n_steps : int
        Points of the midpoint rule, denser toward zero.
    """
    inputs = vectors.reshape(len(vectors), -1)
    total = np.zeros_like(inputs)
    # On one thread: on a busy machine the threads of a matrix product wait for each other, spinning, and one that
    # takes a millisecond alone has taken thirty.
    with threadpool_limits(limits=1, user_api="blas"):
        edges = (np.arange(n_steps + 1) / n_steps) ** _DENSITY
        middles = ((np.arange(n_steps) + 0.5) / n_steps) ** _DENSITY
        for middle, width in zip(middles, np.diff(edges), strict=True):
            total += network.gradients(inputs * middle) * width
    fields = (inputs * total).reshape(vectors.shape).sum(axis=2)
    baseline = float(network.logits(np.zeros((1, inputs.shape[1])))[0])
    residual = network.logits(inputs) - baseline - fields.sum(axis=1)
    return DeepPart(baseline, fields, residual)
