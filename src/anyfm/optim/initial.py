"""Initial values of parameters, declared by the models and drawn by the engines.

Values of per-feature parameters are drawn in chunks of features, so that no second copy of a large table is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.optim.statistics import TrainingStatistics

_CHUNK_FLOATS = 1 << 22
StatisticOf = Callable[[TrainingStatistics], float]
Array = NDArray[np.float32]


class Initial(ABC):
    """How a parameter starts."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator) -> Array:
        """The initial values of a whole parameter, float32 of this shape."""

    def chunks(
        self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator, *, seed: int
    ) -> Iterator[tuple[int, Array]]:
        """The initial values of a per-feature parameter (n_features, …): first feature and values of each chunk.

        Features without an entry in the training rows start at zero: they contribute nothing rather than noise.
        """
        for first, n in _ranges(shape):
            values = self.draw((n, *shape[1:]), statistics, rng)
            values[statistics.counts[first : first + n] == 0] = 0
            yield first, values


@dataclass(frozen=True)
class Constant(Initial):
    """All values are the same."""

    value: float = 0.0

    def draw(self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator) -> Array:
        return np.full(shape, self.value, np.float32)

    def chunks(self, *args: Any, **kwargs: Any) -> Iterator[tuple[int, Array]]:
        return iter(()) if self.value == 0 else super().chunks(*args, **kwargs)


ZEROS = Constant(0.0)


@dataclass(frozen=True)
class Normal(Initial):
    """Independent normal values of mean 0 and standard deviation `std(statistics)`."""

    std: StatisticOf

    def draw(self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator) -> Array:
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(self.std(statistics))
        return values


def he_normal(n_inputs: int, *, gain: float = 2.0) -> Normal:
    """Normal values of variance gain / n_inputs (He, Zhang, Ren, Sun, ICCV 2015, arXiv:1502.01852)."""
    return Normal(lambda _: float(np.sqrt(gain / n_inputs)))


@dataclass(frozen=True)
class FieldUniform(Initial):
    """Uniform values from low to low + width of one vector per field, drawn by a counter: no value depends on chunks.

    Parameters
    ----------
    width : function of the training statistics
    centered : bool
        Whether low is −width / 2; otherwise it is 0.
    unseen : bool
        Whether features without an entry are drawn too. They are not otherwise, and neither is the vector toward the
        feature's own field where rows hold one feature of each field, since no pair uses it.
    """

    width: StatisticOf
    centered: bool = True
    unseen: bool = False

    def draw(self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator) -> Array:
        raise NotImplementedError("only per-feature parameters are drawn by field")

    def chunks(
        self, shape: tuple[int, ...], statistics: TrainingStatistics, rng: np.random.Generator, *, seed: int
    ) -> Iterator[tuple[int, Array]]:
        from anyfm.core.native import kernels

        width = self.width(statistics)
        for first, n in _ranges(shape):
            values = np.empty((n, *shape[1:]), np.float32)
            offset = first * int(np.prod(shape[1:]))
            kernels.uniform(values.reshape(-1), seed, -width / 2 if self.centered else 0.0, width, offset)
            if not self.unseen:
                values[statistics.counts[first : first + n] == 0] = 0
            if statistics.one_feature_per_field:
                values[np.arange(n), statistics.field_of[first : first + n]] = 0
            yield first, values


def _ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First feature and number of features of each chunk."""
    size = max(1, _CHUNK_FLOATS // max(1, int(np.prod(shape[1:]))))
    for first in range(0, shape[0], size):
        yield first, min(size, shape[0] - first)
