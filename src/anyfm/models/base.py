"""What a model is: its settings, its parameters, and its logit as an expression of gathered arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.core.settings import Settings, choice, setting
from anyfm.core.task import Task, get_task
from anyfm.models.mlp import MLP
from anyfm.models.operations import Array, library
from anyfm.models.pairs import PairTerms


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Settings every model has."""

    task: str = setting("binary", choice("binary", "regression"), "binary (logloss) or regression (squared loss)")


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter array of a model.

    Parameters
    ----------
    shape : tuple of int
        The full shape; per-feature parameters start with n_features.
    per_feature : bool
        Whether the first axis is the feature, so that a batch gathers its rows of it.
    """

    shape: tuple[int, ...]
    per_feature: bool


class TrainingMode(Protocol):
    """What is different in training; engines implement it."""

    def dropout(self, array: Array, rate: float) -> Array: ...

    def moments(self, prefix: str, array: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Batch:
    """A batch with its parameters gathered; numpy arrays or torch tensors.

    Parameters
    ----------
    parameters : mapping of str to array
        Per-feature parameters gathered to (B, S, …); the others whole.
    values : array of shape (B, S)
        The value x of each slot, already normalised if the model asks for it; 0 in padding.
    fields : int array of shape (B, S)
        The field of each slot.
    present : bool array of shape (B, S)
        False in the padding of ragged rows.
    in_order : bool
        Whether slot s is field s in every row, and there are no other fields.
    training : TrainingMode, optional
        In training, what drops numbers out and takes moments over the batch.
    """

    parameters: Mapping[str, Array]
    values: Array
    fields: Array
    present: Array
    in_order: bool = False
    training: TrainingMode | None = None

    def dropout(self, array: Array, rate: float) -> Array:
        """In training, the array with a share `rate` of its numbers zero and the others divided by 1 − rate."""
        return array if self.training is None or rate == 0 else self.training.dropout(array, rate)

    def moments(self, prefix: str, array: Array) -> tuple[Array, Array]:
        """Mean and variance of the columns of `array`: in training of this batch, otherwise those that were kept."""
        if self.training is not None:
            return self.training.moments(prefix, array)
        return self.parameters[f"{prefix}mean"], self.parameters[f"{prefix}variance"]

    def by_field(self, of_slots: Array, n_fields: int) -> Array:
        """Sums of a vector per slot, (B, S, K), by field, (B, n_fields, K)."""
        if self.in_order and of_slots.shape[1] == n_fields:
            return of_slots
        fields = [(self.fields == field)[..., None] * of_slots for field in range(n_fields)]
        return library(of_slots).stack([of_field.sum(1) for of_field in fields], 1)


class BaseModel(ABC):
    """One member of the family. Stateless: parameters live in the engine that trains them.

    Subclasses are final. They know no file, no loop and no device.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # its name in running text, such as "Factorization machine"
    summary: ClassVar[str]  # one sentence: what its score is made of
    settings_type: ClassVar[type[ModelSettings]]
    needs_fields: ClassVar[bool] = False  # whether the logit depends on which field an entry is of

    def __init__(self, config: ModelSettings | None = None) -> None:
        self.settings: Any = config if config is not None else self.settings_type()
        self.normalize = bool(getattr(self.settings, "normalize", False))

    @property
    def task(self) -> Task:
        """What is predicted."""
        return get_task(self.settings.task)

    @abstractmethod
    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        """The parameters by name, for a table of `n_features` features in `n_fields` fields."""

    @abstractmethod
    def logits(self, batch: Batch) -> Array:
        """The logit of each row, shape (B,); for regression, the prediction itself."""

    def pair_terms(self) -> PairTerms | None:
        """The terms of pairs of entries; None for a model without pairs."""
        return None

    def mlp(self, parameters: Mapping[str, NDArray[Any]]) -> MLP | None:
        """The part of the logit that is no sum over fields and pairs, as a function of the fields' summed vectors
        (B, F K); None for a model without it."""
        return None

    def for_fields(self, n_fields: int) -> BaseModel:
        """This model with every setting decided that depends on the number of fields."""
        return self

    def n_parameters(self, n_features: int, n_fields: int) -> int:
        """How many numbers the model learns."""
        return sum(
            int(np.prod(spec.shape, dtype=object)) for spec in self.parameter_specs(n_features, n_fields).values()
        )


def linear_terms(batch: Batch) -> Array:
    """w_i x_i of each slot, shape (B, S)."""
    return batch.parameters["linear"] * batch.values


def gather(
    parameters: Mapping[str, NDArray[Any]], rows: Rows, specs: Mapping[str, ParameterSpec], *, normalize: bool = False
) -> Batch:
    """Gather the parameters of `rows` in numpy, padding ragged rows to their longest.

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


def specification_logits(model: BaseModel, parameters: Mapping[str, NDArray[Any]], rows: Rows) -> NDArray[np.float64]:
    """The model's logits in float64 numpy: slow, obvious, and what every engine is held to. Shape (n_rows,)."""
    specs = model.parameter_specs(n_features=len(parameters["linear"]), n_fields=_n_fields(parameters))
    normalize = bool(getattr(model.settings, "normalize", False))
    logits: NDArray[np.float64] = model.logits(gather(parameters, rows, specs, normalize=normalize))
    return logits


def _n_fields(parameters: Mapping[str, NDArray[Any]]) -> int:
    factors = parameters.get("field_factors")
    return 1 if factors is None else int(factors.shape[1])
