"""The multilayer perceptron in numpy: its output, and its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.models.mlp import MLP

N_INPUTS, SIZES = 6, (5, 4)


def network(activation: str) -> tuple[MLP, list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(size=(inputs, outputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32))
        for inputs, outputs in zip((N_INPUTS, *SIZES), SIZES, strict=False)
    ]
    output = rng.normal(size=SIZES[-1]).astype(np.float32)
    return MLP(layers, output, activation), layers, output


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", lambda x: max(x, 0.0)), ("tanh", np.tanh), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))],
)
def test_the_output_is_that_of_the_formula(activation, function):
    mlp, layers, output = network(activation)
    inputs = np.random.default_rng(1).normal(size=(3, N_INPUTS))
    for row, logit in zip(inputs, mlp.logits(inputs), strict=True):
        hidden = [float(x) for x in row]
        for weights, bias in layers:
            hidden = [
                function(sum(x * float(w) for x, w in zip(hidden, weights[:, j], strict=True)) + float(bias[j]))
                for j in range(len(bias))
            ]
        assert logit == pytest.approx(sum(h * float(u) for h, u in zip(hidden, output, strict=True)), rel=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_gradient_agrees_with_finite_differences(activation):
    mlp, _, _ = network(activation)
    inputs = np.random.default_rng(2).normal(size=(20, N_INPUTS))
    step = 1e-6 * np.eye(N_INPUTS)
    expected = np.stack([(mlp.logits(inputs + one) - mlp.logits(inputs - one)) / 2e-6 for one in step], axis=1)
    assert mlp.gradients(inputs) == pytest.approx(expected, abs=1e-4)  # gradients are float32
