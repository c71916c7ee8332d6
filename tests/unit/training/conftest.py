"""A tiny engine in plain numpy, so that the loop is tested without any engine of the library, and data to train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.engines.base import Engine, State
from anyfm.models import FM, BaseModel, FMSettings, Linear, LinearSettings, gather
from anyfm.training import loop

BATCH = 16


class NumpyEngine(Engine):
    """Linear or FM by stochastic gradient descent with momentum, in batches of 16 rows.

    It has optimizer state that is not a parameter (the momentum), and randomness of its own that `begin_epoch`
    reseeds (each row's gradient is dropped with chance 0.1), so that a checkpoint that forgets either is found out.
    """

    def __init__(self, model: BaseModel, *, n_features: int, n_fields: int) -> None:
        self.model, self.n_features, self.n_fields = model, n_features, n_fields
        self._specs = model.parameter_specs(n_features, n_fields)
        self._parameters: State = {}
        self._momentum: State = {}
        self._seed = 0

    def prepare(self, train: Rows, *, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._parameters = {
            name: (rng.standard_normal(spec.shape) * (0.2 if name == "factors" else 0)).astype(np.float32)
            for name, spec in self._specs.items()
        }
        self._momentum = {name: np.zeros_like(array) for name, array in self._parameters.items()}
        weight = np.ones(train.n_rows) if train.weight is None else train.weight
        self._parameters["bias"][:] = self.model.task.statistics(train.y, weight).base_logit

    def begin_epoch(self, epoch: int) -> None:
        self._rng = np.random.default_rng([self._seed, epoch, 1])

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        loss = 0.0
        with np.errstate(all="ignore"):  # a test lets it diverge
            for first in range(0, len(order), BATCH):
                loss += self._batch(rows.take(order[first : first + BATCH]))
        return loss

    def _batch(self, rows: Rows) -> float:
        batch = gather(self._parameters, rows, self._specs)
        z = self.model.logits(batch)
        y = rows.y.astype(np.float64)
        weight = np.ones(len(y)) if rows.weight is None else rows.weight.astype(np.float64)
        losses, grad_logits = self.model.task.loss(z, y), self.model.task.gradient(z, y, None)
        mask = self._rng.random(len(y)) >= 0.1
        grad_logits = (weight * grad_logits * mask / len(y))[:, None]
        gradients = {name: np.zeros(array.shape) for name, array in self._parameters.items()}
        gradients["bias"] += grad_logits.sum()
        np.add.at(gradients["linear"], rows.ids, grad_logits * batch.values)
        if "factors" in gradients:
            scaled = batch.parameters["factors"] * batch.values[..., None]
            others = scaled.sum(axis=1, keepdims=True) - scaled
            np.add.at(gradients["factors"], rows.ids, grad_logits[..., None] * batch.values[..., None] * others)
        for name, gradient in gradients.items():
            self._momentum[name] = (0.5 * self._momentum[name] + gradient).astype(np.float32)
            self._parameters[name] -= np.float32(self.model.settings.learning_rate) * self._momentum[name]
        return float((weight * losses).sum())

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            return self.model.logits(gather(self._parameters, rows, self._specs)).astype(np.float32)

    def parameters(self) -> State:
        return {name: array.copy() for name, array in self._parameters.items()}

    def state(self) -> State:
        momentum = {f"momentum.{name}": array.copy() for name, array in self._momentum.items()}
        return {**self.parameters(), **momentum}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name in self._parameters:
            self._parameters[name] = state[name].copy()
            self._momentum[name] = state[f"momentum.{name}"].copy()


N_FIELDS, N_VALUES = 4, 6


def make_rows(n_rows: int, *, seed: int, task: str = "binary", weighted: bool = False) -> Rows:
    """Rows of 4 fields with 6 values, whose logit has linear effects and one crossed effect."""
    rng = np.random.default_rng(seed)
    local = rng.integers(0, N_VALUES, (n_rows, N_FIELDS))
    effects = np.random.default_rng(99).standard_normal((N_FIELDS, N_VALUES))
    z = effects[np.arange(N_FIELDS), local].sum(axis=1) + np.where((local[:, 0] < 3) == (local[:, 1] < 3), 1.5, -1.5)
    y = rng.random(n_rows) < 1 / (1 + np.exp(-z)) if task == "binary" else z + rng.standard_normal(n_rows)
    weight = rng.integers(1, 4, n_rows).astype(np.float32) if weighted else None
    ids = (local + N_VALUES * np.arange(N_FIELDS)).astype(np.int32)
    return Rows(ids=ids, y=y.astype(np.float32), weight=weight)


@pytest.fixture
def set_rows_per_step(monkeypatch) -> Callable[[int], None]:
    return lambda n_rows: monkeypatch.setattr(loop, "ROWS_PER_STEP", n_rows)


@pytest.fixture
def rows_of() -> Callable[..., Rows]:
    return make_rows


@pytest.fixture
def engine_of() -> Callable[..., NumpyEngine]:
    def build(
        name: str = "fm", *, kind: type[NumpyEngine] = NumpyEngine, task: str = "binary", learning_rate: float = 0.5
    ) -> NumpyEngine:
        model: BaseModel = (
            FM(FMSettings(task=task, n_factors=2, learning_rate=learning_rate))
            if name == "fm"
            else Linear(LinearSettings(task=task, learning_rate=learning_rate))
        )
        return kind(model, n_features=N_FIELDS * N_VALUES, n_fields=N_FIELDS)

    return build


@pytest.fixture
def numpy_engine() -> type[NumpyEngine]:
    """The class, to derive engines that misbehave."""
    return NumpyEngine
