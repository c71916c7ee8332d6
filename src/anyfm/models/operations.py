"""The few functions that models need beyond operators and methods, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyfm.core.task import Array, library


def relu(array: Array) -> Array:
    """max(0, x)."""
    return array.relu() if hasattr(array, "relu") else array.clip(min=0)  # torch has its own, with a quick gradient


def sigmoid(array: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow."""
    return 0.5 * (1.0 + library(array).tanh(0.5 * array))


def tanh(array: Array) -> Array:
    return library(array).tanh(array)


def sqrt(array: Array) -> Array:
    return library(array).sqrt(array)


def softmax(scores: Array, present: Array) -> Array:
    """exp(s_p) / Σ_q exp(s_q) over the entries of each row that are present; 0 for the others. Shapes (B, P)."""
    if scores.shape[1] == 0:
        return scores
    numbers = library(scores)
    masked = numbers.where(present, scores, -1e30)
    weights = numbers.exp(masked - numbers.amax(masked, 1)[:, None]) * present
    total = weights.sum(1)[:, None]
    return weights / numbers.where(total > 0, total, 1.0)


def pairs(n_slots: int) -> tuple[Any, Any]:
    """The pairs i < j of slots, two int arrays of shape (n_slots (n_slots − 1) / 2,), i ascending and then j."""
    return np.triu_indices(n_slots, 1)
