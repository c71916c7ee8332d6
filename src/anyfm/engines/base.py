"""What an engine is: the keeper of a model's parameters, which computes logits and takes training steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Rows
from anyfm.models import BaseModel

State = dict[str, NDArray[Any]]


class Engine(ABC):
    """Computes one model. The loop in training/ drives any engine through these five calls.

    Attributes
    ----------
    model : BaseModel
        With every setting decided that depends on the number of fields.
    n_features, n_fields : int
    """

    model: BaseModel
    n_features: int
    n_fields: int

    @abstractmethod
    def prepare(self, train: Rows, *, seed: int) -> None:
        """Draw the start of the parameters from `seed`, and take from `train` what the optimiser needs to know
        (the mean target for the bias, how often each feature occurs)."""

    @abstractmethod
    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        """Train on the rows at `order` (int64, shape (n,)), in that order.

        Returns the weighted sum of the losses of those rows, each taken before its own update.
        """

    @abstractmethod
    def logits(self, rows: Rows) -> Floats:
        """The logit of every row, float32 of shape (n_rows,)."""

    @abstractmethod
    def parameters(self) -> State:
        """A copy of the parameters by name, shapes as in `BaseModel.parameter_specs`, float32."""

    @abstractmethod
    def state(self) -> State:
        """A copy of everything training goes on from: parameters and optimiser state, by name."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `state` gave; later steps are then the same bit for bit."""

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - most engines have nothing to do
        """Called by the loop before each epoch, counted from 1."""
