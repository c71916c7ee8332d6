"""scikit-learn estimators on raw tables. The only room that knows scikit-learn."""

from __future__ import annotations

from anyfm.estimators.members import (
    DeepFMClassifier,
    DeepFMRegressor,
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    LinearClassifier,
    LinearRegressor,
)

__all__ = [
    "DeepFMClassifier",
    "DeepFMRegressor",
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "LinearClassifier",
    "LinearRegressor",
]
