"""What the native scorer does differently for DeepFM: its perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm._native import kernels
from anyfm.models import Model


def make(model: Model, *, n_features: int, n_fields: int, n_threads: int) -> Any:
    """The kernel of a DeepFM, without its numbers."""
    return kernels.deepfm(
        n_features,
        n_fields=n_fields,
        n_factors=model.config.n_factors,
        activation=model.config.activation,
        n_threads=n_threads,
    )


def write(native: Any, model: Model, parameters: Mapping[str, NDArray[Any]]) -> None:
    """Hand the perceptron to the kernel, batch normalisation folded into its layers."""
    layers = model.layers(parameters)  # type: ignore[attr-defined]
    for weights, bias in layers:
        native.add_layer(np.ascontiguousarray(weights), np.ascontiguousarray(bias))
    if layers:
        native.set_output(np.ascontiguousarray(parameters["output_weights"], np.float32))
