"""How the vectors of two entries make a term of the logit, for each model: what explanations read of its mathematics.

Every model's pair term is a symmetric bilinear form of the two entries' scaled vectors u_i = v_i x_i, in AFM weighed by
attention. Being bilinear, it can be taken of vectors relative to their field's mean as well, which is what the strength
of an interaction is measured by (see `strength`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.models import Model
from anyfm.models.base import Batch

Doubles = NDArray[np.float64]


class PairForm(ABC):
    """The pair terms of one model; B rows, S slots, F fields, K factors."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def vectors(self, batch: Batch) -> Doubles:
        """The scaled vectors u_i of the entries, (B, S, …); 0 in padding."""

    @abstractmethod
    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        """The form of `one` of slot i with `other` of slot j, (B, S, S); both as `vectors` gives them."""

    def attention(self, batch: Batch) -> Doubles | None:
        """The weight of the pair of slots i and j, (B, S, S), symmetric with 0 on the diagonal; None: all are 1."""
        return None

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        """About how many numbers a row takes, so that blocks fit the memory."""
        return n_slots * (4 * n_slots + 4 * int(self.model.settings.n_factors))


class FMForm(PairForm):
    """⟨u_i, u_j⟩: FM, and the FM half of DeepFM."""

    def vectors(self, batch: Batch) -> Doubles:
        return np.asarray(batch.parameters["factors"] * batch.values[..., None])

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        return np.asarray(one @ other.swapaxes(1, 2))


class FFMForm(PairForm):
    """⟨u_{i, f(j)}, u_{j, f(i)}⟩."""

    def vectors(self, batch: Batch) -> Doubles:
        return np.asarray(batch.parameters["field_factors"] * batch.values[..., None, None])

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        n_rows, n_slots = batch.values.shape
        row, slot = np.arange(n_rows)[:, None, None], np.arange(n_slots)[:, None]
        toward = batch.fields[:, None, :]  # [b, i, j]: the field of slot j
        if _in_order(batch, n_fields=one.shape[2]):
            return np.asarray(np.einsum("bijk,bjik->bij", one, other))
        return np.asarray(np.einsum("bijk,bjik->bij", one[row, slot, toward], other[row, slot, toward]))

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return n_slots * (4 * n_slots + (4 * n_fields + n_slots) * int(self.model.settings.n_factors))


class AFMForm(PairForm):
    """a_ij · p·(u_i ⊙ u_j): attention and the term it weighs."""

    def vectors(self, batch: Batch) -> Doubles:
        return np.asarray(batch.parameters["factors"] * batch.values[..., None])

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        return np.asarray((one * batch.parameters["projection"]) @ other.swapaxes(1, 2))

    def attention(self, batch: Batch) -> Doubles:
        n_rows, n_slots = batch.values.shape
        weights = np.zeros((n_rows, n_slots, n_slots))
        if n_slots >= 2:
            first, second = np.triu_indices(n_slots, 1)
            of_pairs = self.model.attention(batch)  # type: ignore[attr-defined]
            weights[:, first, second] = of_pairs
            weights[:, second, first] = of_pairs
        return weights

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        config = self.model.settings
        return n_slots * n_slots * (2 * int(config.n_factors) + 2 * int(config.attention_factors))


_FORMS: dict[str, type[PairForm] | None] = {
    "linear": None,
    "fm": FMForm,
    "ffm": FFMForm,
    "afm": AFMForm,
    "deepfm": FMForm,
}


def pair_form(model: Model) -> PairForm | None:
    """The pair form of a model; None for one without pair terms.

    Raises
    ------
    SettingError
        Explanations do not know the model.
    """
    if model.name not in _FORMS:
        raise SettingError(got(f"explanations know the models {', '.join(_FORMS)}", model=model.name))
    form = _FORMS[model.name]
    return None if form is None else form(model)


def _in_order(batch: Batch, *, n_fields: int) -> bool:
    return batch.fields.shape[1] == n_fields and bool((batch.fields == np.arange(n_fields)).all())
