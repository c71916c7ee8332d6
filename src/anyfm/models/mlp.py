"""The multilayer perceptron of a trained model, in numpy: its logit and its gradient by the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Floating = NDArray[np.floating[Any]]

# Each activation with its derivative, as functions of the input and of the activation itself.
_ACTIVATIONS: dict[str, tuple[Callable[[Floating], Floating], Callable[[Floating, Floating], Floating]]] = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda x, _: (x > 0).astype(x.dtype)),
    "tanh": (np.tanh, lambda _, a: 1.0 - a**2),
    "sigmoid": (lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), lambda _, a: a * (1.0 - a)),
}


class MLP:
    """A multilayer perceptron with one output and no batch normalization (folded into the layers).

    Parameters
    ----------
    layers : sequence of (weights, bias)
        float32 arrays of shape (n_inputs, n_outputs) and (n_outputs,), first layer first.
    output : array of shape (n_outputs of the last layer,)
    activation : {"relu", "tanh", "sigmoid"}

    Attributes
    ----------
    layers, output, activation
        As given, the arrays float32.
    """

    def __init__(
        self, layers: Sequence[tuple[NDArray[Any], NDArray[Any]]], output: NDArray[Any], activation: str
    ) -> None:
        self.layers = [(weights.astype(np.float32), bias.astype(np.float32)) for weights, bias in layers]
        self.output = output.astype(np.float32)
        self.activation = activation
        self._layers = [(weights.astype(np.float64), bias.astype(np.float64)) for weights, bias in layers]
        self._output = output.astype(np.float64)
        self._activation, self._derivative = _ACTIVATIONS[activation]

    def logits(self, inputs: Doubles) -> Doubles:
        """The output of each row of inputs (B, n_inputs), shape (B,)."""
        hidden: Floating = inputs
        for weights, bias in self._layers:
            hidden = self._activation(hidden @ weights + bias)
        return np.asarray(hidden @ self._output, np.float64)

    def gradients(self, inputs: Doubles) -> Doubles:
        """The gradient of each row's output by its inputs, (B, n_inputs); computed in float32 for speed."""
        derivatives = []
        hidden: Floating = inputs.astype(np.float32)
        for weights, bias in self.layers:
            before = hidden @ weights + bias
            hidden = self._activation(before)
            derivatives.append(self._derivative(before, hidden))
        gradient: Floating = np.broadcast_to(self._output.astype(np.float32), hidden.shape)
        for (weights, _), derivative in zip(reversed(self.layers), reversed(derivatives), strict=True):
            gradient = (gradient * derivative) @ weights.T
        return np.asarray(gradient, np.float64)
