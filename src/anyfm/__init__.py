"""anyfm: factorization machines for clicks and ratings, from a raw table to a trained and explained model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyfm.estimators import *  # noqa: F403
    from anyfm.model import Model, load
    from anyfm.pipeline import train
    from anyfm.tuning import tune

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load", "train", "tune"]

# Loaded when first asked for, so that `import anyfm` stays light. Estimators are found by their last word.
_MODULES = {"Model": "anyfm.model", "load": "anyfm.model", "train": "anyfm.pipeline", "tune": "anyfm.tuning"}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name, "anyfm.estimators" if name.endswith(("Classifier", "Regressor")) else None)
    if module is None or not hasattr(found := importlib.import_module(module), name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(found, name)


def __dir__() -> list[str]:
    from anyfm.estimators.factory import estimator_names

    return sorted({*globals(), *__all__, *estimator_names()})
