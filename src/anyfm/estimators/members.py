"""The estimators, a pair for each model.

Each model's parameters are written out once, for signatures that editors and scikit-learn can read. Their defaults and
their descriptions come from the model's settings and from `TrainingSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyfm.core.settings import TrainingSettings
from anyfm.estimators.base import Classifier, Regressor, TableEstimator, keep
from anyfm.models import AFMSettings, DeepFMSettings, FFMSettings, FMSettings, LinearSettings
from anyfm.workflow import DEFAULT_FRACTION, MIN_COUNT

if TYPE_CHECKING:
    import numpy as np

    RandomState = int | np.random.RandomState | None


class _Linear(TableEstimator):
    _model = "linear"

    def __init__(
        self,
        *,
        learning_rate: float = LinearSettings.learning_rate,
        l2_linear: float | None = LinearSettings.l2_linear,
        normalize: bool = LinearSettings.normalize,
        epochs: int = TrainingSettings.epochs,
        patience: int = TrainingSettings.patience,
        monitor: str = TrainingSettings.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingSettings.n_threads,
        engine: str = TrainingSettings.engine,
        device: str = TrainingSettings.device,
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
        n_factors: int = FMSettings.n_factors,
        learning_rate: float = FMSettings.learning_rate,
        l2_linear: float | None = FMSettings.l2_linear,
        l2_factors: float | None = FMSettings.l2_factors,
        init_scale: float = FMSettings.init_scale,
        normalize: bool = FMSettings.normalize,
        epochs: int = TrainingSettings.epochs,
        patience: int = TrainingSettings.patience,
        monitor: str = TrainingSettings.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingSettings.n_threads,
        engine: str = TrainingSettings.engine,
        device: str = TrainingSettings.device,
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
        n_factors: int | None = FFMSettings.n_factors,
        learning_rate: float = FFMSettings.learning_rate,
        l2_linear: float | None = FFMSettings.l2_linear,
        l2_factors: float | None = FFMSettings.l2_factors,
        init_scale: float = FFMSettings.init_scale,
        normalize: bool = FFMSettings.normalize,
        linear: bool = FFMSettings.linear,
        optimizer: str = FFMSettings.optimizer,
        epochs: int = TrainingSettings.epochs,
        patience: int = TrainingSettings.patience,
        monitor: str = TrainingSettings.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingSettings.n_threads,
        engine: str = TrainingSettings.engine,
        device: str = TrainingSettings.device,
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
        n_factors: int = AFMSettings.n_factors,
        attention_factors: int = AFMSettings.attention_factors,
        dropout: float = AFMSettings.dropout,
        learning_rate: float = AFMSettings.learning_rate,
        attention_learning_rate: float = AFMSettings.attention_learning_rate,
        l2_linear: float | None = AFMSettings.l2_linear,
        l2_factors: float | None = AFMSettings.l2_factors,
        l2_attention: float = AFMSettings.l2_attention,
        init_scale: float = AFMSettings.init_scale,
        normalize: bool = AFMSettings.normalize,
        epochs: int = TrainingSettings.epochs,
        patience: int = TrainingSettings.patience,
        monitor: str = TrainingSettings.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingSettings.n_threads,
        engine: str = TrainingSettings.engine,
        device: str = TrainingSettings.device,
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
        n_factors: int = DeepFMSettings.n_factors,
        hidden_layer_sizes: tuple[int, ...] | None = DeepFMSettings.hidden_layer_sizes,
        activation: str = DeepFMSettings.activation,
        dropout: float = DeepFMSettings.dropout,
        batch_norm: bool = DeepFMSettings.batch_norm,
        batch_size: int = DeepFMSettings.batch_size,
        learning_rate: float = DeepFMSettings.learning_rate,
        mlp_learning_rate: float = DeepFMSettings.mlp_learning_rate,
        shrinkage: float | None = DeepFMSettings.shrinkage,
        l2_linear: float | None = DeepFMSettings.l2_linear,
        l2_factors: float | None = DeepFMSettings.l2_factors,
        weight_decay: float = DeepFMSettings.weight_decay,
        init_scale: float = DeepFMSettings.init_scale,
        epochs: int = TrainingSettings.epochs,
        patience: int = TrainingSettings.patience,
        monitor: str = TrainingSettings.monitor,
        validation_fraction: float = DEFAULT_FRACTION,
        fields: Mapping[str, Any] | None = None,
        min_count: int = MIN_COUNT,
        n_bins: int | None = None,
        random_state: RandomState = 0,
        n_threads: int = TrainingSettings.n_threads,
        engine: str = TrainingSettings.engine,
        device: str = TrainingSettings.device,
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
