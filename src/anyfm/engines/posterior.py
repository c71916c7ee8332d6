"""How certain the logits of a trained model are: draws from the posterior of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows
from anyfm.core.threads import thread_count
from anyfm.engines import kernel
from anyfm.models import BaseModel
from anyfm.models.batch import gather

N_DRAWS = 64
"""Draws that a standard deviation is computed from; its own relative error is about 1 / √(2 · 64) = 9 %."""
_BLOCK_ROWS = 16_384
_LINEAR = "linear"


class Posterior:
    """Independent normal distributions of the parameters of every feature, around the trained values.

    What every row uses (bias, field-pair weights, attention network, MLP) is taken as known: it is learned from all
    rows. The normal numbers of a feature are a function of the seed, the draw and the feature alone, so that a user has
    the same parameters in all rows and calls of a draw. Any number of threads may share it.

    Parameters
    ----------
    model : BaseModel
        With a kernel.
    parameters, deviations : mapping of str to float32 array
        Deviations of the per-feature parameters, shape (n_features,), or (n_features, n_vectors) with one for each
        vector: the standard deviation of each of its values.
    n_fields : int
    n_threads : int
        0 means all cores of this process.
    """

    def __init__(
        self,
        model: BaseModel,
        parameters: Mapping[str, NDArray[Any]],
        deviations: Mapping[str, Floats],
        *,
        n_fields: int,
        n_threads: int = 0,
    ) -> None:
        self._n_threads = thread_count(n_threads)
        self._model = model.resolve(n_fields)
        self._n_fields = n_fields
        self._n_features = len(parameters[_LINEAR])
        self._parameters = self._model.kernel_parameters(parameters)
        self._deviations = deviations

    def sample(self, rows: Rows, n: int, *, seed: int) -> Floats:
        """n draws of the logit of every row, float32 of shape (n, n_rows)."""
        parts = [self._draws(part, n, seed, tuple(self._deviations)) for part in self._blocks(rows)]
        return np.concatenate(parts, axis=1) if parts else np.empty((n, 0), np.float32)

    def std(self, rows: Rows, *, n_draws: int = N_DRAWS) -> NDArray[np.float64]:
        """The standard deviation of the logit of every row, float64 of shape (n_rows,).

        The variance of the linear terms is exact; that of the rest is the mean square over `n_draws` draws.
        """
        rest = tuple(name for name in self._deviations if name != _LINEAR)
        specs = self._model.parameter_specs(1, self._n_fields)
        variances = []
        for part in self._blocks(rows):
            part.check_bounds(self._n_features)
            batch = gather(
                {_LINEAR: self._deviations[_LINEAR].astype(np.float64) ** 2},
                part,
                specs,
                normalize=self._model.normalize,
            )
            variance = (batch.parameters[_LINEAR] * batch.values**2).sum(1)
            if rest:
                draws = self._draws(part, n_draws, 0, rest).astype(np.float64)
                center = self._draws(part, 1, 0, ()).astype(np.float64)
                variance = variance + ((draws - center) ** 2).mean(0)
            variances.append(variance)
        return np.sqrt(np.concatenate(variances)) if variances else np.empty(0)

    def _blocks(self, rows: Rows) -> list[Rows]:
        return [rows.slice(first, first + _BLOCK_ROWS) for first in range(0, rows.n_rows, _BLOCK_ROWS)]

    def _draws(self, rows: Rows, n: int, seed: int, names: tuple[str, ...]) -> Floats:
        """n draws of the logits in which the parameters of `names` vary, float32 of shape (n, n_rows)."""
        rows.check_bounds(self._n_features)
        ids, places = np.unique(rows.ids, return_inverse=True)
        small = replace(rows, ids=places.reshape(rows.ids.shape).astype(np.int32), y=None, weight=None)
        ids = ids.astype(np.int64)
        n_features = max(len(ids), 1)
        native = kernel.make(
            self._model, n_features=n_features, n_fields=self._n_fields, training=False, n_threads=self._n_threads
        )
        dense = [
            self._parameters[name].reshape(-1)
            for name in self._model.dense_specs(self._n_fields)
            if name in self._parameters
        ]
        if dense:
            native.write_dense(0, np.concatenate(dense).astype(np.float32))
        native.bias[0] = self._parameters["bias"][0]
        means = {
            name: np.ascontiguousarray(self._parameters[name][ids].reshape(-1, width), np.float32)
            for name, width, _ in native.parameters
        }
        for name, mean in means.items():
            native.write(name, mean)
        drawn = np.empty((n, rows.n_rows), np.float32)
        for draw in range(n):
            for number, (name, width, n_vectors) in enumerate(native.parameters):
                if name in names:
                    noise = np.empty((len(ids), width), np.float32)
                    kernels.normals(noise, ids, seed, draw * len(native.parameters) + number)
                    deviation = self._deviations[name][ids].reshape(-1, n_vectors)
                    native.write(name, means[name] + noise * np.repeat(deviation, width // n_vectors, axis=1))
            drawn[draw] = kernel.logits(native, small, n_features)
        return drawn
