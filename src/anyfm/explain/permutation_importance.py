"""Permutation importance of fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.explain.names import field_names
from anyfm.explain.perturbation import logit_function, with_field_of
from anyfm.metrics import mean_loss
from anyfm.models.pairs import Doubles


@dataclass(frozen=True, eq=False, repr=False)
class PermutationImportance:
    """How much the loss increases when a field's values are shuffled among the rows (Breiman 2001).

    Parameters
    ----------
    fields : tuple of str
    loss : float
        The loss of the rows as they are: logloss, or the mean squared error.
    increase, deviation : array of shape (n_fields,)
        Mean and standard deviation, over the repetitions, of the increase of the loss.
    n_rows : int
        How many rows were measured.
    """

    fields: tuple[str, ...]
    loss: float
    increase: Doubles
    deviation: Doubles
    n_rows: int

    def __repr__(self) -> str:
        return f"PermutationImportance({len(self.fields)} fields, loss {self.loss:.5f})"


def permutation_importance(
    artifact: Artifact, rows: Rows, *, n_repeats: int = 3, seed: int = 0
) -> PermutationImportance:
    """Shuffle each field among the rows `n_repeats` times and measure the loss.

    Raises
    ------
    InputError
        The rows have no target.
    """
    if rows.y is None:
        raise InputError("permutation importance must have targets, got y=None")
    y, logits = rows.y, logit_function(artifact)

    def loss_of(changed: Rows) -> float:
        return mean_loss(artifact.model.task, y, logits(changed), rows.weight)

    loss = loss_of(rows)
    rng = np.random.default_rng(seed)
    increases = np.zeros((n_repeats, artifact.n_fields))
    for repeat in range(n_repeats):
        for field in range(artifact.n_fields):
            shuffled = rows.take(rng.permutation(rows.n_rows))
            increases[repeat, field] = loss_of(with_field_of(rows, field, shuffled)) - loss
    return PermutationImportance(
        field_names(artifact), loss, increases.mean(axis=0), increases.std(axis=0), rows.n_rows
    )
