"""Makes the estimators of every registered model: signature, defaults and documentation come from its settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_type_hints

import numpy as np

from anyfm.core.settings import DataSettings, Settings, TrainingSettings, ValidationSettings, unknown_name
from anyfm.models import MODELS, BaseModel

KINDS = ("Classifier", "Regressor")
_OF_DATA = ("valid_fraction", "fields", "min_count", "n_bins")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of an estimator: its name, type, default, one line of help, and its type as text."""

    name: str
    type: Any
    default: Any
    help: str
    type_text: str


def parameters_of(model: type[BaseModel], kind: str) -> list[Parameter]:
    """The parameters of the estimators of a model: its settings, some of the data's, and those of training.

    A classifier has no task, a regressor no class weights. `random_state` stands for the setting `seed`.

    Parameters
    ----------
    model : type of BaseModel
    kind : {"Classifier", "Regressor"}
    """
    data = [*_declared(ValidationSettings), *_declared(DataSettings)]
    found = []
    for parameter in _declared(model.settings_type):
        if parameter.name != "task":
            found.append(parameter)
        elif kind == "Regressor":
            help = "regression (squared loss) or poisson (counts, Poisson deviance)"
            found.append(dataclasses.replace(parameter, default="regression", help=help))
    for parameter in _declared(TrainingSettings):
        if parameter.name == "seed":
            found += [next(one for one in data if one.name == name) for name in _OF_DATA]
            found.append(_random_state(parameter))
        elif parameter.name == "class_weight" and kind == "Regressor":
            continue
        elif parameter.name == "search":  # off: scikit-learn has searches of its own, which would nest this one
            found.append(dataclasses.replace(parameter, default=False))
        else:
            found.append(parameter)
    return found


def _declared(settings: type[Settings]) -> Iterator[Parameter]:
    types = get_type_hints(settings)
    for item in dataclasses.fields(settings):
        rule, help = item.metadata["rule"], item.metadata["help"]
        if rule.none == "auto":  # only in text; in Python it is None
            help = help.replace("auto:", "None:")
        text = item.type if isinstance(item.type, str) else inspect.formatannotation(item.type)
        yield Parameter(item.name, types[item.name], item.default, help, text)


def _random_state(seed: Parameter) -> Parameter:
    help = f"{seed.help}, or a numpy RandomState; none: another one at each fit"
    return Parameter("random_state", int | np.random.RandomState | None, seed.default, help, "int | RandomState | None")


def estimator_names() -> list[str]:
    """The names of all estimators."""
    return sorted(f"{model.__name__}{kind}" for model in MODELS.values() for kind in KINDS)


def estimator_class(name: str) -> type | None:
    """The estimator of this name, such as FMClassifier; None if no model of that name is registered."""
    for model in MODELS.values():
        for kind in KINDS:
            if name == f"{model.__name__}{kind}":
                return _make(model, kind)
    return None


@cache
def _make(model: type[BaseModel], kind: str) -> type:
    from anyfm.estimators import base
    from anyfm.estimators.documentation import documentation

    name, parameters = f"{model.__name__}{kind}", parameters_of(model, kind)
    members = {
        "__init__": _init(name, parameters),
        "__doc__": documentation(model, kind, parameters),
        "__module__": "anyfm.estimators",
        "_model": model.name,
    }
    return type(name, (getattr(base, kind),), members)


def _init(owner: str, parameters: list[Parameter]) -> Callable[..., None]:
    """An ``__init__`` that stores its keywords as they are, as scikit-learn asks, with an explicit signature."""
    defaults = {parameter.name: parameter.default for parameter in parameters}

    def __init__(self: Any, **given: Any) -> None:  # noqa: N807
        for name in given:
            if name not in defaults:
                raise TypeError(unknown_name(name, defaults, what=f"parameter of {owner}"))
        for name, value in {**defaults, **given}.items():
            setattr(self, name, value)

    __init__.__qualname__ = f"{owner}.__init__"
    keyword = inspect.Parameter.KEYWORD_ONLY
    explicit = [inspect.Parameter(p.name, keyword, default=p.default, annotation=p.type) for p in parameters]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = inspect.Signature([own, *explicit], return_annotation=None)  # type: ignore[attr-defined]
    return __init__
