"""A batch of rows with its parameters gathered, as numpy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.core.task import Array, library
from anyfm.models.parameters import Specs


class TrainingMode(Protocol):
    """What a formula does only in training; the torch engine implements it."""

    def dropout(self, array: Array, rate: float) -> Array: ...

    def moments(self, prefix: str, array: Array) -> tuple[Array, Array]: ...

    def shrink_gradient(self, array: Array, shrinkage: float) -> Array: ...


@dataclass(frozen=True)
class Batch:
    """B rows of S slots.

    Parameters
    ----------
    parameters : mapping of str to array
        Per-feature parameters gathered to (B, S, …); the others whole.
    values : array of shape (B, S)
        The value x of each slot, already normalized if the model asks for it; 0 in padding.
    fields : int array of shape (B, S)
        The field of each slot.
    present : bool array of shape (B, S)
        False in the padding of ragged rows.
    in_order : bool
        Whether slot s is field s in every row.
    training : TrainingMode, optional
        Given in training only.
    """

    parameters: Mapping[str, Array]
    values: Array
    fields: Array
    present: Array
    in_order: bool = False
    training: TrainingMode | None = None

    def dropout(self, array: Array, rate: float) -> Array:
        """In training, the array with a fraction `rate` of its values zero and the others divided by 1 − rate."""
        return array if self.training is None or rate == 0 else self.training.dropout(array, rate)

    def moments(self, prefix: str, array: Array) -> tuple[Array, Array]:
        """Mean and variance of the columns of `array`: in training of this batch, otherwise the running ones."""
        if self.training is not None:
            return self.training.moments(prefix, array)
        return self.parameters[f"{prefix}mean"], self.parameters[f"{prefix}variance"]

    def shrink_gradient(self, array: Array, shrinkage: float) -> Array:
        """The array (B, S, …), whose gradient in training is multiplied by n / (n + shrinkage) for a feature with n
        occurrences in the training rows."""
        return array if self.training is None else self.training.shrink_gradient(array, shrinkage)

    def by_field(self, of_slots: Array, n_fields: int) -> Array:
        """Sums of a vector per slot, (B, S, K), by field, (B, n_fields, K)."""
        if self.in_order and of_slots.shape[1] == n_fields:
            return of_slots
        fields = [(self.fields == field)[..., None] * of_slots for field in range(n_fields)]
        return library(of_slots).stack([of_field.sum(1) for of_field in fields], 1)


def gather(parameters: Mapping[str, NDArray[Any]], rows: Rows, specs: Specs, *, normalize: bool = False) -> Batch:
    """Gather the parameters of `rows` in float64 numpy, padding ragged rows to their longest.

    With `normalize`, each row's values are divided by their Euclidean norm (a row of zeros stays).
    """
    if rows.offsets is None:
        ids = rows.ids
        present = np.ones(ids.shape, bool)
        values = np.ones(ids.shape) if rows.values is None else rows.values.astype(np.float64)
        slot_fields = np.arange(ids.shape[1]) if rows.fields is None else rows.fields
        fields = np.broadcast_to(slot_fields, ids.shape)
    else:
        lengths = np.diff(rows.offsets)
        present = np.arange(lengths.max(initial=0)) < lengths[:, None]
        ids = np.zeros(present.shape, np.int32)
        values = np.zeros(present.shape)
        fields = np.zeros(present.shape, np.int32)
        ids[present] = rows.ids
        values[present] = 1.0 if rows.values is None else rows.values
        fields[present] = 0 if rows.fields is None else rows.fields
    if normalize:
        norm = np.sqrt((values**2).sum(axis=1, keepdims=True))
        values = values / np.where(norm > 0, norm, 1.0)
    gathered = {
        name: array[ids].astype(np.float64) if specs[name].per_feature else array.astype(np.float64)
        for name, array in parameters.items()
    }
    in_order = rows.offsets is None and bool((fields == np.arange(fields.shape[1])).all())
    return Batch(parameters=gathered, values=values, fields=fields, present=present, in_order=in_order)
