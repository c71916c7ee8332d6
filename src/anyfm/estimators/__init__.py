"""scikit-learn estimators on raw tables. The only room that knows scikit-learn."""

from __future__ import annotations

from anyfm.estimators.members import (
    AFMClassifier,
    AFMRegressor,
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    LinearClassifier,
    LinearRegressor,
)

__all__ = [
    "AFMClassifier",
    "AFMRegressor",
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "LinearClassifier",
    "LinearRegressor",
]
