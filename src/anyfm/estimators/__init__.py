"""scikit-learn estimators on raw tables: ``<model>Classifier`` and ``<model>Regressor`` of every registered model.

The classes are made when first asked for, see `anyfm.estimators.factory`; ``__init__.pyi`` shows them to type checkers.
"""

from __future__ import annotations

from anyfm.estimators.factory import estimator_class, estimator_names

__all__ = estimator_names()


def __getattr__(name: str) -> type:
    found = estimator_class(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return [*globals(), *estimator_names()]
