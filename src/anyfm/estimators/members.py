"""The estimators, a pair for each model.

Each model's parameters are written out once, for signatures that editors and scikit-learn can read. Their defaults and
their descriptions come from the model's settings and from `TrainingConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyfm.config import TrainingConfig
from anyfm.estimators.base import Classifier, Regressor, TableEstimator, keep
from anyfm.models import AFMConfig, DeepFMConfig, FFMConfig, FMConfig, LinearConfig
from anyfm.workflow import DEFAULT_FRACTION, MIN_COUNT

if TYPE_CHECKING:
    import numpy as np

    RandomState = int | np.random.RandomState | None


class _Linear(TableEstimator):
    _model = "linear"

    def __init__(
        self,
        *,
        learning_rate: float = LinearConfig.learning_rate,
        l2_linear: float | None = LinearConfig.l2_linear,
        normalize: bool = LinearConfig.normalize,
        n_epochs: int = TrainingConfig.n_epochs,
        patience: int = TrainingConfig.patience,
        monitor: str = TrainingConfig.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingConfig.n_threads,
        engine: str = TrainingConfig.engine,
        device: str = TrainingConfig.device,
    ) -> None:
        keep(self, locals())


class LinearClassifier(Classifier, _Linear):
    """Logistic regression on the values of categorical columns and the bins of numeric ones."""


class LinearRegressor(Regressor, _Linear):
    """Linear regression on the values of categorical columns and the bins of numeric ones."""


class _FM(TableEstimator):
    _model = "fm"

    def __init__(
        self,
        *,
        n_factors: int = FMConfig.n_factors,
        learning_rate: float = FMConfig.learning_rate,
        l2_linear: float | None = FMConfig.l2_linear,
        l2_factors: float | None = FMConfig.l2_factors,
        init: float = FMConfig.init,
        normalize: bool = FMConfig.normalize,
        n_epochs: int = TrainingConfig.n_epochs,
        patience: int = TrainingConfig.patience,
        monitor: str = TrainingConfig.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingConfig.n_threads,
        engine: str = TrainingConfig.engine,
        device: str = TrainingConfig.device,
    ) -> None:
        keep(self, locals())


class FMClassifier(Classifier, _FM):
    """Factorization machine for two classes: it learns how any two values of different columns go together."""


class FMRegressor(Regressor, _FM):
    """Factorization machine for numbers: it learns how any two values of different columns go together."""


class _FFM(TableEstimator):
    _model = "ffm"

    def __init__(
        self,
        *,
        n_factors: int | None = FFMConfig.n_factors,
        learning_rate: float = FFMConfig.learning_rate,
        l2_linear: float | None = FFMConfig.l2_linear,
        l2_factors: float | None = FFMConfig.l2_factors,
        init: float = FFMConfig.init,
        normalize: bool = FFMConfig.normalize,
        linear: bool = FFMConfig.linear,
        adagrad: str = FFMConfig.adagrad,
        n_epochs: int = TrainingConfig.n_epochs,
        patience: int = TrainingConfig.patience,
        monitor: str = TrainingConfig.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingConfig.n_threads,
        engine: str = TrainingConfig.engine,
        device: str = TrainingConfig.device,
    ) -> None:
        keep(self, locals())


class FFMClassifier(Classifier, _FFM):
    """Field-aware factorization machine for two classes: each value shows other factors to each other column.

    The settings of the program libffm are ``FFMClassifier(**anyfm.models.ffm.PRESETS["libffm"])``.
    """


class FFMRegressor(Regressor, _FFM):
    """Field-aware factorization machine for numbers: each value shows other factors to each other column."""


class _AFM(TableEstimator):
    _model = "afm"

    def __init__(
        self,
        *,
        n_factors: int = AFMConfig.n_factors,
        attention_factors: int = AFMConfig.attention_factors,
        dropout: float = AFMConfig.dropout,
        learning_rate: float = AFMConfig.learning_rate,
        attention_learning_rate: float = AFMConfig.attention_learning_rate,
        l2_linear: float | None = AFMConfig.l2_linear,
        l2_factors: float | None = AFMConfig.l2_factors,
        l2_attention: float = AFMConfig.l2_attention,
        init: float = AFMConfig.init,
        normalize: bool = AFMConfig.normalize,
        n_epochs: int = TrainingConfig.n_epochs,
        patience: int = TrainingConfig.patience,
        monitor: str = TrainingConfig.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingConfig.n_threads,
        engine: str = TrainingConfig.engine,
        device: str = TrainingConfig.device,
    ) -> None:
        keep(self, locals())


class AFMClassifier(Classifier, _AFM):
    """Attentional factorization machine for two classes: in each row it learns which pairs of columns matter."""


class AFMRegressor(Regressor, _AFM):
    """Attentional factorization machine for numbers: in each row it learns which pairs of columns matter."""


class _DeepFM(TableEstimator):
    _model = "deepfm"

    def __init__(
        self,
        *,
        n_factors: int = DeepFMConfig.n_factors,
        hidden: str | None = DeepFMConfig.hidden,
        activation: str = DeepFMConfig.activation,
        dropout: float = DeepFMConfig.dropout,
        batch_norm: bool = DeepFMConfig.batch_norm,
        batch_rows: int = DeepFMConfig.batch_rows,
        learning_rate: float = DeepFMConfig.learning_rate,
        deep_learning_rate: float = DeepFMConfig.deep_learning_rate,
        deep_trust: float | None = DeepFMConfig.deep_trust,
        l2_linear: float | None = DeepFMConfig.l2_linear,
        l2_factors: float | None = DeepFMConfig.l2_factors,
        l2_deep: float = DeepFMConfig.l2_deep,
        init: float = DeepFMConfig.init,
        n_epochs: int = TrainingConfig.n_epochs,
        patience: int = TrainingConfig.patience,
        monitor: str = TrainingConfig.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingConfig.n_threads,
        engine: str = TrainingConfig.engine,
        device: str = TrainingConfig.device,
    ) -> None:
        keep(self, locals())


class DeepFMClassifier(Classifier, _DeepFM):
    """Factorization machine and perceptron on one embedding, for two classes.

    Fitting with ``batch_norm`` needs PyTorch, ``pip install "anyfm[torch]"``; all else does not.
    """


class DeepFMRegressor(Regressor, _DeepFM):
    """Factorization machine and perceptron on one embedding, for numbers.

    Fitting with ``batch_norm`` needs PyTorch, ``pip install "anyfm[torch]"``; all else does not.
    """
