"""What the native engine does differently for DeepFM: its perceptron's start, its steps and its dropout.

Inputs of the perceptron, the factors, are some hundredths large or smaller, depending on the table. In units of their
prior deviation they are of order one on every table, so that one learning rate fits all: the first layer is trained on
inputs in that unit. Hidden weights are drawn from He's normal distribution (He, Zhang, Ren, Sun, ICCV 2015), biases and
the output start at 0, so that the model begins as a factorization machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.native import kernels
from anyfm.core.rows import Rows
from anyfm.engines.base import State
from anyfm.engines.recipe import Recipe
from anyfm.models import BaseModel

_BLOCK_ROWS = 240  # of one step of the features, at most: eight chunks of native/deepfm.hpp
_LINES = ("values", "first", "second")


def make(model: BaseModel, *, n_features: int, n_fields: int, training: bool, n_threads: int) -> Any:
    """The kernel of a DeepFM, without its numbers."""
    config = model.settings
    return kernels.deepfm(
        n_features,
        n_fields=n_fields,
        n_factors=config.n_factors,
        activation=config.activation,
        hidden=list(config.hidden_layer_sizes) if training else [],
        training=training,
        n_threads=n_threads,
    )


def write(native: Any, model: BaseModel, parameters: Mapping[str, NDArray[Any]]) -> None:
    """Hand the perceptron to a kernel that scores, batch normalisation folded into its layers."""
    layers = model.layers(parameters)  # type: ignore[attr-defined]
    for weights, bias in layers:
        native.add_layer(np.ascontiguousarray(weights), np.ascontiguousarray(bias))
    if layers:
        native.set_output(np.ascontiguousarray(parameters["output_weights"], np.float32))


def block_rows(model: BaseModel, made: Recipe) -> int:
    """How many rows make one step of the features."""
    return min(_BLOCK_ROWS, made.batch_rows(model.settings.batch_size))


def unit(model: BaseModel, made: Recipe) -> float:
    """What the first layer's inputs are counted in: the factors' prior deviation; hidden weights are over it."""
    return float(np.sqrt(made.factor_prior(model.settings.n_factors).start))


def drawn(shape: tuple[int, ...], rng: np.random.Generator, *, gain: float = 2.0) -> NDArray[np.float32]:
    """Weights (inputs, outputs) of variance gain / inputs."""
    return np.asarray(rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(gain / shape[0])))


class Perceptron:
    """The perceptron of a kernel made by `make`, and its optimiser.

    Parameters
    ----------
    native : kernel
    model : BaseModel
    n_fields : int
    """

    def __init__(self, native: Any, model: BaseModel, n_fields: int) -> None:
        self._native, self._model = native, model
        specs = model.parameter_specs(1, n_fields)
        self._shapes = {name: specs[name].shape for name in specs if name.startswith(("hidden_", "output_"))}
        self._seed = 0

    def start(self, train: Rows, made: Recipe, *, seed: int, rng: np.random.Generator) -> None:
        """Draw the perceptron and forget all steps."""
        self._seed = seed
        self._native.unit = unit(self._model, made)
        self._native.trust = self._model.settings.shrinkage
        self._native.set_blocks(block_rows(self._model, made), made.batch_rows(self._model.settings.batch_size))
        shapes = self._shapes.values()
        start = [drawn(shape, rng) if len(shape) == 2 else np.zeros(shape, np.float32) for shape in shapes]
        self._write("values", np.concatenate([array.reshape(-1) for array in start]))
        for line in _LINES[1:]:
            self._write(line, np.zeros(self._native.perceptron_size, np.float32))
        self._native.perceptron_steps = 0
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        self._native.set_dropout(self._model.settings.dropout, self._seed, epoch)

    def set_step(self, share: float) -> None:
        """Let the next steps be this share of the full ones."""
        config = self._model.settings
        self._native.set_step(config.mlp_learning_rate * share, config.weight_decay)

    def parameters(self, *, scale: float) -> State:
        """The perceptron for a target that training saw divided by `scale`, its inputs being the model's factors."""
        numbers, state, first = self._read("values"), {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            state[name] = numbers[first : first + size].reshape(shape).copy()
            first += size
        state["hidden_0_weights"] *= np.float32(self._native.unit / np.sqrt(scale))
        state["output_weights"] *= np.float32(scale)
        return state

    def state(self) -> State:
        return {
            **{f"perceptron_{line}": self._read(line) for line in _LINES},
            "perceptron_steps": np.array([self._native.perceptron_steps], np.int64),
            "perceptron_unit": np.array([self._native.unit]),
            "dropout_seed": np.array([self._seed], np.uint64),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        for line in _LINES:
            self._write(line, state[f"perceptron_{line}"])
        self._native.perceptron_steps = int(state["perceptron_steps"][0])
        self._native.unit = float(state["perceptron_unit"][0])
        self._seed = int(state["dropout_seed"][0])

    def _read(self, line: str) -> NDArray[np.float32]:
        numbers = np.empty(self._native.perceptron_size, np.float32)
        self._native.read_perceptron(line, numbers)
        return numbers

    def _write(self, line: str, numbers: NDArray[np.float32]) -> None:
        self._native.write_perceptron(line, np.ascontiguousarray(numbers, np.float32))
