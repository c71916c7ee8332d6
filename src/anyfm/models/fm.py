"""The factorization machine of degree two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyfm.core.task import Array
from anyfm.models.base import (
    AutomaticFactorSettings,
    BaseModel,
    NormalizeSettings,
    factor_candidates,
    factor_specs,
    linear_part,
)
from anyfm.models.batch import Batch
from anyfm.models.pairs import InnerProducts
from anyfm.models.parameters import ParameterSpec


@dataclass(frozen=True, kw_only=True)
class FMSettings(NormalizeSettings, AutomaticFactorSettings):
    """Settings of the factorization machine."""


class FM(BaseModel):
    r"""Factorization machine (Rendle, "Factorization Machines", ICDM 2010, equation 1 and Lemma 3.1).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j

    Every feature i has a latent vector :math:`v_i` of `n_factors` numbers, and the strength of a pair is the inner
    product of its two vectors, so that a pair never seen together still gets a sensible weight. The sum over all
    pairs costs n² as written and k·n through the identity

    .. math::
        \sum_{i<j} \langle v_i, v_j \rangle x_i x_j
        = \tfrac12 \sum_{f=1}^{k} \Big[ \big(\sum_i v_{if} x_i\big)^2 - \sum_i v_{if}^2 x_i^2 \Big]
    """

    name = "fm"
    title = "Factorization machine"
    summary = "Each value has one weight and one vector; two values interact by the inner product of their vectors."
    settings_type = FMSettings
    kernel = "fm"

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return factor_specs(n_features, self.settings.resolve(n_fields))

    def resolve(self, n_fields: int) -> FM:
        return FM(self.settings.resolve(n_fields))

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        return factor_candidates(self.settings.resolve(n_fields).n_factors)

    def pair_terms(self) -> InnerProducts:
        return InnerProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        return linear_part(batch) + pair_sum(batch.parameters["factors"] * batch.values[..., None])

    def kernel_options(self) -> dict[str, Any]:
        return {"n_factors": self.settings.n_factors, "normalize": self.settings.normalize}


def pair_sum(vectors: Array) -> Array:
    """Σ_{i<j} ⟨u_i, u_j⟩ of scaled vectors u (B, S, K) by Rendle's identity, shape (B,)."""
    return 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
