"""DeepFM's deep half by field: integrated gradients, with what they leave unexplained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from anyfm.explain.forms import Doubles
from anyfm.models import Model

Floating = NDArray[np.floating[Any]]
N_STEPS = 16
# The path's points are cubes of even ones. Rare values have short vectors, among which the perceptron bends most: on
# one table of three fields the residual fell from .82 to .04, where the perceptron's logit was 1.5.
_DENSITY = 3

# Each activation with its derivative, as functions of the input and of the activation itself.
_ACTIVATIONS: dict[str, tuple[Callable[[Floating], Floating], Callable[[Floating, Floating], Floating]]] = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda x, _: (x > 0).astype(x.dtype)),
    "tanh": (np.tanh, lambda _, a: 1.0 - a**2),
    "sigmoid": (lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), lambda _, a: a * (1.0 - a)),
}


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


class Perceptron:
    """The perceptron of a DeepFM with its batch normalisation folded in, and its gradient."""

    def __init__(self, model: Model, parameters: Mapping[str, NDArray[Any]]) -> None:
        layers = model.layers(parameters)  # type: ignore[attr-defined]
        self._layers = [(weights.astype(np.float64), bias.astype(np.float64)) for weights, bias in layers]
        self._short_layers = layers
        self._output = parameters["output_weights"].astype(np.float64) if layers else np.zeros(0)
        self._activation, self._derivative = _ACTIVATIONS[model.settings.activation]

    def logits(self, inputs: Doubles) -> Doubles:
        """The logit of each row of inputs (B, n_inputs), shape (B,)."""
        here: Floating = inputs
        for weights, bias in self._layers:
            here = self._activation(here @ weights + bias)
        return np.asarray(here @ self._output, np.float64)

    def gradients(self, inputs: Doubles) -> Doubles:
        """The gradient of each row's logit by its inputs, (B, n_inputs); in float32, since it is what takes time."""
        slopes = []
        here: Floating = inputs.astype(np.float32)
        for weights, bias in self._short_layers:
            before = here @ weights + bias
            here = self._activation(before)
            slopes.append(self._derivative(before, here))
        gradient: Floating = np.broadcast_to(self._output.astype(np.float32), here.shape)
        for (weights, _), slope in zip(reversed(self._short_layers), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ weights.T
        return np.asarray(gradient, np.float64)

    def attribute(self, vectors: Doubles, *, n_steps: int = N_STEPS) -> DeepPart:
        """Integrated gradients along the straight line from zero vectors (Sundararajan et al., ICML 2017, equation 1).

        Parameters
        ----------
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
                total += self.gradients(inputs * middle) * width
        fields = (inputs * total).reshape(vectors.shape).sum(axis=2)
        baseline = float(self.logits(np.zeros((1, inputs.shape[1])))[0])
        residual = self.logits(inputs) - baseline - fields.sum(axis=1)
        return DeepPart(baseline, fields, residual)


def perceptron(model: Model, parameters: Mapping[str, NDArray[Any]]) -> Perceptron | None:
    """The perceptron of a DeepFM with hidden layers; None for any other model."""
    if model.name != "deepfm" or not model.settings.hidden_sizes:
        return None
    return Perceptron(model, parameters)
