"""Rows as the tensors of a batch, and what formulas do only in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from anyfm.core.native import kernels
from anyfm.core.rows import Rows
from anyfm.models import Batch

Tensor = torch.Tensor
_MOMENTUM = 0.1  # of the running moments of batch normalization


@dataclass(frozen=True)
class TorchBatch(Batch):
    """`Batch` of tensors, whose sums by field are one scattered addition."""

    def by_field(self, of_slots: Tensor, n_fields: int) -> Tensor:
        if self.in_order and of_slots.shape[1] == n_fields:
            return of_slots
        place = self.fields[..., None].expand(of_slots.shape)
        zeros = of_slots.new_zeros((len(of_slots), n_fields, of_slots.shape[2]))
        return zeros.scatter_add(1, place, of_slots)


@dataclass(frozen=True)
class RowTensors:
    """The rows of a batch, without parameters; B rows, S slots.

    Parameters
    ----------
    ids : int32 tensor of shape (B, S)
        −1 in the padding of ragged rows.
    values : tensor of shape (B, S)
        0 in padding.
    fields : int64 tensor of shape (B, S)
    in_order : bool
        Whether slot s is field s in every row.
    """

    ids: Tensor
    values: Tensor
    fields: Tensor
    in_order: bool

    def slice(self, first: int, last: int) -> RowTensors:
        part = slice(first, last)
        return replace(self, ids=self.ids[part], values=self.values[part], fields=self.fields[part])

    def batch(self, parameters: Mapping[str, Tensor], training: TorchTraining | None) -> Batch:
        """These rows with their gathered parameters."""
        return TorchBatch(
            parameters=parameters,
            values=self.values,
            fields=self.fields,
            present=self.ids >= 0,
            in_order=self.in_order,
            training=None if training is None else training.on(self.ids),
        )


def row_tensors(rows: Rows, index: NDArray[np.int64] | slice, *, normalize: bool, device: torch.device) -> RowTensors:
    """The rows at `index`, in that order; with `normalize` each divided by its Euclidean norm."""
    ids, values, fields = _fixed(rows, index) if rows.offsets is None else _padded(rows, index)
    in_order = fields.ndim == 1 and bool((fields == np.arange(len(fields))).all())
    numbers = torch.ones(()) if values is None else torch.from_numpy(values)
    if normalize and values is None:
        numbers = torch.tensor(1 / np.sqrt(max(ids.shape[1], 1)), dtype=torch.float32)
    elif normalize:
        norm = numbers.square().sum(1, keepdim=True).sqrt()
        numbers = numbers / torch.where(norm > 0, norm, 1.0)
    return RowTensors(
        ids=torch.from_numpy(ids).to(device),
        values=numbers.to(device).expand(ids.shape),
        fields=torch.from_numpy(fields.astype(np.int64)).to(device).expand(ids.shape),
        in_order=in_order,
    )


def _fixed(
    rows: Rows, index: NDArray[np.int64] | slice
) -> tuple[NDArray[np.int32], NDArray[np.float32] | None, NDArray[np.int32]]:
    ids = np.ascontiguousarray(rows.ids[index])
    fields = np.arange(ids.shape[1], dtype=np.int32) if rows.fields is None else rows.fields
    return ids, None if rows.values is None else rows.values[index], fields


def _padded(
    rows: Rows, index: NDArray[np.int64] | slice
) -> tuple[NDArray[np.int32], NDArray[np.float32] | None, NDArray[np.int32]]:
    """Ragged rows as a rectangle. Where every row holds fields 0, 1, … in order, it is one without padding."""
    assert rows.offsets is not None
    starts, ends = rows.offsets[:-1][index], rows.offsets[1:][index]
    lengths = ends - starts
    width = int(lengths.max(initial=0))
    present = np.arange(width) < lengths[:, None]
    at = (starts[:, None] + np.arange(width))[present]
    ids = np.full(present.shape, -1, np.int32)
    ids[present] = rows.ids[at]
    fields = np.zeros(present.shape, np.int32)
    if rows.fields is not None:
        fields[present] = rows.fields[at]
    if present.all() and rows.fields is not None and bool((fields == np.arange(width)).all()):
        values = None if rows.values is None else rows.values[at].reshape(present.shape)
        return ids, values, np.arange(width, dtype=np.int32)
    values = np.zeros(present.shape, np.float32)
    values[present] = 1.0 if rows.values is None else rows.values[at]
    return ids, values, fields


class TorchTraining:
    """Dropout from its own seed, batch normalization with its running moments, gradients shrunk by feature count.

    On the CPU dropout masks are drawn natively (native/optim/dropout.hpp): torch's take longer than the MLP.

    Parameters
    ----------
    running : dict of str to tensor
        The running means and variances by name; changed in place.
    seed : sequence of int
        Of this batch; each layer draws from it and its own number.
    counts : function of ids
        How often features occur in the training rows.
    """

    def __init__(self, running: dict[str, Tensor], seed: Sequence[int], counts: Callable[[Tensor], Tensor]) -> None:
        self._running = running
        self._seed = list(seed)
        self._counts = counts
        self._n_drawn = 0
        self._ids: Tensor | None = None

    def on(self, ids: Tensor) -> TorchTraining:
        """The same for the rows of these ids (B, S)."""
        self._ids = ids
        return self

    def dropout(self, array: Tensor, rate: float) -> Tensor:
        self._n_drawn += 1
        seed = int(np.random.SeedSequence([*self._seed, self._n_drawn]).generate_state(1, np.uint64)[0])
        mask = torch.empty(array.shape, device=array.device)
        if array.device.type == "cpu":
            kernels.dropout_mask(mask.view(-1).numpy(), rate=rate, seed=seed)
        else:
            generator = torch.Generator(array.device).manual_seed(seed >> 1)
            mask.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
        return array * mask.to(array.dtype)

    def moments(self, prefix: str, array: Tensor) -> tuple[Tensor, Tensor]:
        n = len(array)
        mean = array.mean(0)
        variance = (array - mean).square().mean(0)
        unbiased = variance.detach() * (n / max(n - 1, 1))
        self._running[f"{prefix}mean"].lerp_(mean.detach().float(), _MOMENTUM)
        self._running[f"{prefix}variance"].lerp_(unbiased.float(), _MOMENTUM)
        return mean, variance

    def shrink_gradient(self, array: Tensor, shrinkage: float) -> Tensor:
        assert self._ids is not None
        if shrinkage == 0 or not array.requires_grad:
            return array
        counts = self._counts(self._ids)
        fraction = (counts / (counts + shrinkage))[..., None]
        array = array.view_as(array)
        array.register_hook(lambda gradient: gradient * fraction)
        return array
