"""DeepFM's deep half by field: integrated gradients, with what they leave unexplained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.explain.forms import Doubles
from anyfm.models import Model

N_STEPS = 32

# Each activation with its derivative, as functions of the input and of the activation itself.
_ACTIVATIONS: dict[str, tuple[Callable[[Doubles], Doubles], Callable[[Doubles, Doubles], Doubles]]] = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda x, _: (x > 0).astype(np.float64)),
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
        self._output = parameters["output_weights"].astype(np.float64) if layers else np.zeros(0)
        self._activation, self._derivative = _ACTIVATIONS[model.config.activation]

    def logits(self, inputs: Doubles) -> Doubles:
        """The logit of each row of inputs (B, n_inputs), shape (B,)."""
        for weights, bias in self._layers:
            inputs = self._activation(inputs @ weights + bias)
        return np.asarray(inputs @ self._output)

    def gradients(self, inputs: Doubles) -> Doubles:
        """The gradient of each row's logit by its inputs, shape (B, n_inputs)."""
        slopes = []
        for weights, bias in self._layers:
            before = inputs @ weights + bias
            inputs = self._activation(before)
            slopes.append(self._derivative(before, inputs))
        gradient = np.broadcast_to(self._output, inputs.shape)
        for (weights, _), slope in zip(reversed(self._layers), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ weights.T
        return np.asarray(gradient)

    def attribute(self, vectors: Doubles, *, n_steps: int = N_STEPS) -> DeepPart:
        """Integrated gradients along the straight line from zero vectors (Sundararajan et al., ICML 2017, equation 1).

        Parameters
        ----------
        vectors : array of shape (B, n_fields, K)
            Each field's vector.
        n_steps : int
            Points of the midpoint rule.
        """
        inputs = vectors.reshape(len(vectors), -1)
        total = np.zeros_like(inputs)
        for step in range(n_steps):
            total += self.gradients(inputs * ((step + 0.5) / n_steps))
        fields = (inputs * total / n_steps).reshape(vectors.shape).sum(axis=2)
        baseline = float(self.logits(np.zeros((1, inputs.shape[1])))[0])
        residual = self.logits(inputs) - baseline - fields.sum(axis=1)
        return DeepPart(baseline, fields, residual)


def perceptron(model: Model, parameters: Mapping[str, NDArray[Any]]) -> Perceptron | None:
    """The perceptron of a DeepFM with hidden layers; None for any other model."""
    if model.name != "deepfm" or not model.config.hidden_sizes:
        return None
    return Perceptron(model, parameters)
