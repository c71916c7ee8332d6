"""Pair terms of a model: a symmetric bilinear form of two entries' scaled vectors, perhaps with a weight for each pair.

A model declares them once. Its logit, its explanations and ranking derive from them. Being bilinear, the form can be
taken of vectors relative to their field's mean too, which is how the strength of an interaction is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anyfm.models.batch import Batch

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


class PairTerms(ABC):
    """The pair terms of one model; B rows, S slots, F fields, K factors.

    The term of slots i and j is ``weights[i, j] * form(vectors, vectors)[i, j]``.
    """

    has_weights = False

    @abstractmethod
    def vectors(self, batch: Batch) -> Doubles:
        """The scaled vectors u_i = v_i x_i of the entries, (B, S, …); 0 in padding."""

    @abstractmethod
    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        """The form of `one` of slot i with `other` of slot j, (B, S, S); both as `vectors` gives them."""

    def weights(self, batch: Batch) -> Doubles | None:
        """The weight of each pair, (B, S, S), symmetric with 0 on the diagonal; None: all are 1."""
        return None

    def field_pair_weights(self, parameters: Mapping[str, NDArray[Any]], n_fields: int) -> Doubles | None:
        """A learned weight of each pair of fields, (F, F) and symmetric, part of `form`; None: the model has none."""
        return None

    # A row may be divided by fields into a context and an item; `own` are the fields of the one, `other` those of the
    # other. The pair terms between the two are then one inner product.

    def item_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        """The vector of each item, (B, D); the batch holds fields `own` only."""
        raise NotImplementedError

    def query_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        """The vector of each context, (B, D): its inner product with an item's is the sum of the pair terms between
        them. The batch holds fields `own` only."""
        raise NotImplementedError

    @abstractmethod
    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        """About how many numbers a row takes, so that blocks of rows fit the memory."""


class InnerProducts(PairTerms):
    """⟨u_i, u_j⟩ of one vector per feature, the parameter `factors`."""

    def __init__(self, n_factors: int) -> None:
        self._n_factors = n_factors

    def vectors(self, batch: Batch) -> Doubles:
        return np.asarray(batch.parameters["factors"] * batch.values[..., None])

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        return np.asarray(one @ other.swapaxes(1, 2))

    def item_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        return np.asarray(self.vectors(batch).sum(1))

    def query_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        return self.item_vectors(batch, own, other)

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return n_slots * (4 * n_slots + 4 * self._n_factors)


def sums_of_fields(batch: Batch, of_slots: Doubles, fields: Indices) -> Doubles:
    """Sums of an array of slots (B, S, …) over the slots of each of n fields, (B, n, …)."""
    slots = (batch.fields[:, None, :] == fields[:, None]).astype(np.float64)  # (B, n, S)
    flat = of_slots.reshape(*of_slots.shape[:2], -1)
    return np.asarray((slots @ flat).reshape(len(flat), len(fields), *of_slots.shape[2:]))
