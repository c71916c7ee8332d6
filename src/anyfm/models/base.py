"""What a model is: its settings, the declaration of its parameters, and its logit as an expression of arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.core.settings import Options, Range, Settings, automatic, choice, flag, integer, optional, real, setting
from anyfm.core.task import TASKS, Array, Task, get_task
from anyfm.models.batch import Batch, gather
from anyfm.models.mlp import MLP
from anyfm.models.pairs import PairTerms
from anyfm.models.parameters import ParameterSpec, bias_and_linear
from anyfm.optim.initial import Normal
from anyfm.optim.optimizers import Adagrad, Adam
from anyfm.optim.priors import factor_prior

A = TypeVar("A", bound="AutomaticFactorSettings")

LEARNING_RATE = "Adagrad's learning rate, scaled by 1 / the root mean square norm of a row"
L2_LINEAR = "L2 penalty per linear weight in the summed loss; auto: estimated for each field"
L2_PER_OCCURRENCE = (
    "L2 penalty per factor at each occurrence of its value: multiplied by the mean count of its field's values, it is "
    "the penalty in the summed loss. It replaces l2_factors; none: l2_factors is used"
)
L2_FACTORS = "L2 penalty per factor in the summed loss; auto: estimated for each field"
INIT_SCALE = "standard deviation of the factors' initial values, relative to that of their prior"
TUNE_RATE, TUNE_ADAM = Range(0.03, 3.0), Range(3e-4, 0.03)
TUNE_L2 = Options(("none", "0.003", "0.01", "0.03", "0.1", "0.3"))
TUNE_INIT = Range(0.01, 1.0)
TUNE_DROPOUT = Range(0.0, 0.5, log=False)
NORMALIZE = "divide the values of each row by their Euclidean norm"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Settings of every model."""

    group = "Model"

    task: str = setting(
        "binary", choice(*TASKS), "binary (logloss), regression (squared loss) or poisson (counts, Poisson deviance)"
    )
    learning_rate: float = setting(0.3, real(0, above=True), LEARNING_RATE, tune=TUNE_RATE)
    l2_linear: float | None = setting(
        None, automatic(real(0)), L2_LINEAR, tune=Options(("auto", "0.1", "1", "10", "100"))
    )


@dataclass(frozen=True, kw_only=True)
class FactorSettings(ModelSettings):
    """Settings of a model with one latent vector per feature."""

    n_factors: int = setting(
        16,
        integer(1, 256),
        "number of factors: the length of the vector of each value",
        tune=Options(("4", "8", "16", "32", "64")),
    )
    l2_factors: float | None = setting(None, automatic(real(0)), L2_FACTORS)
    l2_per_occurrence: float | None = setting(None, optional(real(0, above=True)), L2_PER_OCCURRENCE, tune=TUNE_L2)
    init_scale: float = setting(0.1, real(0), INIT_SCALE, tune=TUNE_INIT)


@dataclass(frozen=True, kw_only=True)
class AutomaticFactorSettings(FactorSettings):
    """Settings of a model whose number of factors follows the number of fields."""

    n_factors: int | None = setting(  # type: ignore[assignment]
        None,
        automatic(integer(1, 256)),
        "number of factors: the length of the vector of each value; auto: 32 for up to 8 fields, 16 for up to 11, "
        "otherwise 8",
        tune=Options(("auto", "4", "8", "16", "32", "64")),
    )

    def resolve(self: A, n_fields: int) -> A:
        """These settings with n_factors decided: in a row of few fields each pair has to carry more."""
        automatic = 32 if n_fields <= 8 else 16 if n_fields <= 11 else 8
        return replace(self, n_factors=automatic) if self.n_factors is None else self


@dataclass(frozen=True, kw_only=True)
class NormalizeSettings(ModelSettings):
    """The setting of a model that can normalize rows."""

    normalize: bool = setting(False, flag(), NORMALIZE)


