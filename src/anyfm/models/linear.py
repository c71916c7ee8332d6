"""The linear model: logistic regression, or linear regression, on one-hot features."""

from __future__ import annotations

from dataclasses import dataclass

from anyfm.config import flag, real, setting
from anyfm.models.base import Array, Gathered, Model, ModelConfig, ParameterSpec, linear_terms


@dataclass(frozen=True, kw_only=True)
class LinearConfig(ModelConfig):
    """Settings of the linear model."""

    learning_rate: float = setting(0.1, real(0, above=True), "Adagrad's step size")
    l2_linear: float = setting(1e-5, real(0), "L2 penalty of the linear weights")
    normalize: bool = setting(False, flag(), "divide each row by its Euclidean norm")


class Linear(Model):
    r"""Linear model.

    .. math:: z(x) = w_0 + \sum_i w_i x_i

    with :math:`w_0` the bias and :math:`w_i` the weight of feature i. It cannot cross features: the effect of a
    feature is the same whatever else the row holds.
    """

    name = "linear"
    config_type = LinearConfig

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return {
            "bias": ParameterSpec((1,), per_feature=False),
            "linear": ParameterSpec((n_features,), per_feature=True),
        }

    def logits(self, batch: Gathered) -> Array:
        return batch.parameters["bias"] + linear_terms(batch).sum(axis=1)
