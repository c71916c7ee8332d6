"""The linear model: logistic regression, or linear regression, on one-hot features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyfm.core.task import Array
from anyfm.models.base import BaseModel, NormalizeSettings, linear_part
from anyfm.models.batch import Batch
from anyfm.models.parameters import ParameterSpec, bias_and_linear


@dataclass(frozen=True, kw_only=True)
class LinearSettings(NormalizeSettings):
    """Settings of the linear model."""


class Linear(BaseModel):
    r"""Linear model.

    .. math:: z(x) = w_0 + \sum_i w_i x_i

    with :math:`w_0` the bias and :math:`w_i` the weight of feature i. It cannot cross features: the effect of a
    feature is the same whatever else the row holds.
    """

    name = "linear"
    title = "Linear model"
    summary = "The logit is a bias plus one weight for each value."
    settings_type = LinearSettings
    kernel = "linear"

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        return bias_and_linear(n_features, l2=self.settings.l2_linear)

    @property
    def is_sum_of_pairs(self) -> bool:
        return True

    def logits(self, batch: Batch) -> Array:
        return linear_part(batch)

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        return ({"learning_rate": 1.0},)

    def kernel_options(self) -> dict[str, bool]:
        return {"normalize": self.settings.normalize}
