"""DeepFM: a factorization machine and a multilayer perceptron on one embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.settings import Options, Range, automatic, choice, flag, integer, layer_sizes, real, setting
from anyfm.core.task import Array
from anyfm.models.base import (
    LEARNING_RATE,
    TUNE_ADAM,
    TUNE_DROPOUT,
    TUNE_RATE,
    BaseModel,
    FactorSettings,
    factor_specs,
    linear_part,
)
from anyfm.models.batch import Batch
from anyfm.models.fm import pair_sum
from anyfm.models.mlp import MLP
from anyfm.models.operations import relu, sigmoid, sqrt, tanh
from anyfm.models.pairs import InnerProducts
from anyfm.models.parameters import ParameterSpec
from anyfm.optim.initial import Constant, he_normal
from anyfm.optim.optimizers import Adam, Running
from anyfm.optim.priors import factor_prior

ACTIVATIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}
EPSILON = 1e-5  # added to variances by batch normalization
FEW_FIELDS = 5
_NORM = ("scale", "shift", "mean", "variance")


@dataclass(frozen=True, kw_only=True)
class DeepFMSettings(FactorSettings):
    """Settings of DeepFM."""

    learning_rate: float = setting(0.4, real(0, above=True), LEARNING_RATE, tune=TUNE_RATE)
    hidden_layer_sizes: tuple[int, ...] | None = setting(
        None,
        automatic(layer_sizes()),
        "neurons of the hidden layers, first to last; none: no layers, a factorization machine; auto: 256,128 for up "
        "to 5 fields, otherwise 64,32",
        tune=Options(("auto", "64,32", "128,64", "256,128", "400,400")),
    )
    activation: str = setting("relu", choice(*ACTIVATIONS), "activation of every hidden neuron")
    dropout: float = setting(0.2, real(0, 0.95), "dropout probability of the hidden neurons", tune=TUNE_DROPOUT)
    batch_norm: bool = setting(False, flag(), "normalize each hidden neuron over the rows of a batch")
    batch_size: int = setting(4096, integer(2), "maximum number of rows of one optimizer step of the MLP")
    mlp_learning_rate: float = setting(0.003, real(0, above=True), "Adam's learning rate of the MLP", tune=TUNE_ADAM)
    shrinkage: float | None = setting(
        None,
        automatic(real(0)),
        "shrinkage of the MLP's gradient: the factors of a value with n occurrences receive n / (n + shrinkage) of it; "
        "auto: 3000 for up to 5 fields, otherwise 300",
        tune=Options(("auto", "0", "100", "300", "1000", "3000")),
    )
    weight_decay: float = setting(
        0.3,
        real(0),
        "weight decay of the hidden layers: each step multiplies weights by 1 − this × mlp_learning_rate",
        tune=Range(0.01, 3.0),
    )


class DeepFM(BaseModel):
    r"""DeepFM (Guo, Tang, Ye, Li, He, IJCAI 2017, equations 1 to 4).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j + u^\top g_L, \quad
        g_l = \phi(W_l^\top g_{l-1} + b_l)

    where :math:`g_0` concatenates the vectors of the fields, :math:`\sum_{i \in f} v_i x_i` for field f, so that
    numeric fields and fields of many values take part in both parts. Batch normalization precedes the activation.
    Without hidden layers, or with weights of zero, it is the factorization machine.

    Biases and the output start at 0, so that the model starts as a factorization machine. The inputs of the MLP, the
    factors, are some hundredths large or smaller, depending on the table; the first layer is trained on inputs in
    units of their prior standard deviation, where they are of order one on every table, so that one learning rate fits
    all.

    Names, for layer l from 0: `hidden_l_weights` (inputs, outputs), `hidden_l_bias`; with batch normalization
    `hidden_l_scale`, `hidden_l_shift` and the running `hidden_l_mean`, `hidden_l_variance`; `output_weights` u.
    """

    name = "deepfm"
    title = "DeepFM"
    summary = "A factorization machine and a multilayer perceptron on the same vectors, summed."
    settings_type = DeepFMSettings
    needs_fields = True
    kernel = "deepfm"
    warmup = True

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        settings = self.resolve(n_fields).settings
        adam = Adam(settings.mlp_learning_rate)
        decayed = Adam(settings.mlp_learning_rate, weight_decay=settings.weight_decay)
        prior = factor_prior(settings.n_factors)
        specs = factor_specs(n_features, settings)
        n_inputs = n_fields * settings.n_factors
        for layer, size in enumerate(settings.hidden_layer_sizes):
            prefix = f"hidden_{layer}_"
            specs[f"{prefix}weights"] = ParameterSpec(
                (n_inputs, size),
                decayed,
                initial=he_normal(n_inputs),
                unit=(lambda s: float(np.sqrt(prior(s).start))) if layer == 0 else None,
                target_power=-0.5 if layer == 0 else 0.0,
            )
            specs[f"{prefix}bias"] = ParameterSpec((size,), adam)
            if settings.batch_norm:
                specs[f"{prefix}scale"] = ParameterSpec((size,), adam, initial=Constant(1.0))
                specs[f"{prefix}shift"] = ParameterSpec((size,), adam)
                specs[f"{prefix}mean"] = ParameterSpec((size,), Running())
                specs[f"{prefix}variance"] = ParameterSpec((size,), Running(), initial=Constant(1.0))
            n_inputs = size
        if settings.hidden_layer_sizes:
            specs["output_weights"] = ParameterSpec((n_inputs,), adam, target_power=1.0)
        return specs

    def resolve(self, n_fields: int) -> DeepFM:
        """With few fields, a row has few inputs but many values of each: the MLP may be larger there, and only
        frequent values should follow it."""
        few = n_fields <= FEW_FIELDS
        sizes, shrinkage = self.settings.hidden_layer_sizes, self.settings.shrinkage
        sizes = ((256, 128) if few else (64, 32)) if sizes is None else sizes
        shrinkage = (3000.0 if few else 300.0) if shrinkage is None else shrinkage
        return type(self)(replace(self.settings, hidden_layer_sizes=sizes, shrinkage=shrinkage))

    @property
    def is_sum_of_pairs(self) -> bool:
        return bool(self.settings.hidden_layer_sizes == ())

    def pair_terms(self) -> InnerProducts:
        return InnerProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        scaled = batch.parameters["factors"] * batch.values[..., None]  # (B, S, K)
        logits = linear_part(batch) + pair_sum(scaled)
        return logits + self._mlp_logits(batch, scaled) if "output_weights" in batch.parameters else logits

    def _mlp_logits(self, batch: Batch, scaled: Array) -> Array:
        parameters, settings = batch.parameters, self.settings
        n_fields = parameters["hidden_0_weights"].shape[0] // settings.n_factors
        scaled = batch.shrink_gradient(scaled, settings.shrinkage or 0.0)
        hidden = batch.by_field(scaled, n_fields).reshape(len(scaled), -1)  # (B, F K)
        for layer in range(_n_layers(parameters)):
            prefix = f"hidden_{layer}_"
            hidden = hidden @ parameters[f"{prefix}weights"] + parameters[f"{prefix}bias"]
            if settings.batch_norm:
                mean, variance = batch.moments(prefix, hidden)
                hidden = (hidden - mean) / sqrt(variance + EPSILON)
                hidden = hidden * parameters[f"{prefix}scale"] + parameters[f"{prefix}shift"]
            hidden = batch.dropout(ACTIVATIONS[settings.activation](hidden), settings.dropout)
        return hidden @ parameters["output_weights"]

    def mlp(self, parameters: Mapping[str, NDArray[Any]]) -> MLP | None:
        layers = self._folded_layers(parameters)
        return MLP(layers, parameters["output_weights"], self.settings.activation) if layers else None

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        resolved = self.resolve(n_fields).settings.hidden_layer_sizes
        return (
            {"hidden_layer_sizes": (64, 32) if resolved == (256, 128) else (256, 128)},
            {"learning_rate": 1.0},
            {"l2_per_occurrence": 0.1},
        )

    def kernel_options(self) -> dict[str, Any]:
        names = ("n_factors", "activation", "batch_size", "shrinkage")
        options = {name: getattr(self.settings, name) for name in names}
        return {**options, "hidden_layer_sizes": list(self.settings.hidden_layer_sizes)}

    def kernel_parameters(self, parameters: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        folded = dict(parameters)
        for layer, (weights, bias) in enumerate(self._folded_layers(parameters)):
            folded |= {f"hidden_{layer}_weights": weights, f"hidden_{layer}_bias": bias}
        return {name: array for name, array in folded.items() if not name.endswith(tuple(f"_{n}" for n in _NORM))}

    @property
    def engines(self) -> tuple[str, ...]:
        return ("torch",) if self.settings.batch_norm else ("native", "torch")

    @property
    def batch_size(self) -> int:
        return int(self.settings.batch_size)

    @property
    def dropout(self) -> float:
        return float(self.settings.dropout)

    def _folded_layers(
        self, parameters: Mapping[str, NDArray[Any]]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The hidden layers with their batch normalization folded in: weights (inputs, outputs) and bias of each."""
        folded = []
        for layer in range(_n_layers(parameters)):
            names = ("weights", "bias", *(_NORM if self.settings.batch_norm else ()))
            found = {name: parameters[f"hidden_{layer}_{name}"].astype(np.float64) for name in names}
            weights, bias = found["weights"], found["bias"]
            if self.settings.batch_norm:
                scale = found["scale"] / np.sqrt(found["variance"] + EPSILON)
                weights, bias = weights * scale, (bias - found["mean"]) * scale + found["shift"]
            folded.append((weights.astype(np.float32), bias.astype(np.float32)))
        return folded


def _n_layers(parameters: Mapping[str, Any]) -> int:
    return sum(name.startswith("hidden_") and name.endswith("_weights") for name in parameters)
