r"""The logit as one inner product of a context's and an item's vector, and the best items by it.

Where the logit is a bias, linear terms and pair terms, those of a row divide into the context's own, the item's own
and those of pairs across, which are one inner product (`anyfm.models.pairs.PairTerms`):

.. math:: z(c, i) = z(c) + \langle q_c, v_i \rangle + o_i

with :math:`o_i` the sum of the item's own terms. The vectors here are :math:`(q_c, 1)` and :math:`(v_i, o_i)`.

float32 sums depend on their order in the last digits, so these scores are used to find candidates only: all items
within twice the error of both sums below the k-th best. The kernel then scores these, so that the result is exactly
what sorting the kernel's scores of all items gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows
from anyfm.models import gather
from anyfm.models.batch import Batch
from anyfm.models.pairs import Doubles, Indices

_MAX_FLOATS = 1 << 21  # numbers that a block of gathered rows may hold: 16 MB
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, eq=False)
class _Half:
    """Halves of rows in float64: vectors (B, D), own terms without the bias (B,), and bounds of the sums of absolute
    values of the linear terms and of the lengths of the entries' vectors, (B,)."""

    vectors: Doubles
    own: Doubles
    linear: Doubles
    lengths: Doubles


class InnerProducts:
    """The items' vectors, and the items of the highest scores. Made by `InnerProducts.of`."""

    def __init__(self, artifact: Artifact, items: Rows, own: Indices, other: Indices) -> None:
        self._artifact, self._own, self._other = artifact, own, other
        half = _concatenated(list(self._halves(items, query=False)))
        self.vectors: Floats = np.column_stack([half.vectors, half.own]).astype(np.float32)
        """(n_items, D + 1); the last column is the items' own terms."""
        self._max_linear = float(half.linear.max())
        self._max_length = float(half.lengths.max())
        self._n_slots = _longest(items)

    @classmethod
    def of(cls, artifact: Artifact, items: Rows, *, own: Indices, other: Indices) -> InnerProducts | None:
        """None where the logit is no such inner product. With `normalize` it is not: the length of a row depends on
        both halves."""
        model = artifact.model.resolve(artifact.n_fields)
        return cls(artifact, items, own, other) if model.is_sum_of_pairs and not model.normalize else None

    @cached_property
    def _blocks(self) -> Floats:
        """(blocks, D + 1, 16), as the kernel reads them."""
        n_items, width = self.vectors.shape
        lanes: int = kernels.items_per_block
        padded = np.zeros((-(-n_items // lanes) * lanes, width), np.float32)
        padded[:n_items] = self.vectors
        return np.ascontiguousarray(padded.reshape(-1, lanes, width).swapaxes(1, 2))

    def queries(self, contexts: Rows) -> tuple[Floats, Floats]:
        """The vectors (n, D + 1) of contexts, and how far a score may lie below the k-th best for its item to be among
        the k best by the kernel, (n,)."""
        half = _concatenated(list(self._halves(contexts, query=True)))
        vectors = np.column_stack([half.vectors, np.ones(len(half.own))]).astype(np.float32)
        # Every sum of n numbers in float32, in whatever order, lies within n u Σ |numbers| of the true one (Higham,
        # "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2). Numbers: at most n additions lie
        # between a number and the sum in any kernel. Their absolute values: |r ⟨u_i, u_j⟩| ≤ max|r| ‖u_i‖ ‖u_j‖, and as
        # much again for the squares that the sum over pairs is computed from.
        n_slots, n_fields = self._n_slots + _longest(contexts), self._artifact.n_fields
        n_additions = n_slots**2 + n_fields**2 * self._n_sixteens + 2 * vectors.shape[1] + 32
        pairs = 2 * self._weight * (half.lengths + self._max_length) ** 2
        is_classification = self._artifact.model.task.is_classification  # else the bias is added afterwards
        bias = abs(float(self._artifact.parameters["bias"][0])) if is_classification else 0.0
        total = bias + half.linear + self._max_linear + pairs
        error = 1.1 * n_additions * _UNIT_ROUNDOFF * total + 1e-30  # what is flushed to zero is less
        return vectors, (4 * error).astype(np.float32)

    def shortlist(
        self, contexts: Rows, k: int, *, skip_offsets: Indices, skip: NDArray[np.int32], n_threads: int
    ) -> tuple[Indices, Indices]:
        """A superset of the k best items of each context.

        Parameters
        ----------
        contexts : Rows
        k : int
        skip_offsets, skip : int64 array of shape (n + 1,), int32 array
            ``skip[skip_offsets[i]:skip_offsets[i + 1]]``: positions, ascending, of the items that context i leaves out.

        Returns
        -------
        offsets, positions
            ``positions[offsets[i]:offsets[i + 1]]``: positions of items for context i, ascending.
        """
        vectors, margins = self.queries(contexts)
        n_items = len(self.vectors)
        offsets, positions = kernels.shortlist(
            self._blocks, n_items, vectors, margins, k, skip_offsets, skip, n_threads
        )
        return offsets, positions.astype(np.int64)

    @cached_property
    def _weight(self) -> float:
        """The largest absolute weight of a pair of fields."""
        terms = self._artifact.model.pair_terms()
        weights = (
            None if terms is None else terms.field_pair_weights(self._artifact.parameters, self._artifact.n_fields)
        )
        return 1.0 if weights is None else max(1.0, float(abs(weights).max()))

    @cached_property
    def _n_sixteens(self) -> int:
        """How many sixteens of factors a vector has."""
        return max((-(-p.shape[-1] // 16) for p in self._artifact.parameters.values() if p.ndim > 1), default=1)

    def _halves(self, rows: Rows, *, query: bool) -> Iterator[_Half]:
        artifact = self._artifact
        rows.check_bounds(artifact.n_features)
        model = artifact.model.resolve(artifact.n_fields)
        terms = model.pair_terms()
        own, other = (self._other, self._own) if query else (self._own, self._other)
        n_slots = max(1, _longest(rows))
        n_floats = n_slots * (8 + sum(int(np.prod(p.shape[1:])) for p in artifact.parameters.values() if p.ndim > 1))
        size = max(1, _MAX_FLOATS // (2 * n_floats + model.floats_per_row(n_slots, artifact.n_fields)))
        specs = model.parameter_specs(artifact.n_features, artifact.n_fields)
        for first in range(0, max(rows.n_rows, 1), size):
            batch = gather(artifact.parameters, rows.slice(first, first + size), specs)
            linear = batch.parameters["linear"] * batch.values
            if terms is None:
                vectors, lengths = np.zeros((len(linear), 0)), np.zeros(len(linear))
            else:
                vectors = (terms.query_vectors if query else terms.item_vectors)(batch, own, other)
                scaled = terms.vectors(batch)
                lengths = np.sqrt((scaled**2).sum(tuple(range(2, scaled.ndim)))).sum(1)
            yield _Half(vectors, _own_terms(model, batch), abs(linear).sum(1), lengths)


def _own_terms(model: Any, batch: Batch) -> Doubles:
    """The logits of the halves by themselves, without the bias."""
    if batch.values.shape[1] == 0:
        return np.zeros(len(batch.values))
    alone: Doubles = model.logits(batch) - batch.parameters["bias"]
    return alone


def _concatenated(halves: list[_Half]) -> _Half:
    columns = ("vectors", "own", "linear", "lengths")
    return _Half(*(np.concatenate([getattr(half, column) for half in halves]) for column in columns))


def _longest(rows: Rows) -> int:
    return rows.ids.shape[1] if rows.offsets is None else int(np.diff(rows.offsets).max(initial=0))
