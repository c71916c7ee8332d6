"""The factorization machine of degree two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyfm.core.errors import SettingError, got
from anyfm.core.settings import choice, setting
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

    optimizer: str = setting(
        "adagrad",
        choice("adagrad", "gibbs"),
        "how parameters are estimated; gibbs: their mean over samples of the posterior, for regression",
    )


_OF_ADAGRAD = ("learning_rate", "l2_linear", "l2_factors", "l2_per_occurrence", "init_scale")


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

    def __init__(self, settings: FMSettings | None = None) -> None:
        super().__init__(settings)
        if self._is_gibbs:
            if not self.task.has_squared_loss:
                raise SettingError(got("optimizer='gibbs' is for regression", task=self.task.name))
            for name in self._changed(_OF_ADAGRAD):
                rule = f"{name} is of optimizer='adagrad', and is estimated by 'gibbs'"
                raise SettingError(got(rule, **{name: getattr(self.settings, name)}))

    @property
    def _is_gibbs(self) -> bool:
        return bool(self.settings.optimizer == "gibbs")

    def _changed(self, names: Sequence[str]) -> list[str]:
        values, defaults = self.settings.to_dict(), FMSettings().to_dict()
        return [name for name in names if values[name] != defaults[name]]

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return factor_specs(n_features, self.settings.resolve(n_fields))

    def resolve(self, n_fields: int) -> FM:
        return type(self)(self.settings.resolve(n_fields))

    @property
    def engines(self) -> tuple[str, ...]:
        return ("gibbs",) if self._is_gibbs else super().engines

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        if self._is_gibbs:
            return ()
        sampled = self.task.has_squared_loss and not self._changed(_OF_ADAGRAD)
        candidates = factor_candidates(self.settings.resolve(n_fields).n_factors)
        return [*candidates, {"optimizer": "gibbs"}] if sampled else candidates

    @property
    def is_sum_of_pairs(self) -> bool:
        return True

    def pair_terms(self) -> InnerProducts:
        return InnerProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        return linear_part(batch) + pair_sum(batch.parameters["factors"] * batch.values[..., None])

    def kernel_options(self) -> dict[str, Any]:
        return {"n_factors": self.settings.n_factors, "normalize": self.settings.normalize}


def pair_sum(vectors: Array) -> Array:
    """Σ_{i<j} ⟨u_i, u_j⟩ of scaled vectors u (B, S, K) by Rendle's identity, shape (B,)."""
    return 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
