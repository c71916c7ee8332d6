"""The attentional factorization machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyfm.core.settings import Options, Range, integer, real, setting
from anyfm.core.task import Array
from anyfm.models.base import TUNE_DROPOUT, BaseModel, FactorSettings, NormalizeSettings, factor_specs, linear_part
from anyfm.models.batch import Batch
from anyfm.models.operations import pairs, relu, softmax
from anyfm.models.pairs import Doubles, InnerProducts
from anyfm.models.parameters import ParameterSpec
from anyfm.optim.initial import Constant, he_normal
from anyfm.optim.optimizers import Adam
from anyfm.optim.priors import factor_prior


@dataclass(frozen=True, kw_only=True)
class AFMSettings(NormalizeSettings, FactorSettings):
    """Settings of the attentional factorization machine."""

    attention_factors: int = setting(
        16, integer(1, 256), "neurons of the attention network's hidden layer", tune=Options(("4", "8", "16", "32"))
    )
    dropout: float = setting(
        0.1, real(0, 0.95), "dropout probability of the pooled vector of the pairs", tune=TUNE_DROPOUT
    )
    attention_learning_rate: float = setting(
        0.001, real(0), "Adam's learning rate of the attention network; 0: all pairs of a row have the same weight"
    )
    l2_attention: float = setting(
        0.01, real(0), "L2 penalty per weight and bias of the attention network in the mean loss", tune=Range(1e-4, 0.1)
    )


class AFM(BaseModel):
    r"""Attentional factorization machine (Xiao, Ye, He, Zhang, Wu, Chua, IJCAI 2017, equations 3 to 6).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + p^\top \sum_{i<j} a_{ij} (v_i \odot v_j) x_i x_j, \quad
        a_{ij} = \frac{\exp s_{ij}}{\sum_{k<l} \exp s_{kl}}, \quad
        s_{ij} = h^\top \mathrm{ReLU}\big(W^\top (v_i \odot v_j) x_i x_j + b\big)

    The pairs are those of the row's entries with a value other than 0, and the weights of all pairs of a row sum to 1.
    In training, dropout applies to the pooled vector that p projects. With equal weights and p all ones it is the
    factorization machine's pair sum divided by the number of pairs.

    It starts as a factorization machine (exactly, where rows have one length): h starts at 0, which gives all pairs
    the same weight, and p at the mean number of pairs in a row. With a random h instead, a row of 741 pairs may attend
    to one of them alone from the start, whose factors then get 741 times the gradient: training diverged. Products of
    factors are of the order of 1 / λ, λ their first prior precision: W is trained in units of λ, p in units of its
    start.

    Names: `attention_weights` W (n_factors, attention_factors), `attention_bias` b, `attention_output` h,
    `projection` p.
    """

    name = "afm"
    title = "Attentional factorization machine"
    summary = "A factorization machine whose pairs are weighted by attention, row by row."
    settings_type = AFMSettings
    kernel = "afm"

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        k, t = self.settings.n_factors, self.settings.attention_factors
        adam = Adam(self.settings.attention_learning_rate)
        attending = Adam(self.settings.attention_learning_rate, l2=self.settings.l2_attention)
        prior = factor_prior(k)
        return {
            **factor_specs(n_features, self.settings, target_power=0.0),  # the projection takes the target's scale
            "attention_weights": ParameterSpec(
                (k, t), attending, initial=he_normal(k, gain=1.0), unit=lambda s: prior(s).start
            ),
            "attention_bias": ParameterSpec((t,), attending),
            "attention_output": ParameterSpec((t,), attending),
            "projection": ParameterSpec(
                (k,), adam, initial=Constant(1.0), unit=lambda s: s.mean_pairs, target_power=1.0
            ),
        }

    def pair_terms(self) -> AttentionProducts:
        return AttentionProducts(self)

    def logits(self, batch: Batch) -> Array:
        products = self._products(batch)  # (B, P, K)
        pooled = (self._weights(batch, products)[..., None] * products).sum(1)  # (B, K)
        return linear_part(batch) + batch.dropout(pooled, self.dropout) @ batch.parameters["projection"]

    def attention(self, batch: Batch) -> Array:
        """The weight of every pair i < j of a row's slots, in the order of ``np.triu_indices(S, 1)``: shape (B, P).

        They sum to 1 over the row, or are all 0 where it has no pair; a pair with padding or a value of 0 has 0.
        """
        return self._weights(batch, self._products(batch))

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        return (
            {"l2_attention": 0.001},
            {"learning_rate": 1.0},
            {"n_factors": 32 if n_fields <= 8 else 8},
            {"l2_per_occurrence": 0.1},
        )

    def kernel_options(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("n_factors", "attention_factors", "normalize")}

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return int(n_slots * n_slots * 2 * (self.settings.n_factors + self.settings.attention_factors))

    @property
    def dropout(self) -> float:
        return float(self.settings.dropout)

    def _products(self, batch: Batch) -> Array:
        first, second = pairs(batch.values.shape[1])
        scaled = batch.parameters["factors"] * batch.values[..., None]  # (B, S, K)
        return scaled[:, first] * scaled[:, second]

    def _weights(self, batch: Batch, products: Array) -> Array:
        first, second = pairs(batch.values.shape[1])
        there = batch.present & (batch.values != 0)
        hidden = relu(products @ batch.parameters["attention_weights"] + batch.parameters["attention_bias"])
        return softmax(hidden @ batch.parameters["attention_output"], there[:, first] & there[:, second])


class AttentionProducts(InnerProducts):
    """a_ij · p·(u_i ⊙ u_j): the attention weight of a pair, and the term that it multiplies."""

    has_weights = True

    def __init__(self, model: AFM) -> None:
        super().__init__(model.settings.n_factors)
        self._model = model

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        return np.asarray((one * batch.parameters["projection"]) @ other.swapaxes(1, 2))

    def weights(self, batch: Batch) -> Doubles:
        n_rows, n_slots = batch.values.shape
        weights = np.zeros((n_rows, n_slots, n_slots))
        if n_slots >= 2:
            first, second = np.triu_indices(n_slots, 1)
            weights[:, first, second] = weights[:, second, first] = self._model.attention(batch)
        return weights

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return self._model.floats_per_row(n_slots, n_fields)
