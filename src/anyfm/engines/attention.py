"""What the native engine does differently for AFM: the attention network's start, its steps and its dropout.

The network starts with hidden weights of 1 / √inputs in deviation, no bias, no output, and a projection that is the
mean number of pairs in a row, so that the model begins as a factorization machine and its factors take the same
priors and steps. With a random output instead, a row of 741 pairs may heed one of them alone from the start, whose
factors then feel 741 times the gradient: training diverged. Products of factors are of the order of 1 / λ, their
first prior precision: the hidden weights are taken in units of λ, at the start, in their steps and in their penalty,
and the projection in units of its start.
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

NAMES = ("attention_weights", "attention_bias", "attention_output", "projection")


def make(model: BaseModel, *, n_features: int, training: bool, n_threads: int) -> Any:
    """The kernel of `model`."""
    config = model.settings
    return kernels.afm(
        n_features,
        n_factors=config.n_factors,
        attention_factors=config.attention_factors,
        normalize=config.normalize,
        training=training,
        n_threads=n_threads,
    )


def mean_pairs(rows: Rows) -> float:
    """The weighted mean number of pairs of entries in a row, at least 1."""
    if rows.offsets is None:
        n = rows.ids.shape[1]
        return max(1.0, float(n * (n - 1) / 2))
    lengths = np.diff(rows.offsets).astype(np.float64)
    pairs = np.average(lengths * (lengths - 1) / 2, weights=rows.weight) if rows.n_rows else 0.0
    return max(1.0, float(pairs))


class AttentionNetwork:
    """The dense parameters of a kernel made by `make`, and their optimiser.

    Parameters
    ----------
    native : kernel
    model : BaseModel
    """

    def __init__(self, native: Any, model: BaseModel) -> None:
        self._native, self._model = native, model
        self._specs = {name: model.parameter_specs(1, 1)[name].shape for name in NAMES}
        self._seed = 0

    def _part(self, line: int, name: str) -> NDArray[np.float32]:
        """A view of one parameter's numbers in a line of the kernel's memory."""
        first = 0
        for known, shape in self._specs.items():
            size = int(np.prod(shape))
            if known == name:
                part: NDArray[np.float32] = self._native.dense[line, first : first + size]
                return part.reshape(shape)
            first += size
        raise KeyError(name)

    def start(self, train: Rows, made: Recipe, *, seed: int, rng: np.random.Generator) -> None:
        """Draw the network and forget all steps."""
        config, pairs = self._model.settings, mean_pairs(train)
        unit = made.factor_prior(config.n_factors).start
        self._seed = seed
        self._native.dense[:] = 0
        self._native.dense_steps = 0
        drawn = rng.standard_normal(self._specs["attention_weights"], dtype=np.float32)
        self._part(0, "attention_weights")[...] = drawn * np.float32(unit / np.sqrt(config.n_factors))
        self._part(0, "projection")[...] = pairs
        self._native.dense[3] = 1
        self._part(3, "attention_weights")[...] = unit
        self._part(3, "projection")[...] = pairs
        for name in ("attention_weights", "attention_bias", "attention_output"):
            self._part(4, name)[...] = config.l2_attention
        self._part(4, "attention_weights")[...] /= np.float32(unit) ** 2
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        self._native.set_dropout(self._model.settings.dropout, self._seed, epoch)

    def set_step(self, share: float) -> None:
        """Let the next steps be this share of the full ones."""
        self._native.dense_rate = self._model.settings.attention_learning_rate * share

    def parameters(self, *, scale: float) -> State:
        """The network for a target that training saw divided by `scale`."""
        state = {name: self._part(0, name).copy() for name in NAMES}
        state["projection"] *= np.float32(scale)
        return state

    def write(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        for name in NAMES:
            self._part(0, name)[...] = parameters[name]

    def state(self) -> State:
        return {
            "dense": self._native.dense.copy(),
            "dense_steps": np.array([self._native.dense_steps], np.int64),
            "dropout_seed": np.array([self._seed], np.uint64),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._native.dense[:] = state["dense"]
        self._native.dense_steps = int(state["dense_steps"][0])
        self._seed = int(state["dropout_seed"][0])
