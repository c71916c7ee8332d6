"""Rows: the one value that travels from the encoder to the engines. numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError, got, located

Ids = NDArray[np.int32]
MAX_WEIGHT = 1e12  # beyond which sums of squares leave float32
Floats = NDArray[np.float32]
Targets = NDArray[np.float32] | NDArray[np.float64]
MAX_FEATURES = 2**31 - 1
_FINGERPRINT_ROWS = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Integer-coded rows, of fixed width or ragged.

    Parameters
    ----------
    ids : int32 array
        Global feature ids. Fixed width: shape (n_rows, n_slots). Ragged: shape (n_entries,), with `offsets`.
    offsets : int64 array of shape (n_rows + 1,), optional
        Row i of ragged rows owns entries ``offsets[i]:offsets[i + 1]``. Rows may be empty.
    values : float32 array of the shape of `ids`, optional
        The value x of each entry; absent means all ones.
    fields : int32 array, optional
        The field of each slot, shape (n_slots,) for fixed width (absent: slot s is field s), or the field of each
        entry, shape (n_entries,), for ragged rows (needed there by FFM only).
    y : float32 or float64 array of shape (n_rows,), optional
        The target: 0 or 1 for binary tasks, a number for regression.
    weight : float32 array of shape (n_rows,), optional
        Row weights; absent means all ones. Weight 3 counts as three copies, weight 0 as none.

    Raises
    ------
    SettingError
        An array has the wrong dtype or shape, or offsets do not ascend from 0 to n_entries.
    """

    ids: Ids
    offsets: NDArray[np.int64] | None = None
    values: Floats | None = None
    fields: NDArray[np.int32] | None = None
    y: Targets | None = None
    weight: Floats | None = None

    def __post_init__(self) -> None:
        _check("ids", self.ids, np.int32, None)
        if self.offsets is None:
            if self.ids.ndim != 2:
                raise SettingError(got("ids of fixed-width rows must be two-dimensional", ids_ndim=self.ids.ndim))
            fields_shape: tuple[int, ...] = (self.ids.shape[1],)
        else:
            _check("offsets", self.offsets, np.int64, None)
            if self.ids.ndim != 1 or self.offsets.ndim != 1 or len(self.offsets) == 0:
                raise SettingError(
                    got("ragged rows need one-dimensional ids and offsets of n_rows + 1", ids_ndim=self.ids.ndim)
                )
            if self.offsets[0] != 0 or self.offsets[-1] != len(self.ids) or bool((np.diff(self.offsets) < 0).any()):
                raise SettingError(
                    got(
                        "offsets must ascend from 0 to the number of entries",
                        first=int(self.offsets[0]),
                        last=int(self.offsets[-1]),
                        n_entries=len(self.ids),
                    )
                )
            fields_shape = self.ids.shape
        _check("values", self.values, np.float32, self.ids.shape)
        _check("fields", self.fields, np.int32, fields_shape)
        is_double = isinstance(self.y, np.ndarray) and self.y.dtype == np.float64
        _check("y", self.y, np.float64 if is_double else np.float32, (self.n_rows,))
        _check("weight", self.weight, np.float32, (self.n_rows,))

    @property
    def n_rows(self) -> int:
        return len(self.ids) if self.offsets is None else len(self.offsets) - 1

    @property
    def is_ragged(self) -> bool:
        return self.offsets is not None

    @property
    def n_entries(self) -> int:
        """How many (feature, value) entries all rows hold together."""
        return self.ids.size

    def check_bounds(self, n_features: int) -> None:
        """Raise InputError for the first id outside 0 … n_features − 1, naming its row."""
        if self.ids.size == 0:
            return
        if int(self.ids.min()) >= 0 and int(self.ids.max()) < n_features:
            return
        flat = self.ids.reshape(-1)
        entry = int(np.flatnonzero((flat < 0) | (flat >= n_features))[0])
        row = entry // self.ids.shape[1] if self.offsets is None else self._row_of(entry)
        raise InputError(located(f"a feature id must lie in 0 … {n_features - 1}", row=row + 1, value=int(flat[entry])))

    def check_fields(self, n_fields: int) -> None:
        """Raise SettingError if fields are not stated, InputError for the first outside 0 … n_fields − 1."""
        if self.fields is None and self.offsets is not None:
            raise SettingError(got("ragged rows of a field-aware model must state a field per entry", fields=None))
        stated = np.arange(self.ids.shape[1]) if self.fields is None else self.fields
        wrong = np.flatnonzero((stated < 0) | (stated >= n_fields))
        if len(wrong) > 0:
            entry = int(wrong[0])
            row = None if self.offsets is None else self._row_of(entry) + 1
            problem = f"a field must lie in 0 … {n_fields - 1}"
            raise InputError(located(problem, row=row, value=int(stated[entry])))

    def _row_of(self, entry: int) -> int:
        assert self.offsets is not None
        return int(np.searchsorted(self.offsets, entry, side="right")) - 1

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows at `index` (int64, shape (n,)), in that order, as a copy."""
        y = None if self.y is None else self.y[index]
        weight = None if self.weight is None else self.weight[index]
        if self.offsets is None:
            values = None if self.values is None else self.values[index]
            return Rows(ids=self.ids[index], values=values, fields=self.fields, y=y, weight=weight)
        lengths = np.diff(self.offsets)[index]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        entries = np.repeat(self.offsets[:-1][index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Rows(
            ids=self.ids[entries],
            offsets=offsets,
            values=None if self.values is None else self.values[entries],
            fields=None if self.fields is None else self.fields[entries],
            y=y,
            weight=weight,
        )

    def slice(self, start: int, stop: int) -> Rows:
        """Rows start … stop − 1, without copying ids, values or targets."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        stop = max(start, stop)
        y = None if self.y is None else self.y[start:stop]
        weight = None if self.weight is None else self.weight[start:stop]
        if self.offsets is None:
            values = None if self.values is None else self.values[start:stop]
            return Rows(ids=self.ids[start:stop], values=values, fields=self.fields, y=y, weight=weight)
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Rows(
            ids=self.ids[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            values=None if self.values is None else self.values[first:last],
            fields=None if self.fields is None else self.fields[first:last],
            y=y,
            weight=weight,
        )

    def labelled(self, y: Targets, weight: Floats | None = None) -> Rows:
        """The same rows with another target and weight."""
        return replace(self, y=y, weight=weight)

    def unlabelled(self) -> Rows:
        """The same rows without target and weight."""
        return self if self.y is None and self.weight is None else replace(self, y=None, weight=None)

    def fingerprint(self) -> str:
        """A SHA-256 that differs if the number of rows or anything in the first 100,000 of them does."""
        first = self.slice(0, _FINGERPRINT_ROWS)
        digest = hashlib.sha256(f"{self.n_rows} {self.n_entries} {self.ids.shape[1:]}".encode())
        for array in (first.offsets, first.ids, first.values, first.fields, first.y, first.weight):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()

    def feature_counts(self, n_features: int) -> NDArray[np.int64]:
        """How many entries each feature has, shape (n_features,), weights not counted."""
        return np.bincount(self.ids.reshape(-1), minlength=n_features)


def _check(name: str, array: object, dtype: type, shape: tuple[int, ...] | None) -> None:
    if array is None and name not in ("ids",):
        return
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not array.flags.c_contiguous:
        came = f"{array.dtype}, contiguous={array.flags.c_contiguous}" if isinstance(array, np.ndarray) else type(array)
        raise SettingError(got(f"{name} must be a C-contiguous {np.dtype(dtype).name} array", came=came))
    if shape is not None and array.shape != shape:
        raise SettingError(got(f"{name} must have shape {shape}", shape=array.shape))
