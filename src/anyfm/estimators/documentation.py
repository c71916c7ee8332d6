"""The docstring of an estimator, from what the model and the settings declare."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from anyfm.models import BaseModel

if TYPE_CHECKING:
    from anyfm.estimators.factory import Parameter

_TASKS = {"Classifier": "two classes", "Regressor": "numbers"}
_MORE = {
    "valid_fraction": " `fit` with an eval_set holds out none.",
    "fields": (
        " A kind, or the settings of an `anyfm.data.Field`: {'zip': 'categorical', 'genres': {'kind': 'tags', "
        "'separator': '|'}}. The columns of an array are called x0, x1 and so on."
    ),
}
_ATTRIBUTES = """
Attributes
----------
model_ : anyfm.Model
    The trained model; ``model_.schema`` says what each column became, and why.
classes_ : array of shape (2,)
    Of a classifier; the second is the positive class.
history_ : History
    The training epoch by epoch.
best_epoch_ : int
    The epoch whose parameters the model has, from 1; the last one without validation rows.
bias_ : float
{parameters}
n_features_in_ : int
feature_names_in_ : array of shape (n_features_in_,)
    Where X has names.
"""
_PER_FEATURE = """{name}_ : mapping
    ``{name}_[field][value]`` is {shape}; after fitting a sparse matrix, ``{name}_["column"][number]``."""
_WIDTH, _INDENT = 112, " " * 4


def documentation(model: type[BaseModel], kind: str, parameters: list[Parameter]) -> str:
    """The whole docstring, numpydoc.

    Parameters
    ----------
    model : type of BaseModel
    kind : {"Classifier", "Regressor"}
    parameters : list of Parameter
    """
    lines = [
        f"{model.title} for {_TASKS[kind]}, on raw tables.",
        "",
        model.summary,
        f"The formula is in `{model.__module__}.{model.__name__}`.",
        *(f"`{model.__name__}.presets[{name!r}]` are the settings of {name}." for name in model.presets),
        "",
        "Parameters",
        "----------",
    ]
    for parameter in parameters:
        lines.append(f"{parameter.name} : {parameter.type_text}, default={parameter.default!r}")
        text = f"{parameter.help[0].upper()}{parameter.help[1:]}.{_MORE.get(parameter.name, '')}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    specs = model().parameter_specs(1, 1)
    learned = [
        _PER_FEATURE.format(name=name, shape="a number" if len(spec.shape) == 1 else "an array")
        for name, spec in specs.items()
        if spec.per_feature
    ]
    return "\n".join(lines) + "\n" + _ATTRIBUTES.format(parameters="\n".join(learned))
