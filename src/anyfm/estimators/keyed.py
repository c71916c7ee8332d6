"""Trained parameters under the names a user knows: ``factors_["city"]["Paris"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder

COLUMN = "column"
"""The one field of a model of a sparse matrix; its values are the column numbers."""


class ByFieldAndValue(Mapping[str, Mapping[Any, Any]]):
    """A parameter array as a mapping of field to a mapping of value to its parameter.

    An inner mapping is created on first access. Its keys are the values of the field as they were in training,
    the bins of a numeric field as text such as "[17, 21)", and "<unseen>" and "<missing>".

    Parameters
    ----------
    array : array of shape (n_features, …)
    encoder : Encoder, optional
        Without one, there is the single field "column", whose values are the numbers of the columns.
    """

    def __init__(self, array: NDArray[Any], encoder: Encoder | None) -> None:
        self._array = array
        self._encoder = encoder
        self._by_value: dict[str, dict[Any, Any]] = {}

    def __getitem__(self, field: str) -> Mapping[Any, Any]:
        if field not in self._by_value:
            self._by_value[field] = self._read(field)
        return self._by_value[field]

    def __iter__(self) -> Iterator[str]:
        return iter([COLUMN] if self._encoder is None else self._encoder.field_names)

    def __len__(self) -> int:
        return 1 if self._encoder is None else self._encoder.n_fields

    def __repr__(self) -> str:
        return f"<{len(self._array)} features by field ({', '.join(self)}) and value>"

    def _read(self, field: str) -> dict[Any, Any]:
        if field not in list(self):
            raise KeyError(field)
        if self._encoder is None:
            return dict(enumerate(self._array))
        place = list(self._encoder.field_names).index(field)
        first, last = self._encoder.field_offsets[place : place + 2]
        return dict(zip(self._encoder.field_values(field), self._array[first:last], strict=True))
