"""The attentional factorization machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyfm.core.settings import flag, integer, optional, real, setting
from anyfm.models.base import BaseModel, Batch, ModelSettings, ParameterSpec, linear_terms
from anyfm.models.operations import Array, pairs, relu, softmax
from anyfm.models.pairs import Doubles, InnerProducts


@dataclass(frozen=True, kw_only=True)
class AFMSettings(ModelSettings):
    """Settings of the attentional factorization machine."""

    n_factors: int = setting(16, integer(1, 256), "length of each feature's latent vector")
    attention_factors: int = setting(16, integer(1, 256), "neurons of the attention network's hidden layer")
    dropout: float = setting(0.1, real(0, 0.95), "share of the pooled vector's numbers left out of each training row")
    learning_rate: float = setting(0.3, real(0, above=True), "Adagrad's step, divided by the norm of an average row")
    attention_learning_rate: float = setting(
        0.001, real(0), "Adam's step of the attention network; 0 leaves every pair of a row the same weight"
    )
    l2_linear: float | None = setting(
        None, optional(real(0)), "L2 penalty of each linear weight in the summed loss; none: estimated for each field"
    )
    l2_factors: float | None = setting(
        None, optional(real(0)), "L2 penalty of each factor in the summed loss; none: estimated for each field"
    )
    l2_attention: float = setting(
        0.01, real(0), "L2 penalty of the attention network's weights and biases in the mean loss"
    )
    init_scale: float = setting(0.1, real(0), "standard deviation of the factors at the start, relative to their prior")
    normalize: bool = setting(False, flag(), "divide each row by its Euclidean norm")


class AFM(BaseModel):
    r"""Attentional factorization machine (Xiao, Ye, He, Zhang, Wu, Chua, IJCAI 2017, equations 3 to 6).

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + p^\top \sum_{i<j} a_{ij} (v_i \odot v_j) x_i x_j, \quad
        a_{ij} = \frac{\exp s_{ij}}{\sum_{k<l} \exp s_{kl}}, \quad
        s_{ij} = h^\top \mathrm{ReLU}\big(W^\top (v_i \odot v_j) x_i x_j + b\big)

    The pairs are those of the row's entries with a value other than 0, and the weights of all pairs of a row sum to 1.
    Dropout, in training, falls on the pooled vector that p projects. With equal weights and p all ones it is the
    factorization machine's pair sum divided by the number of pairs. Where rows are of one length it starts as that
    machine exactly: h starts at 0, which weighs all pairs the same, and p at the mean number of pairs in a row.

    Names: `attention_weights` W (n_factors, attention_factors), `attention_bias` b, `attention_output` h,
    `projection` p.
    """

    name = "afm"
    title = "Attentional factorization machine"
    summary = "A factorization machine whose pairs are weighted by attention, row by row."
    settings_type = AFMSettings

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        k, t = self.settings.n_factors, self.settings.attention_factors
        return {
            "bias": ParameterSpec((1,), per_feature=False),
            "linear": ParameterSpec((n_features,), per_feature=True),
            "factors": ParameterSpec((n_features, k), per_feature=True),
            "attention_weights": ParameterSpec((k, t), per_feature=False),
            "attention_bias": ParameterSpec((t,), per_feature=False),
            "attention_output": ParameterSpec((t,), per_feature=False),
            "projection": ParameterSpec((k,), per_feature=False),
        }

    def pair_terms(self) -> AttentionProducts:
        return AttentionProducts(self)

    def logits(self, batch: Batch) -> Array:
        products = self._products(batch)  # (B, P, K)
        pooled = (self._weights(batch, products)[..., None] * products).sum(1)  # (B, K)
        pooled = batch.dropout(pooled, self.settings.dropout)
        return batch.parameters["bias"] + linear_terms(batch).sum(1) + pooled @ batch.parameters["projection"]

    def attention(self, batch: Batch) -> Array:
        """The weight of every pair i < j of a row's slots, in the order of ``np.triu_indices(S, 1)``: shape (B, P).

        They sum to 1 over the row, or are all 0 where it has no pair; a pair with padding or a value of 0 has 0.
        """
        return self._weights(batch, self._products(batch))

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
        return n_slots * n_slots * 2 * (self._n_factors + int(self._model.settings.attention_factors))
