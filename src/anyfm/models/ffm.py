"""The field-aware factorization machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from anyfm.core.settings import Options, automatic, choice, flag, integer, optional, real, setting
from anyfm.core.task import Array
from anyfm.models.base import (
    INIT_SCALE,
    L2_PER_OCCURRENCE,
    TUNE_INIT,
    TUNE_L2,
    BaseModel,
    NormalizeSettings,
    linear_part,
)
from anyfm.models.batch import Batch
from anyfm.models.pairs import Doubles, Indices, PairTerms, sums_of_fields
from anyfm.models.parameters import ParameterSpec, bias_and_linear
from anyfm.optim.initial import FieldUniform
from anyfm.optim.optimizers import Adagrad
from anyfm.optim.priors import field_factor_prior
from anyfm.optim.statistics import TrainingStatistics

_NO_PENALTY = 1e-30  # the kernel of libffm's rule takes 0 for "no partner in the row"


@dataclass(frozen=True, kw_only=True)
class FFMSettings(NormalizeSettings):
    """Settings of the field-aware factorization machine."""

    n_factors: int | None = setting(
        None,
        automatic(integer(1, 256)),
        "number of factors: the length of each vector, of which a value has one per field; auto: 64 divided by the "
        "number of fields, from 4 to 16",
        tune=Options(("auto", "2", "4", "8", "16")),
    )
    l2_factors: float | None = setting(
        None, automatic(real(0)), "L2 penalty per factor in the summed loss; auto: estimated for each pair of fields"
    )
    l2_per_occurrence: float | None = setting(None, optional(real(0, above=True)), L2_PER_OCCURRENCE, tune=TUNE_L2)
    init_scale: float = setting(0.1, real(0), INIT_SCALE, tune=TUNE_INIT)
    linear: bool = setting(True, flag(), "whether the model has a bias and linear terms")
    optimizer: str = setting(
        "adagrad",
        choice("adagrad", "libffm"),
        "adagrad: Adagrad with one accumulator per vector. libffm: the rule of the program libffm, with one "
        "accumulator per factor, l2_factors in the gradient of each row and initial factors from U(0, 1) / √n_factors",
    )


class FFM(BaseModel):
    r"""Field-aware factorization machine (Juan, Zhuang, Chin, Lin, RecSys 2016, equation 4), with bias and linear part.

    .. math::
        z(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_{i,f(j)}, v_{j,f(i)} \rangle x_i x_j

    Feature i of field f(i) has one latent vector for every field: :math:`v_{i,g}` is the one used in pairs with
    features of field g. Sums run over the entries of a row, so several features of one field are legal (tags, for
    instance): the pair of i and j within field f uses :math:`v_{i,f}` and :math:`v_{j,f}`, like any other.
    With :math:`v_{i,g}` the same for all g it is the factorization machine.
    """

    name = "ffm"
    title = "Field-aware factorization machine"
    summary = "Each value has one weight, and one vector for each other field."
    settings_type = FFMSettings
    needs_fields = True
    kernel = "ffm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # the program libffm with its defaults
        "libffm": {
            "n_factors": 4,
            "learning_rate": 0.2,
            "l2_factors": 2e-5,
            "normalize": True,
            "linear": False,
            "optimizer": "libffm",
        }
    }

    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        settings, n_factors = self.settings, self._n_factors(n_fields)
        libffm = self._is_libffm

        def width(statistics: TrainingStatistics) -> float:
            std = settings.init_scale * field_factor_prior(statistics).initial_std(n_factors)
            return float(1 / np.sqrt(n_factors) if libffm else np.sqrt(12) * std)

        l2 = settings.l2_factors
        return {
            **bias_and_linear(n_features, l2=settings.l2_linear, trained=settings.linear),
            "field_factors": ParameterSpec(
                (n_features, n_fields, n_factors),
                Adagrad(accumulator=1.0 if libffm else 0.1),
                per_feature=True,
                initial=FieldUniform(width, centered=not libffm, unseen=libffm),
                prior=field_factor_prior,
                l2=max(l2, _NO_PENALTY) if libffm and l2 is not None else l2,
                l2_per_occurrence=settings.l2_per_occurrence,
                target_power=0.5,
            ),
        }

    @property
    def is_sum_of_pairs(self) -> bool:
        return True

    def pair_terms(self) -> FieldAwareProducts:
        return FieldAwareProducts(self.settings.n_factors)

    def logits(self, batch: Batch) -> Array:
        scaled = batch.parameters["field_factors"] * batch.values[..., None, None]  # (B, S, F, K)
        n_rows, n_slots = batch.values.shape
        row, slot = np.arange(n_rows)[:, None, None], np.arange(n_slots)[:, None]
        toward = scaled[row, slot, batch.fields[:, None, :]]  # (B, S, S, K): of slot i toward the field of slot j
        products = (toward * toward.swapaxes(1, 2)).sum(-1)
        return linear_part(batch) + 0.5 * (products.sum((1, 2)) - products.diagonal(0, 1, 2).sum(-1))

    def resolve(self, n_fields: int) -> FFM:
        return type(self)(replace(self.settings, n_factors=self._n_factors(n_fields)))

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        if self._is_libffm:
            return ()
        return (
            {"learning_rate": 1.0},
            {"l2_per_occurrence": 0.1},
            {"l2_per_occurrence": 0.01},
            {"l2_per_occurrence": 0.003},
        )

    def kernel_options(self) -> dict[str, Any]:
        names = ("n_factors", "normalize", "linear")
        return {**{name: getattr(self.settings, name) for name in names}, "libffm": self._is_libffm}

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return int((4 * n_slots * n_slots + 2 * n_slots * n_fields) * self._n_factors(n_fields))

    @property
    def engines(self) -> tuple[str, ...]:
        return ("native",) if self._is_libffm else ("native", "torch")

    @property
    def decays_learning_rate(self) -> bool:
        return not self._is_libffm

    @property
    def _is_libffm(self) -> bool:
        return bool(self.settings.optimizer == "libffm")

    def _n_factors(self, n_fields: int) -> int:
        """The setting, or about 64 values per feature, in fours as the kernels take them: few fields need longer
        vectors to tell their values apart, many have enough vectors."""
        known: int | None = self.settings.n_factors
        return min(16, max(4, 4 * -(-16 // max(n_fields, 1)))) if known is None else known


class FieldAwareProducts(PairTerms):
    """⟨u_{i, f(j)}, u_{j, f(i)}⟩ of one vector per feature and field, the parameter `field_factors`."""

    def __init__(self, n_factors: int) -> None:
        self._n_factors = n_factors

    def vectors(self, batch: Batch) -> Doubles:
        return np.asarray(batch.parameters["field_factors"] * batch.values[..., None, None])

    def form(self, batch: Batch, one: Doubles, other: Doubles) -> Doubles:
        if batch.in_order and one.shape[1] == one.shape[2]:
            return np.asarray(np.einsum("bijk,bjik->bij", one, other))
        n_rows, n_slots = batch.values.shape
        row, slot = np.arange(n_rows)[:, None, None], np.arange(n_slots)[:, None]
        toward = batch.fields[:, None, :]  # [b, i, j]: the field of slot j
        return np.asarray(np.einsum("bijk,bjik->bij", one[row, slot, toward], other[row, slot, toward]))

    def item_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        return np.asarray(self._toward(batch, own, other).reshape(len(batch.values), -1))

    def query_vectors(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        return np.asarray(self._toward(batch, own, other).swapaxes(1, 2).reshape(len(batch.values), -1))

    def _toward(self, batch: Batch, own: Indices, other: Indices) -> Doubles:
        """The sums of the vectors of each field of `own` toward each of `other`, (B, own, other, K)."""
        return sums_of_fields(batch, self.vectors(batch)[:, :, other], own)

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        return n_slots * (4 * n_slots + (4 * n_fields + n_slots) * self._n_factors)
