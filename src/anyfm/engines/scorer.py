"""Scoring with trained parameters: by the model's kernel, or by its formula in numpy."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, got
from anyfm.core.rows import Floats, Ids, Rows, Targets
from anyfm.core.threads import thread_count
from anyfm.engines import kernel
from anyfm.models import BaseModel, specification_logits

logger = logging.getLogger(__name__)
_SPECIFICATION_ROWS = 1024


class Scorer(ABC):
    """Scores rows with given parameters. Safe to call from many threads at once."""

    @abstractmethod
    def logits(self, rows: Rows) -> Targets:
        """The logit of every row, float32 of shape (n_rows,); float64 for regression."""

    @abstractmethod
    def logit(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        """The logit of one row: ids int32 of shape (n,), values float32 and fields int32 of the same shape."""


def make_scorer(
    model: BaseModel, parameters: Mapping[str, NDArray[Any]], *, n_fields: int, n_threads: int = 0
) -> Scorer:
    """The fastest scorer for a model.

    Parameters
    ----------
    model : BaseModel
    parameters : mapping of str to array
        As `Engine.parameters` returns them.
    n_fields : int
    n_threads : int
        0 means all cores of this process.
    """
    if model.kernel is None:
        return SpecificationScorer(model, parameters, n_fields=n_fields)
    return NativeScorer(model, parameters, n_fields=n_fields, n_threads=n_threads)


class NativeScorer(Scorer):
    """Scores with a compiled kernel; parameters as for `make_scorer`."""

    def __init__(
        self, model: BaseModel, parameters: Mapping[str, NDArray[Any]], *, n_fields: int, n_threads: int = 0
    ) -> None:
        model = model.resolve(n_fields)
        self._n_features = len(parameters["linear"])
        self._native = kernel.make(
            model,
            n_features=self._n_features,
            n_fields=n_fields,
            training=False,
            n_threads=thread_count(n_threads),
        )
        parameters = model.kernel_parameters(parameters)
        for name, width, _ in self._native.parameters:
            self._native.write(name, np.require(parameters[name].reshape(-1, width), np.float32, ["C", "W"]))
        dense = [parameters[name].reshape(-1) for name in model.dense_specs(n_fields) if name in parameters]
        if dense:
            self._native.write_dense(0, np.concatenate(dense).astype(np.float32))
        # A regression's bias is added in float64: beside a large mean of the target the rest would have no digits.
        self._bias: float | None = None
        if model.task.is_classification:
            self._native.bias[0] = parameters["bias"][0]
        else:
            self._bias = float(parameters["bias"][0])

    def logits(self, rows: Rows) -> Targets:
        logits = kernel.logits(self._native, rows, self._n_features)
        return logits if self._bias is None else logits.astype(np.float64) + self._bias

    def logit(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        try:
            return float(self._native.logit(ids, values, fields)) + (self._bias or 0.0)
        except IndexError:
            raise InputError(
                got(f"a feature id must lie in 0 … {self._n_features - 1}", ids=[int(i) for i in ids])
            ) from None
        except ValueError as error:
            n_fields = self._native.n_fields
            if n_fields > 0:
                _one_row(ids, values, fields).check_fields(n_fields)
            raise InputError(
                got(f"values and fields must fit the ids and {n_fields} fields", reason=str(error))
            ) from None


class SpecificationScorer(Scorer):
    """Scores with the model's formula in float64 numpy: for models without a kernel, correct and slow."""

    def __init__(self, model: BaseModel, parameters: Mapping[str, NDArray[Any]], *, n_fields: int) -> None:
        self._model, self._parameters, self._n_fields = model, parameters, n_fields
        logger.warning("%s has no native kernel: numpy scores with its formula, slowly", model.name)

    def logits(self, rows: Rows) -> Targets:
        rows.check_bounds(len(self._parameters["linear"]))
        if self._model.needs_fields:
            rows.check_fields(self._n_fields)
        parts = [
            specification_logits(self._model, self._parameters, rows.slice(first, first + _SPECIFICATION_ROWS))
            for first in range(0, rows.n_rows, _SPECIFICATION_ROWS)
        ]
        logits = np.concatenate(parts) if parts else np.empty(0)
        return logits.astype(np.float32) if self._model.task.is_classification else logits

    def logit(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        return float(self.logits(_one_row(ids, values, fields))[0])


def _one_row(ids: Ids, values: Floats | None, fields: NDArray[np.int32] | None) -> Rows:
    offsets = np.array([0, len(ids)], np.int64)
    stated = np.arange(len(ids), dtype=np.int32) if fields is None else fields
    return Rows(ids=ids, offsets=offsets, values=values, fields=stated)
