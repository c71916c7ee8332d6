"""The parameters that every row uses: AFM's attention and DeepFM's perceptron. Their start and their optimiser, Adam.

They are trained in units of their own: `units` says by what to multiply a trained number to have the model's. The
inputs of the perceptron, a feature's factors, are some hundredths large or smaller, depending on the table; in units of
their prior deviation they are of order one on every table, so that one learning rate fits all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.engines import perceptron
from anyfm.engines.attention import mean_pairs
from anyfm.engines.recipe import Recipe
from anyfm.models import BaseModel, ParameterSpec

Tensor = torch.Tensor
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST_GRADIENT = 1.0  # Euclidean norm of the gradient of the mean loss

# What a parameter is multiplied by when the target is divided by s: the power of s.
_POWERS = {
    "bias": 1.0,
    "linear": 1.0,
    "factors": 0.5,
    "field_factors": 0.5,
    "attention_weights": -1.0,
    "hidden_0_weights": -0.5,
    "output_weights": 1.0,
}


def target_power(name: str) -> float:
    """The power of the target's scale by which a parameter grows: pairs of factors share it."""
    return _POWERS.get(name, 0.0)


def units(model: BaseModel, made: Recipe, train: Rows) -> dict[str, float]:
    """By what a parameter is multiplied for the model's formula; 1 where not named."""
    if model.name == "deepfm":
        return {"hidden_0_weights": perceptron.unit(model, made)}
    if model.name == "afm":
        return {
            "attention_weights": made.factor_prior(model.settings.n_factors).start,
            "projection": mean_pairs(train),
        }
    return {}


class DenseParameters:
    """Dense parameters as one flat tensor, and Adam's moments beside it.

    Parameters
    ----------
    model : BaseModel
    specs : mapping of str to ParameterSpec
        Of the model; the bias and the per-feature parameters are passed over.
    device : torch.device
    """

    def __init__(self, model: BaseModel, specs: Mapping[str, ParameterSpec], *, device: torch.device) -> None:
        dense = {name: spec.shape for name, spec in specs.items() if not spec.per_feature and name != "bias"}
        is_kept = {name: name.endswith(("_mean", "_variance")) for name in dense}
        self._shapes = {name: shape for name, shape in dense.items() if not is_kept[name]}
        self._sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        self.kept = {name: torch.zeros(shape, device=device) for name, shape in dense.items() if is_kept[name]}
        self.flat = torch.zeros(sum(self._sizes), device=device, requires_grad=True)
        self.first = torch.zeros_like(self.flat, requires_grad=False)
        self.second = torch.zeros_like(self.flat, requires_grad=False)
        self.n_steps = 0
        self.units: dict[str, float] = {}
        self._attending = [name for name in self._shapes if name.startswith("attention_")]
        self._decayed = [name for name in self._shapes if name.startswith("hidden_") and name.endswith("_weights")]
        self._model = model

    def __bool__(self) -> bool:
        return self.flat.numel() > 0

    def start(self, units: Mapping[str, float], rng: np.random.Generator) -> None:
        """Draw hidden weights at random; biases and the output start at 0, scales and variances at 1.

        So a DeepFM starts as its factorization machine, and AFM with equal attention. The perceptron's weights are of
        He's normal distribution, the attention network's as in attention.py.
        """
        self.units = dict(units)
        self.n_steps = 0
        for tensor in (self.first, self.second):
            tensor.zero_()
        for name, tensor in self.kept.items():
            tensor.fill_(1.0 if name.endswith("_variance") else 0.0)
        with torch.no_grad():
            for name, part in self._parts(self.flat).items():
                part.copy_(torch.from_numpy(_start(name, tuple(part.shape), rng)))

    def _parts(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def tensors(self, *, short_bias: bool = False) -> dict[str, Tensor]:
        """The parameters by name as the model's formula has them; autograd leads back to `flat`.

        With `short_bias`, biases are in bfloat16, so that what they are added to stays so.
        """
        named = {
            name: part * self.units[name] if name in self.units else part
            for name, part in self._parts(self.flat).items()
        }
        if short_bias:
            named |= {name: part.bfloat16() for name, part in named.items() if name.endswith("_bias")}
        return {**named, **self.kept}

    def step(self, weight: float, *, learning_rate: float, l2: float) -> None:
        """One step of Adam along the gradient that autograd left, that of a loss summed over `weight` rows.

        The gradient of the mean loss is cut to Euclidean norm 1. L2 shrinks the perceptron's weights by
        ``learning_rate l2`` a step (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019), not
        biases and not the output. In AFM it is a penalty in the mean loss, as in the native engine: Adam's steps do not
        feel how large a loss is, so that it weighs most where the rows say least.
        """
        gradient = self.flat.grad
        if gradient is None:
            return
        with torch.no_grad():
            gradient.div_(weight)
            if l2 > 0:
                slopes, values = self._parts(gradient), self._parts(self.flat)
                for name in self._attending:
                    slopes[name].add_(values[name], alpha=l2)
            norm = torch.linalg.vector_norm(gradient)
            gradient.mul_((_LARGEST_GRADIENT / norm.clamp(min=1e-30)).clamp(max=1.0))
            self.n_steps += 1
            self.first.lerp_(gradient, 1 - _DECAY_1)
            self.second.mul_(_DECAY_2).addcmul_(gradient, gradient, value=1 - _DECAY_2)
            size = learning_rate / (1 - _DECAY_1**self.n_steps)
            spread = self.second.sqrt().div_((1 - _DECAY_2**self.n_steps) ** 0.5).add_(_EPSILON)
            if l2 > 0:
                parts = self._parts(self.flat)
                for name in self._decayed:
                    parts[name].mul_(1 - learning_rate * l2)
            self.flat.addcdiv_(self.first, spread, value=-size)
        self.flat.grad = None

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The parameters by name, in the model's units."""
        with torch.no_grad():
            return {name: tensor.cpu().numpy().copy() for name, tensor in self.tensors().items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that training goes on from."""
        arrays = {"flat": self.flat.detach(), "first": self.first, "second": self.second, **self.kept}
        return {
            **{f"dense_{name}": tensor.cpu().numpy().copy() for name, tensor in arrays.items()},
            "dense_steps": np.array([self.n_steps], np.int64),
            "dense_units": np.array([self.units.get(name, 1.0) for name in self._shapes]),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `state` gave."""
        arrays = {"flat": self.flat, "first": self.first, "second": self.second, **self.kept}
        with torch.no_grad():
            for name, tensor in arrays.items():
                tensor.copy_(torch.from_numpy(np.array(state[f"dense_{name}"])))
        self.n_steps = int(state["dense_steps"][0])
        numbers = state["dense_units"].tolist()
        self.units = {name: unit for name, unit in zip(self._shapes, numbers, strict=True) if unit != 1.0}


def _start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(shape) == 2:
        return perceptron.drawn(shape, rng, gain=1.0 if name == "attention_weights" else 2.0)
    return np.full(shape, 1.0 if name == "projection" or name.endswith("_scale") else 0.0, np.float32)
