"""The linear model: logistic regression, or linear regression, on one-hot features."""

from __future__ import annotations

from dataclasses import dataclass

from anyfm.core.settings import flag, optional, real, setting
from anyfm.models.base import BaseModel, Batch, ModelSettings, ParameterSpec, linear_terms
from anyfm.models.operations import Array


@dataclass(frozen=True, kw_only=True)
class LinearSettings(ModelSettings):
    """Settings of the linear model."""

    learning_rate: float = setting(0.3, real(0, above=True), "Adagrad's step, divided by the norm of an average row")
    l2_linear: float | None = setting(
        None, optional(real(0)), "L2 penalty of each linear weight in the summed loss; none: estimated for each field"
    )
    normalize: bool = setting(False, flag(), "divide each row by its Euclidean norm")


class Linear(BaseModel):
    r"""Linear model.

    .. math:: z(x) = w_0 + \sum_i w_i x_i

    with :math:`w_0` the bias and :math:`w_i` the weight of feature i. It cannot cross features: the effect of a
    feature is the same whatever else the row holds.
    """

    name = "linear"
    title = "Logistic or linear regression"
    summary = "The score is a bias plus one weight for each value."
    settings_type = LinearSettings

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return {
            "bias": ParameterSpec((1,), per_feature=False),
            "linear": ParameterSpec((n_features,), per_feature=True),
        }

    def logits(self, batch: Batch) -> Array:
        return batch.parameters["bias"] + linear_terms(batch).sum(axis=1)
