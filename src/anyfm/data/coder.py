"""What every field coder is: a column in, local ids out, and names for the ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.rows import Floats

UNSEEN, MISSING, FIRST = 0, 1, 2
UNSEEN_TEXT, MISSING_TEXT = "<unseen>", "<missing>"
Local = NDArray[np.int32]


@dataclass(frozen=True)
class Coded:
    """One field of many rows.

    Parameters
    ----------
    ids : int32 array of shape (n_entries,)
        Local ids; one a row unless `lengths` is given.
    values : float32 array of shape (n_entries,), optional
    lengths : int64 array of shape (n_rows,), optional
        How many entries each row has.
    """

    ids: Local
    values: Floats | None = None
    lengths: NDArray[np.int64] | None = None


class Coder(ABC):
    """How one field becomes local ids.

    Attributes
    ----------
    type : str
        The name under which it is saved.
    counts : float64 array of shape (n_features,)
        How often (by row weight) each local id occurred in training.
    has_values, is_ragged : bool
        Whether features carry values other than 1, and whether a row may have any number of them.
    """

    type: ClassVar[str]
    has_values: ClassVar[bool] = False
    is_ragged: ClassVar[bool] = False
    counts: NDArray[np.float64]

    @property
    def n_features(self) -> int:
        return len(self.counts)

    @abstractmethod
    def encode(self, series: pl.Series) -> Coded:
        """The local ids of a raw column."""

    @abstractmethod
    def encode_one(self, value: Any) -> Any:
        """The same of one raw value, fast: a local id; (id, value) with values; (ids, values) where ragged."""

    @abstractmethod
    def labels(self) -> list[Any]:
        """What each local id stands for, in order of id."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All but values and counts, ready for JSON."""

    def texts(self) -> pl.Series:
        """Every local id as text; with `to_dict` and `counts`, what the coder is put together from again."""
        return pl.Series("value", self.labels(), pl.String)
