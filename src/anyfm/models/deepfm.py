"""DeepFM: a factorization machine and a multilayer perceptron on one embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.settings import choice, flag, integer, layer_sizes, optional, real, setting
from anyfm.models.base import BaseModel, Batch, ModelSettings, ParameterSpec, linear_terms
from anyfm.models.mlp import MLP
from anyfm.models.operations import Array, relu, sigmoid, sqrt, tanh
from anyfm.models.pairs import InnerProducts

ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}
EPSILON = 1e-5  # added to variances by batch normalisation
FEW_FIELDS = 5


@dataclass(frozen=True, kw_only=True)
class DeepFMSettings(ModelSettings):
    """Settings of DeepFM."""

    n_factors: int = setting(16, integer(1, 256), "length of each feature's latent vector")
    hidden_layer_sizes: tuple[int, ...] | None = setting(
        None,
        optional(layer_sizes()),
        "neurons of the hidden layers, first to last; empty: no layers, a factorization machine; none: by the number "
        "of fields, 256,128 for up to 5, otherwise 64,32",
    )
    activation: str = setting("relu", choice(*ACTIVATIONS), "of every hidden neuron")
    dropout: float = setting(0.2, real(0, 0.95), "share of the hidden neurons left out of each training row")
    batch_norm: bool = setting(False, flag(), "normalise each hidden neuron over the rows of a batch")
    batch_size: int = setting(4096, integer(2), "rows of one step of the perceptron, at most")
    learning_rate: float = setting(0.4, real(0, above=True), "Adagrad's step, divided by the norm of an average row")
    mlp_learning_rate: float = setting(0.003, real(0, above=True), "Adam's step of the perceptron")
    shrinkage: float | None = setting(
        None,
        optional(real(0)),
        "occurrences of a feature at which half of the perceptron's gradient reaches its factors; none: by the number "
        "of fields, 3000 for up to 5, otherwise 300",
    )
    l2_linear: float | None = setting(
        None, optional(real(0)), "L2 penalty of each linear weight in the summed loss; none: estimated for each field"
    )
    l2_factors: float | None = setting(
        None, optional(real(0)), "L2 penalty of each factor in the summed loss; none: estimated for each field"
    )
    weight_decay: float = setting(
        0.3, real(0), "decay of the hidden layers' weights: each step shrinks them by this times Adam's step"
    )
    init_scale: float = setting(0.1, real(0), "standard deviation of the factors at the start, relative to their prior")


class DeepFM(BaseModel):
    r"""DeepFM (Guo, Tang, Ye, Li, He, IJCAI 2017, equations 1 to 4).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j + u^\top g_L, \quad
        g_l = \phi(W_l^\top g_{l-1} + b_l)

    where :math:`g_0` lays side by side the vectors of the fields, :math:`\sum_{i \in f} v_i x_i` for field f. Numeric
    fields and fields of many values so take part in both halves. Batch normalisation stands before the activation.
    Without hidden layers, or with weights of zero, it is the factorization machine.

    Names, for layer l from 0: `hidden_l_weights` (inputs, outputs), `hidden_l_bias`; with batch normalisation
    `hidden_l_scale`, `hidden_l_shift` and the running `hidden_l_mean`, `hidden_l_variance`; `output_weights` u.
    """

    name = "deepfm"
    title = "DeepFM"
    summary = "A factorization machine and a multilayer perceptron on the same vectors, summed."
    settings_type = DeepFMSettings
    needs_fields = True

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        specs = {
            "bias": ParameterSpec((1,), per_feature=False),
            "linear": ParameterSpec((n_features,), per_feature=True),
            "factors": ParameterSpec((n_features, self.settings.n_factors), per_feature=True),
        }
        n_inputs = n_fields * self.settings.n_factors
        hidden_layer_sizes = self.for_fields(n_fields).settings.hidden_layer_sizes
        of_norm = ("scale", "shift", "mean", "variance") if self.settings.batch_norm else ()
        for layer, size in enumerate(hidden_layer_sizes):
            specs[f"hidden_{layer}_weights"] = ParameterSpec((n_inputs, size), per_feature=False)
            for name in ("bias", *of_norm):
                specs[f"hidden_{layer}_{name}"] = ParameterSpec((size,), per_feature=False)
            n_inputs = size
        if hidden_layer_sizes:
            specs["output_weights"] = ParameterSpec((n_inputs,), per_feature=False)
        return specs

    def for_fields(self, n_fields: int) -> DeepFM:
        """With few fields, a perceptron has little to read of a row but many values of each: it may be larger there,
        and frequent values alone should heed it."""
        few = n_fields <= FEW_FIELDS
        hidden, trust = self.settings.hidden_layer_sizes, self.settings.shrinkage
        hidden = ((256, 128) if few else (64, 32)) if hidden is None else hidden
        trust = (3000.0 if few else 300.0) if trust is None else trust
        return DeepFM(replace(self.settings, hidden_layer_sizes=hidden, shrinkage=trust))

    def pair_terms(self) -> InnerProducts:
        return InnerProducts(self.settings.n_factors)

    def mlp(self, parameters: Mapping[str, NDArray[Any]]) -> MLP | None:
        layers = self.layers(parameters)
        return MLP(layers, parameters["output_weights"], self.settings.activation) if layers else None

    def logits(self, batch: Batch) -> Array:
        scaled = batch.parameters["factors"] * batch.values[..., None]  # (B, S, K)
        pairs = 0.5 * (scaled.sum(1) ** 2 - (scaled**2).sum(1)).sum(1)
        wide = batch.parameters["bias"] + linear_terms(batch).sum(1) + pairs
        return wide + self._deep(batch, scaled) if "output_weights" in batch.parameters else wide

    def _deep(self, batch: Batch, scaled: Array) -> Array:
        n_fields = batch.parameters["hidden_0_weights"].shape[0] // self.settings.n_factors
        here = batch.by_field(scaled, n_fields).reshape(len(scaled), -1)  # (B, F K)
        for layer in range(_n_layers(batch.parameters)):
            of_layer = f"hidden_{layer}_"
            here = here @ batch.parameters[f"{of_layer}weights"] + batch.parameters[f"{of_layer}bias"]
            if self.settings.batch_norm:
                mean, variance = batch.moments(of_layer, here)
                here = (here - mean) / sqrt(variance + EPSILON)
                here = here * batch.parameters[f"{of_layer}scale"] + batch.parameters[f"{of_layer}shift"]
            here = batch.dropout(ACTIVATIONS[self.settings.activation](here), self.settings.dropout)
        return here @ batch.parameters["output_weights"]

    def layers(self, parameters: Mapping[str, NDArray[Any]]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The hidden layers with their batch normalisation folded in: weights (inputs, outputs) and bias of each."""
        folded = []
        for layer in range(_n_layers(parameters)):
            found = {
                name: parameters[f"hidden_{layer}_{name}"].astype(np.float64)
                for name in ("weights", "bias", "scale", "shift", "mean", "variance")
                if f"hidden_{layer}_{name}" in parameters
            }
            weights, bias = found["weights"], found["bias"]
            if self.settings.batch_norm:
                scale = found["scale"] / np.sqrt(found["variance"] + EPSILON)
                weights, bias = weights * scale, (bias - found["mean"]) * scale + found["shift"]
            folded.append((weights.astype(np.float32), bias.astype(np.float32)))
        return folded


def _n_layers(parameters: Mapping[str, Any]) -> int:
    return sum(name.startswith("hidden_") and name.endswith("_weights") for name in parameters)
