"""The parameters of an estimator, described from the settings they stand for, so that this is written once."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import Any

from anyfm.core.settings import TrainingSettings
from anyfm.models import MODELS

_OF_THE_TABLE = {
    "validation_fraction": (
        "share of the training rows held out at random (classes alike) to choose the best epoch by, where `fit` gets "
        "no eval_set; with fewer than 1000 rows, or 0, none is, and training runs all epochs"
    ),
    "fields": (
        "kinds of columns, where the inferred ones will not do: column → kind, or column → settings of its "
        "`anyfm.data.Field`, such as {'zip': 'categorical', 'genres': {'kind': 'tags', 'separator': '|'}}; the "
        "columns of an array are called x0, x1, …"
    ),
    "min_count": "values seen less often in training share the unseen feature",
    "n_bins": "at most so many quantile bins of a numeric column; none: one for every 25 rows, but 2 to 32",
    "random_state": "seed of the held-out rows, of initialisation and of shuffling; none: another one each time",
}

_ATTRIBUTES = """
Attributes
----------
classes_ : array of shape (2,)
    Of a classifier; the second is the positive one.
history_ : list of dict
    One record per epoch: epoch, train_loss, seconds, rows_per_second, and with validation rows each score as
    valid_<score>.
best_epoch_ : int
    The epoch whose parameters were kept, from 1; the last one without validation rows.
artifact_ : Artifact
    The trained model with its encoder; ``artifact_.encoder.schema`` says what became of each column, and why.
bias_ : float
{parameters}
n_features_in_ : int
feature_names_in_ : array of shape (n_features_in_,)
    Where X had names.
"""
_OF_A_FEATURE = """{name}_ : mapping
    ``{name}_[field][value]`` is {shape}; after fitting a sparse matrix, ``{name}_["column"][number]``."""


def documented(cls: Any, *, model: str) -> None:
    """Append the sections Parameters and Attributes to the docstring of an estimator."""
    if not cls.__doc__ or "\nParameters\n" in inspect.cleandoc(cls.__doc__):
        return
    kind = MODELS[model]
    helps = {
        item.name: item.metadata["help"]
        for config in (kind.settings_type, TrainingSettings)
        for item in dataclasses.fields(config)
    }
    lines, indent = ["", "Parameters", "----------"], " " * 4
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name != "self":
            lines.append(f"{name} : {parameter.annotation}, default={parameter.default!r}")
            text = {**helps, **_OF_THE_TABLE}[name]
            text = f"{text[0].upper()}{text[1:]}."
            lines += textwrap.wrap(text, 112, initial_indent=indent, subsequent_indent=indent)
    specs = kind().parameter_specs(1, 1)
    learnt = [
        _OF_A_FEATURE.format(name=name, shape="a number" if len(spec.shape) == 1 else "an array")
        for name, spec in specs.items()
        if spec.per_feature
    ]
    attributes = _ATTRIBUTES.format(parameters="\n".join(learnt))
    cls.__doc__ = inspect.cleandoc(cls.__doc__) + "\n" + "\n".join(lines) + "\n" + attributes
