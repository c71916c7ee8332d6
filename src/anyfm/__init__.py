"""anyfm: linear, FM, FFM, AFM and DeepFM models for clicks and ratings, from a raw table to a served model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyfm.estimators import (
        AFMClassifier,
        AFMRegressor,
        FFMClassifier,
        FFMRegressor,
        FMClassifier,
        FMRegressor,
        LinearClassifier,
        LinearRegressor,
    )
    from anyfm.predictor import Predictor, load

__version__ = "0.1.0"

# Loaded when first asked for, so that `import anyfm` stays light.
_ROOMS = {
    "AFMClassifier": "anyfm.estimators",
    "AFMRegressor": "anyfm.estimators",
    "FFMClassifier": "anyfm.estimators",
    "FFMRegressor": "anyfm.estimators",
    "FMClassifier": "anyfm.estimators",
    "FMRegressor": "anyfm.estimators",
    "LinearClassifier": "anyfm.estimators",
    "LinearRegressor": "anyfm.estimators",
    "Predictor": "anyfm.predictor",
    "load": "anyfm.predictor",
}

__all__ = [
    "AFMClassifier",
    "AFMRegressor",
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "LinearClassifier",
    "LinearRegressor",
    "Predictor",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
