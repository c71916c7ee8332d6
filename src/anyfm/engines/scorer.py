"""The scorer of saved parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, got
from anyfm.core.rows import Floats, Ids, Rows
from anyfm.core.threads import available_threads
from anyfm.engines import attention, field_factors, kernel, perceptron
from anyfm.models import BaseModel


class NativeScorer:
    """Scores rows with given parameters. Safe to call from many threads at once.

    Parameters
    ----------
    model : BaseModel
    parameters : mapping of str to float32 array
        As `Engine.parameters` gives them.
    n_fields : int
    n_threads : int
        0 means all cores of this process.
    """

    def __init__(
        self, model: BaseModel, parameters: Mapping[str, NDArray[Any]], *, n_fields: int, n_threads: int = 0
    ) -> None:
        self.model = model
        self.n_features = len(parameters["linear"])
        self.n_fields = n_fields
        self._native = kernel.make(
            model,
            n_features=self.n_features,
            n_fields=n_fields,
            training=False,
            n_threads=n_threads or available_threads(),
        )
        table = self._native.table
        for name, (first, n) in self._native.columns:
            if name in parameters:
                table[:, first : first + n] = parameters[name].reshape(self.n_features, n)
        if "field_factors" in parameters:
            self._native.write_factors(np.require(parameters["field_factors"], np.float32, ["C", "W"]))
        if model.name == "afm":
            attention.AttentionNetwork(self._native, model).write(parameters)
        if model.name == "deepfm":
            perceptron.write(self._native, model, parameters)
        self._native.bias[0] = parameters["bias"][0]

    def logits(self, rows: Rows) -> Floats:
        """The logit of every row, float32 of shape (n_rows,)."""
        return kernel.logits(self._native, rows, self.n_features)

    def logit(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        """The logit of one row: ids int32 of shape (n,), values float32 and fields int32 of the same shape."""
        try:
            return float(self._native.logit(ids, values, fields))
        except IndexError:
            raise InputError(
                got(f"a feature id must lie in 0 … {self.n_features - 1}", ids=[int(i) for i in ids])
            ) from None
        except ValueError as error:
            if self._native.n_fields > 0:
                offsets = np.array([0, len(ids)], np.int64)
                stated = np.arange(len(ids), dtype=np.int32) if fields is None else fields
                field_factors.check_fields(Rows(ids=ids, offsets=offsets, fields=stated), self._native.n_fields)
            raise InputError(
                got(f"values and fields must fit the ids and {self.n_fields} fields", reason=str(error))
            ) from None
