"""The per-feature parameters of the torch engine: gathered for a batch, and stepped where the batch touched them.

On the CPU both are native operations (native/models/sparse_store.hpp), elsewhere torch expressions, to which the tests
hold the native ones. Only features of the batch are read or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.core.native import kernels
from anyfm.models import ParameterSpec

Tensor = torch.Tensor
Gradients = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Group:
    """The columns of one per-feature parameter in a feature's record.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of one feature's parameters.
    n_vectors, length : int
        It holds so many vectors of so many numbers; each vector has an accumulator and a penalty of its own.
    first, accumulator, penalty, previous : int
        The columns where its weights, accumulators and penalties begin, and the accumulators of the last estimate.
    """

    name: str
    shape: tuple[int, ...]
    n_vectors: int
    length: int
    first: int
    accumulator: int
    penalty: int
    previous: int

    @property
    def width(self) -> int:
        return self.n_vectors * self.length


def layout(specs: Mapping[str, ParameterSpec]) -> tuple[list[Group], int, int]:
    """The groups of a record, the column of the feature's count, and the record's length in floats."""
    shapes = {name: spec.shape[1:] for name, spec in specs.items() if spec.per_feature}
    shapes = dict(sorted(shapes.items(), key=lambda item: -len(item[1])))  # vectors first: they lie aligned
    n_vectors = {name: shape[0] if len(shape) == 2 else 1 for name, shape in shapes.items()}
    widths = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    at, all_vectors = sum(widths.values()), sum(n_vectors.values())
    groups, first, vector = [], 0, at
    for name, shape in shapes.items():
        n = n_vectors[name]
        columns = (vector, vector + all_vectors, vector + 2 * all_vectors)
        groups.append(Group(name, shape, n, widths[name] // n, first, *columns))
        first, vector = first + widths[name], vector + n
    count = at + 3 * all_vectors
    return groups, count, -(-(count + 1) // 8) * 8


class FeatureStore:
    """The records of all features, one tensor (n_features, floats of a record).

    Parameters
    ----------
    specs : mapping of str to ParameterSpec
        Of the model; those that are not per feature are passed over.
    n_features : int
    device : torch.device
    n_threads : int
        Of the native operations; the result does not depend on it.
    plain : bool, optional
        Whether to use torch expressions; by default on every device but the CPU.
    """

    def __init__(
        self,
        specs: Mapping[str, ParameterSpec],
        *,
        n_features: int,
        device: torch.device,
        n_threads: int,
        plain: bool | None = None,
    ) -> None:
        self.groups, self._count, stride = layout(specs)
        self.records = torch.zeros((n_features, stride), device=device)
        self._counts = torch.zeros(n_features, device=device)
        self._plain = device.type != "cpu" if plain is None else plain
        self._n_threads = n_threads
        self._native = self._bound(self.records)
        self._anchor = torch.zeros(0, requires_grad=True)  # without it autograd would take a gather for a constant

    def _bound(self, records: Tensor) -> Any:
        """The native operations on records that lie in this machine's memory."""
        if records.device.type != "cpu":
            return None
        columns = [[g.first, g.n_vectors, g.length, g.accumulator, g.penalty, g.previous] for g in self.groups]
        return kernels.SparseStore.make(
            records.numpy(), groups=columns, count_column=self._count, n_threads=self._n_threads
        )

    def weights(self, group: Group) -> Tensor:
        """A view of one parameter, (n_features, width)."""
        return self.records[:, group.first : group.first + group.width]

    def counts(self, ids: Tensor) -> Tensor:
        """How often each of the features `ids` occurs in the training rows; anything for negative ids."""
        return self._counts[ids.clamp(min=0).long()]

    def start(self, counts: NDArray[np.float32], accumulators: Mapping[str, float]) -> None:
        """Zero all weights, note how often each feature occurs, and set the accumulators of each parameter."""
        self.records.zero_()
        self._counts = torch.from_numpy(counts).to(self.records.device)  # beside the records, where they lie closer
        self.records[:, self._count] = self._counts
        for group in self.groups:
            self.records[:, group.accumulator : group.accumulator + group.n_vectors] = accumulators[group.name]

    def read(self, group: Group, ids: Tensor) -> Tensor:
        """The weights of the features `ids` (B, S), shape (B, S, width); zeros for negative ids."""
        if self._plain:
            present = (ids >= 0).unsqueeze(-1)
            return self.weights(group)[ids.clamp(min=0).long()] * present
        out = torch.empty((*ids.shape, group.width))
        self._native.gather(self.groups.index(group), ids.numpy(), out.numpy())
        return out

    def gather(self, ids: Tensor, gradients: Gradients | None = None) -> dict[str, Tensor]:
        """Every per-feature parameter of the features `ids` (B, S), by name: (B, S, …).

        With `gradients`, autograd puts the gradient of each, (B, S, width), there by name.
        """
        found = {}
        for group in self.groups:
            if gradients is None:
                gathered = self.read(group, ids)
            else:
                gathered = _Gather.apply(self._anchor, self, group, ids, gradients)
            found[group.name] = gathered.view(*ids.shape, *group.shape)
        return found

    def step(
        self,
        ids: Tensor,
        gradients: Mapping[str, Tensor],
        weight: Tensor | None,
        *,
        learning_rate: float,
        crowding: float,
    ) -> None:
        """One Adagrad step of every feature in `ids` (B, S) along the summed gradients of its entries.

        Parameters
        ----------
        ids : int32 tensor of shape (B, S)
            Negative where there is no entry.
        gradients : mapping of str to tensor (B, S, width)
            By parameter; a parameter that is not there stays.
        weight : tensor of shape (B,), optional
            The rows' weights.
        learning_rate, crowding : float
            As native/optim/adagrad.hpp has them.
        """
        if self._plain:
            self._step_plainly(ids, gradients, weight, learning_rate=learning_rate, crowding=crowding)
            return
        arrays = [gradients[g.name].numpy() if g.name in gradients else None for g in self.groups]
        self._native.update(
            ids.numpy(),
            arrays,
            None if weight is None else weight.numpy(),
            learning_rate=learning_rate,
            crowding=crowding,
        )

    def _step_plainly(
        self,
        ids: Tensor,
        gradients: Mapping[str, Tensor],
        weight: Tensor | None,
        *,
        learning_rate: float,
        crowding: float,
    ) -> None:
        there = ids.reshape(-1) >= 0
        features, place = ids.reshape(-1)[there].long().unique(return_inverse=True)
        occurrences = torch.ones(ids.shape, device=ids.device) if weight is None else weight[:, None].expand(ids.shape)
        occurrences = _summed(occurrences.reshape(-1, 1)[there], place, len(features))
        records = self.records[features]
        crowd = (crowding * records[:, self._count, None]).clamp(min=1.0)
        for group in self.groups:
            if group.name not in gradients:
                continue
            gradient = gradients[group.name].reshape(-1, group.n_vectors, group.length)[there]
            total = _summed(gradient, place, len(features))
            squares = _summed((gradient**2).mean(2), place, len(features))
            vectors = slice(group.accumulator, group.accumulator + group.n_vectors)
            records[:, vectors] += squares * crowd
            root = records[:, vectors].sqrt()[..., None]
            penalty = occurrences * records[:, group.penalty : group.penalty + group.n_vectors]
            columns = slice(group.first, group.first + group.width)
            weights = records[:, columns].reshape(total.shape)
            stepped = (weights * root - learning_rate * total) / (root + learning_rate * penalty[..., None])
            records[:, columns] = stepped.reshape(len(features), group.width)
        self.records[features] = records

    def set_priors(
        self,
        field_of: NDArray[np.int32],
        priors: Sequence[Any],
        *,
        dispersion: float,
        crowding: float,
        estimate: bool,
        n_epochs: int,
    ) -> None:
        """Set every penalty from its field's λ, estimated first if asked for (native/optim/priors.hpp).

        `priors` holds a kernels.Prior for every vector of a record, in the order of `groups`. Once an epoch, so that on
        other devices the records are copied to the CPU and back.
        """
        records = self.records.cpu()
        native = self._native if self._native is not None else self._bound(records)
        native.set_priors(
            field_of=field_of,
            priors=priors,
            dispersion=dispersion,
            crowding=crowding,
            estimate=estimate,
            n_epochs=n_epochs,
        )
        if self._native is None:
            self.records.copy_(records)


class _Gather(torch.autograd.Function):
    """`FeatureStore.read` whose gradient is left in a dictionary: its size is the batch's, not the table's."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, store: FeatureStore, group: Group, ids: Tensor, into: Gradients) -> Tensor:
        ctx.group, ctx.into = group, into
        return store.read(group, ids)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        ctx.into.setdefault(ctx.group.name, []).append(gradients[0].contiguous())
        return None, None, None, None, None


def _summed(numbers: Tensor, place: Tensor, n: int) -> Tensor:
    """Sums of the rows of `numbers` by their place in 0 … n − 1."""
    return torch.zeros((n, *numbers.shape[1:]), device=numbers.device).index_add_(0, place, numbers)
