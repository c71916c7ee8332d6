"""Dense parameters of the torch engine, those that every row uses, and their optimizer, Adam."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.models import ParameterSpec
from anyfm.optim.optimizers import Adam, Running

Tensor = torch.Tensor
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST_GRADIENT = 1.0  # Euclidean norm of the gradient of the mean loss


class DenseParameters:
    """Dense parameters as one flat tensor in units of training, and Adam's moments beside it.

    Parameters
    ----------
    specs : mapping of str to ParameterSpec
        Of the model; parameters that Adam does not train are passed over, but for running moments.
    device : torch.device
    """

    def __init__(self, specs: Mapping[str, ParameterSpec], *, device: torch.device) -> None:
        self._optimizers = {name: s.optimizer for name, s in specs.items() if isinstance(s.optimizer, Adam)}
        self._shapes = {name: specs[name].shape for name in self._optimizers}
        self._sizes = [specs[name].size for name in self._optimizers]
        self._units = dict.fromkeys(self._optimizers, 1.0)
        self.running = {
            name: torch.zeros(spec.shape, device=device)
            for name, spec in specs.items()
            if isinstance(spec.optimizer, Running)
        }
        self.flat = torch.zeros(sum(self._sizes), device=device, requires_grad=True)
        self.first = torch.zeros_like(self.flat, requires_grad=False)
        self.second = torch.zeros_like(self.flat, requires_grad=False)
        self.n_steps = 0

    def __bool__(self) -> bool:
        return self.flat.numel() > 0

    def write(self, values: Mapping[str, NDArray[np.float32]], units: Mapping[str, float]) -> None:
        """Start from these values, in units of training, and forget all steps."""
        self._units = {name: units[name] for name in self._optimizers}
        self.n_steps = 0
        with torch.no_grad():
            self.first.zero_()
            self.second.zero_()
            for name, tensor in {**self._parts(self.flat), **self.running}.items():
                tensor.copy_(torch.from_numpy(values[name]))

    def read(self) -> dict[str, NDArray[np.float32]]:
        """The parameters by name, in units of training."""
        tensors = {**self._parts(self.flat.detach()), **self.running}
        return {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}

    def _parts(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split(self._sizes) if self._sizes else ()
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def tensors(self, *, short_vectors: bool = False) -> dict[str, Tensor]:
        """The parameters by name as the model's formula has them; autograd leads back to `flat`.

        With `short_vectors`, vectors are in bfloat16, so that the result of adding a bias stays so.
        """
        named = {
            name: part if self._units[name] == 1 else part * self._units[name]
            for name, part in self._parts(self.flat).items()
        }
        if short_vectors:
            named = {name: part.bfloat16() if part.ndim == 1 else part for name, part in named.items()}
        return {**named, **self.running}

    def step(self, weight: float, *, learning_rate: float) -> None:
        """One step of Adam along the gradient that autograd left, that of a loss summed over `weight` rows.

        The gradient of the mean loss is clipped to Euclidean norm 1. L2 penalties are part of it; weight decay is
        decoupled. Formulas: `optim.optimizers.Adam`.
        """
        gradient = self.flat.grad
        if gradient is None:
            return
        with torch.no_grad():
            gradient.div_(weight)
            gradients, values = self._parts(gradient), self._parts(self.flat)
            for name, adam in self._optimizers.items():
                if adam.l2 > 0:
                    gradients[name].add_(values[name] - adam.center, alpha=adam.l2)
            norm = torch.linalg.vector_norm(gradient)
            gradient.mul_((_LARGEST_GRADIENT / norm.clamp(min=1e-30)).clamp(max=1.0))
            self.n_steps += 1
            self.first.lerp_(gradient, 1 - _DECAY_1)
            self.second.mul_(_DECAY_2).addcmul_(gradient, gradient, value=1 - _DECAY_2)
            size = learning_rate / (1 - _DECAY_1**self.n_steps)
            spread = self.second.sqrt().div_((1 - _DECAY_2**self.n_steps) ** 0.5).add_(_EPSILON)
            for name, adam in self._optimizers.items():
                if adam.weight_decay > 0:
                    values[name].mul_(1 - learning_rate * adam.weight_decay)
            self.flat.addcdiv_(self.first, spread, value=-size)
        self.flat.grad = None

    def arrays(self) -> dict[str, Tensor]:
        """Everything that training continues from, but for the number of steps."""
        return {"flat": self.flat.detach(), "first": self.first, "second": self.second, **self.running}
