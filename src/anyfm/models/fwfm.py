"""The field-weighted factorization machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.settings import real, setting
from anyfm.core.task import Array
from anyfm.models.base import (
    TUNE_ADAM,
    AutomaticFactorSettings,
    BaseModel,
    NormalizeSettings,
    factor_candidates,
    factor_specs,
    linear_part,
)
from anyfm.models.batch import Batch
from anyfm.models.pairs import Doubles, Indices, InnerProducts, sums_of_fields
from anyfm.models.parameters import ParameterSpec
from anyfm.optim.initial import Constant
from anyfm.optim.optimizers import Adam


@dataclass(frozen=True, kw_only=True)
class FwFMSettings(NormalizeSettings, AutomaticFactorSettings):
    """Settings of the field-weighted factorization machine."""

    pair_learning_rate: float = setting(
        0.003,
        real(0),
        "Adam's learning rate of the field-pair weights; 0: all are 1, a factorization machine",
        tune=TUNE_ADAM,
    )
    l2_pairs: float = setting(
        0.0, real(0), "L2 penalty per field-pair weight in the mean loss, on its difference from 1"
    )


class FwFM(BaseModel):
    r"""Field-weighted factorization machine (Pan, Xu, Ruiz, Zhao, Pan, Sun, Lu, WWW 2018, equation 7).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} r_{f(i) f(j)} \langle v_i, v_j \rangle x_i x_j

    The strength of each pair of fields is one number, :math:`r_{fg} = r_{gf}`, so that it has FFM's idea at FM's size:
    F (F + 1) / 2 parameters beside the factorization machine's, which it is where all are 1 and as which it starts.
    Several features of one field (tags) are pairs within that field, with :math:`r_{ff}`.

    Names: `field_weights`, the upper triangle of r with its diagonal, row by row.
    """

    name = "fwfm"
    title = "Field-weighted factorization machine"
    summary = "A factorization machine with a learned weight for each pair of fields."
    settings_type = FwFMSettings
    needs_fields = True
    kernel = "fwfm"

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        adam = Adam(self.settings.pair_learning_rate, l2=self.settings.l2_pairs, center=1.0)
        n_pairs = n_fields * (n_fields + 1) // 2
        return {
            **factor_specs(n_features, self.settings.resolve(n_fields)),
            "field_weights": ParameterSpec((n_pairs,), adam, initial=Constant(1.0)),
        }

    @property
    def is_sum_of_pairs(self) -> bool:
        return True

    def resolve(self, n_fields: int) -> FwFM:
        return type(self)(self.settings.resolve(n_fields))

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        return factor_candidates(self.settings.resolve(n_fields).n_factors)

    def pair_terms(self) -> FieldWeightedProducts:
        return FieldWeightedProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        scaled = batch.parameters["factors"] * batch.values[..., None]  # (B, S, K)
        weights = _matrix(batch.parameters["field_weights"])  # (F, F)
        sums = batch.by_field(scaled, len(weights))  # (B, F, K)
        squares = (scaled**2).sum(2) * weights.diagonal()[batch.fields]
        return linear_part(batch) + 0.5 * ((sums * (weights @ sums)).sum((1, 2)) - squares.sum(1))

    def kernel_options(self) -> dict[str, Any]:
        return {"n_factors": self.settings.n_factors, "normalize": self.settings.normalize}


class FieldWeightedProducts(InnerProducts):
    """r_{f(i) f(j)} ⟨u_i, u_j⟩ of one vector per feature, the parameter `factors`."""

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        weights = _matrix(batch.parameters["field_weights"])
        pairs = super().form(batch, one, other)
        return np.asarray(pairs * weights[batch.fields[:, :, None], batch.fields[:, None, :]])

    def item_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        return np.asarray(sums_of_fields(batch, self.vectors(batch), own).reshape(len(batch.values), -1))

    def query_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        weights = _matrix(batch.parameters["field_weights"])[np.ix_(other, own)]
        sums = sums_of_fields(batch, self.vectors(batch), own)
        return np.asarray((weights @ sums).reshape(len(sums), -1))

    def field_pair_weights(self, parameters: Mapping[str, NDArray[Any]], n_fields: int) -> Doubles:
        return np.asarray(_matrix(parameters["field_weights"]), np.float64)


def _matrix(field_weights: Array) -> Array:
    """The symmetric matrix (F, F) of its upper triangle (F (F + 1) / 2,)."""
    n_fields = int((np.sqrt(8 * len(field_weights) + 1) - 1) / 2)
    place = np.zeros((n_fields, n_fields), np.int64)
    first, second = np.triu_indices(n_fields)
    place[first, second] = place[second, first] = np.arange(len(first))
    return field_weights[place]
