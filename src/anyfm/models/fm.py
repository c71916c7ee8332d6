"""The factorization machine of degree two."""

from __future__ import annotations

from dataclasses import dataclass

from anyfm.core.settings import flag, integer, optional, real, setting
from anyfm.models.base import BaseModel, Batch, ModelSettings, ParameterSpec, linear_terms
from anyfm.models.operations import Array
from anyfm.models.pairs import InnerProducts


@dataclass(frozen=True, kw_only=True)
class FMSettings(ModelSettings):
    """Settings of the factorization machine."""

    n_factors: int = setting(16, integer(1, 256), "length of each feature's latent vector")
    learning_rate: float = setting(0.3, real(0, above=True), "Adagrad's step, divided by the norm of an average row")
    l2_linear: float | None = setting(
        None, optional(real(0)), "L2 penalty of each linear weight in the summed loss; none: estimated for each field"
    )
    l2_factors: float | None = setting(
        None, optional(real(0)), "L2 penalty of each factor in the summed loss; none: estimated for each field"
    )
    init_scale: float = setting(0.1, real(0), "standard deviation of the factors at the start, relative to their prior")
    normalize: bool = setting(False, flag(), "divide each row by its Euclidean norm")


class FM(BaseModel):
    r"""Factorization machine (Rendle, "Factorization Machines", ICDM 2010, equations 1 and Lemma 3.1).

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

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return {
            "bias": ParameterSpec((1,), per_feature=False),
            "linear": ParameterSpec((n_features,), per_feature=True),
            "factors": ParameterSpec((n_features, self.settings.n_factors), per_feature=True),
        }

    def pair_terms(self) -> InnerProducts:
        return InnerProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        scaled = batch.parameters["factors"] * batch.values[..., None]  # (B, S, K)
        pairs = 0.5 * (scaled.sum(axis=1) ** 2 - (scaled**2).sum(axis=1)).sum(axis=1)
        return batch.parameters["bias"] + linear_terms(batch).sum(axis=1) + pairs