class BaseModel(ABC):
    """One model of the family. Stateless: the engine that trains it holds its parameters.

    A subclass is final. It knows no file, no training loop and no device; engines, explanations, artifacts and the
    command line know no model by its name and read these declarations.

    Attributes
    ----------
    name : str
        The name that people type, such as "fm".
    title : str
        The name in text, such as "Factorization machine"; `class_name` prefixes the estimators, such as "FM".
    summary : str
        What it does, in one sentence.
    settings_type : type of ModelSettings
    needs_fields : bool
        Whether the logit depends on which field an entry belongs to.
    kernel : str, optional
        The model's name in native/; None: it is trained by torch, and numpy scores with its formula.
    warmup : bool
        Whether the learning rate rises in the first epoch even if a step takes few rows.
    presets : mapping
        Named settings.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    settings_type: ClassVar[type[ModelSettings]]
    needs_fields: ClassVar[bool] = False
    kernel: ClassVar[str | None] = None
    warmup: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, settings: ModelSettings | None = None) -> None:
        self.settings: Any = settings if settings is not None else self.settings_type()

    def __repr__(self) -> str:
        changed = {
            name: value
            for name, value in self.settings.to_dict().items()
            if value != getattr(self.settings_type, name, None)
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    # ---- what every model declares

    @abstractmethod
    def parameter_specs(self, n_features: int, n_fields: int) -> dict[str, ParameterSpec]:
        """The parameters by name, for a table of `n_features` features in `n_fields` fields."""

    @abstractmethod
    def logits(self, batch: Batch) -> Array:
        """The logit of each row, shape (B,), for numpy arrays and torch tensors alike."""

    # ---- what a model may declare

    @property
    def is_sum_of_pairs(self) -> bool:
        """Whether the logit is the bias, the linear terms and the sum of the pair terms, and nothing else. Ranking then
        computes the context's part once."""
        return False

    def pair_terms(self) -> PairTerms | None:
        """The terms of pairs of entries; None for a model without pairs."""
        return None

    def mlp(self, parameters: Mapping[str, NDArray[Any]]) -> MLP | None:
        """The part of the logit that is no sum over fields and pairs, as a function of the fields' summed vectors
        (B, F K); None for a model without it."""
        return None

    def resolve(self, n_fields: int) -> BaseModel:
        """This model with every setting decided that depends on the number of fields."""
        return self

    def kernel_options(self) -> dict[str, Any]:
        """The options of the native kernel, by name."""
        return {}

    def kernel_parameters(self, parameters: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """The parameters as a kernel that only scores has them."""
        return parameters

    def candidates(self, n_fields: int) -> Sequence[Mapping[str, Any]]:
        """Settings worth trying beside the defaults, which a search on validation rows chooses from."""
        return ()

    def floats_per_row(self, n_slots: int, n_fields: int) -> int:
        """How many values `logits` lays out for the pairs of a row: what bounds the memory of a batch. 0: few."""
        return 0

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can train the model with its settings, the best first."""
        return ("native", "torch") if self.kernel is not None else ("torch",)

    @property
    def task(self) -> Task:
        return get_task(self.settings.task)

    @property
    def normalize(self) -> bool:
        """Whether the values of each row are divided by their Euclidean norm."""
        return isinstance(self.settings, NormalizeSettings) and self.settings.normalize

    @property
    def batch_size(self) -> int:
        """Rows of one optimizer step, at most, where an engine trains by batches."""
        return 4096

    @property
    def dropout(self) -> float:
        """Fraction of the values left out in training."""
        return 0.0

    @property
    def decays_learning_rate(self) -> bool:
        """Whether the learning rate decays in the second half of every epoch."""
        return True

    # ---- derived

    def n_parameters(self, n_features: int, n_fields: int) -> int:
        """How many values the model learns."""
        return sum(spec.size for spec in self.parameter_specs(n_features, n_fields).values())

    def dense_specs(self, n_fields: int) -> dict[str, ParameterSpec]:
        """The parameters that Adam trains: those that every row uses."""
        specs = self.parameter_specs(1, n_fields)
        return {name: spec for name, spec in specs.items() if isinstance(spec.optimizer, Adam)}


def factor_specs(n_features: int, settings: FactorSettings, *, target_power: float = 0.5) -> dict[str, ParameterSpec]:
    """Bias, linear weights and one latent vector per feature."""
    n_factors = settings.n_factors
    prior = factor_prior(n_factors)
    return {
        **bias_and_linear(n_features, l2=settings.l2_linear),
        "factors": ParameterSpec(
            (n_features, n_factors),
            Adagrad(accumulator=0.1),
            per_feature=True,
            initial=Normal(lambda s: settings.init_scale * prior(s).initial_std(n_factors)),
            prior=prior,
            l2=settings.l2_factors,
            l2_per_occurrence=settings.l2_per_occurrence,
            target_power=target_power,
        ),
    }


def factor_candidates(n_factors: int) -> Sequence[Mapping[str, Any]]:
    """What a search tries for a model of factors beside its defaults.

    A faster learning rate, more or fewer factors, and penalties in proportion to how often a field's values occur:
    where the curvature that the estimated penalties are based on says little, one of these does better.
    """
    return (
        {"learning_rate": 1.0},
        {"n_factors": 32 if n_factors < 32 else 8},
        {"l2_per_occurrence": 0.1},
        {"l2_per_occurrence": 0.03, "learning_rate": 1.0, "n_factors": 32},
    )


def linear_part(batch: Batch) -> Array:
    """Bias and linear terms, w_0 + Σ w_i x_i, shape (B,)."""
    return batch.parameters["bias"] + (batch.parameters["linear"] * batch.values).sum(1)


def specification_logits(model: BaseModel, parameters: Mapping[str, NDArray[Any]], rows: Rows) -> NDArray[np.float64]:
    """The model's logits in float64 numpy: slow, obvious, and what every engine is held to. Shape (n_rows,)."""
    specs = model.parameter_specs(1, 1)  # only which parameters are per feature is read
    logits: NDArray[np.float64] = model.logits(gather(parameters, rows, specs, normalize=model.normalize))
    return logits
