"""scikit-learn estimators on raw tables. The only room that knows scikit-learn."""

from __future__ import annotations

from anyfm.estimators.members import FMClassifier, FMRegressor, LinearClassifier, LinearRegressor

__all__ = ["FMClassifier", "FMRegressor", "LinearClassifier", "LinearRegressor"]
