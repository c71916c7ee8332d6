"""The first section of the report: what was trained on what, how well it does, learning curves, fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyfm.report import figures
from anyfm.report.assessment import Estimate
from anyfm.report.markup import Page, escaped, number, table
from anyfm.report.measured import Measured, Measurement

# Metric: what it means, whether higher is better (None: neither), and its value for a perfect model.
METRICS: dict[str, tuple[str, bool | None]] = {
    "logloss": ("mean −ln of the probability given to what happened; lower is better", False),
    "auc": ("the chance that a positive row scores above a negative one; higher is better", True),
    "normalised_entropy": ("logloss divided by that of always predicting the mean; below 1 is better than that", False),
    "calibration_error": ("mean distance between predicted and observed rate; lower is better", False),
    "calibration_ratio": ("mean predicted divided by mean observed; 1 is right", None),
    "rmse": ("root of the mean squared error, in units of the target; lower is better", False),
    "mae": ("mean absolute error, in units of the target; lower is better", False),
    "r2": ("share of the target's variance that is explained; higher is better", True),
}


_NAMES = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}


def overview(page: Page, measurement: Measurement) -> str:
    """What was trained on what, how well it does, and the learning curves."""
    models = measurement.models
    return "".join(
        [
            _caution(measurement),
            f"<h2>What was trained</h2>{_trained(models)}",
            f"<h2>How well it does</h2><p>Measured on {measurement.n_rows:,} rows of {escaped(measurement.data)}. "
            "In brackets the 95 % interval from 200 bootstrap resamples"
            + (
                "; below it the difference to the first model, on the same resamples. "
                "An interval of differences that holds 0 means no clear difference."
                if len(models) > 1
                else "."
            )
            + f"</p>{_metrics(models)}",
            page.figure(
                "learning",
                "Learning curves",
                "Read it: the loss of each epoch; dotted on training rows, thick on validation rows, a ring at the "
                "epoch that was kept. Validation rising while training falls is overfitting. A training curve may "
                "begin above the frame.",
                figures.learning_curves(models),
                empty="These models were saved without a history.",
            ).html,
            f"<h2>Fields</h2>{_fields(models[0])}",
        ]
    )


def _caution(measurement: Measurement) -> str:
    """A warning where the table may be what the models learnt from."""
    learnt = [model.name for model in measurement.models if model.may_be_training_rows]
    if not learnt:
        return ""
    return (
        f'<p class="caution"><b>Held out?</b> This table has just as many rows as {escaped(", ".join(learnt))} learnt '
        "from. If they are those rows, the figures below flatter the model: measure it on rows it has not seen.</p>"
    )


def _trained(models: Sequence[Measured]) -> str:
    def fact(name: str, value: Callable[[Measured], object]) -> list[str]:
        return [f"<b>{name}</b>", *(escaped(value(model), length=400) for model in models)]

    rows = [
        fact("kind", lambda m: m.artifact.model.name),
        fact("target", lambda m: _target(m)),
        fact("training rows", lambda m: f"{m.artifact.training.get('rows', 0):,}"),
        fact("validation rows", lambda m: f"{m.artifact.training.get('valid_rows', 0):,}"),
        fact("fields", lambda m: f"{m.artifact.n_fields}"),
        fact("features", lambda m: f"{m.artifact.n_features:,}"),
        fact("parameters", lambda m: f"{m.artifact.model.n_parameters(m.artifact.n_features, m.artifact.n_fields):,}"),
        fact("epochs", _epochs),
        fact("settings", lambda m: _settings(m.artifact.model.settings.to_dict())),
        fact("written by", lambda m: f"anyfm {m.artifact.anyfm_version}"),
    ]
    return table(["", *(escaped(model.name) for model in models)], rows, scrolls=len(models) > 1)


def _target(model: Measured) -> str:
    target = model.artifact.require_encoder().schema.target
    assert target is not None
    return f"{target.name} = {target.positive}" if target.task == "binary" else f"{target.name}, a number"


def _epochs(model: Measured) -> str:
    history = model.artifact.history
    return f"{len(history.get('records', []))}, best {history.get('best_epoch', '?')}"


def _settings(config: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items() if value is not None)


def _metrics(models: Sequence[Measured]) -> str:
    names = list(dict.fromkeys(name for model in models for name in model.metrics))
    rows = []
    for name in names:
        meaning, higher = METRICS.get(name, ("", None))
        cells = [f"<b>{escaped(_NAMES.get(name, name.replace('_', ' ')))}</b><br><small>{escaped(meaning)}</small>"]
        cells += [_estimate(model.metrics[name], higher) if name in model.metrics else "" for model in models]
        rows.append(cells)
    return table(["", *(escaped(model.name) for model in models)], rows, scrolls=len(models) > 1)


def _estimate(estimate: Estimate, higher: bool | None) -> str:
    shown = f"<b>{number(estimate.value)}</b>"
    if estimate.lower is not None and estimate.upper is not None:
        shown += f" <small class=interval>[{number(estimate.lower)}, {number(estimate.upper)}]</small>"
    if estimate.difference is not None:
        gap, low, high = estimate.difference
        clear = low > 0 or high < 0
        verdict = "" if not clear or higher is None else (" better" if (gap > 0) == higher else " worse")
        interval = f"[{number(low, sign=True)}, {number(high, sign=True)}]"
        shown += f"<small class=interval>{number(gap, sign=True)} {interval}{verdict}</small>"
    return shown


def _fields(model: Measured) -> str:
    encoder = model.artifact.require_encoder()
    sizes = dict(zip(encoder.field_names, np.diff(encoder.field_offsets).tolist(), strict=True))
    rows = [
        [
            f"<b>{escaped(field.name)}</b>",
            escaped(field.kind),
            f"{sum(sizes[name] for name in field.field_names):,}" if field.field_names else "",
            escaped(field.reason, length=200),
        ]
        for field in encoder.schema.fields
    ]
    shown = table(["field", "kind", "features", "why"], rows, numeric=[2])
    summary = f"{len(rows)} columns of {escaped(model.name)}'s table, and what was made of them"
    return f"<details><summary>{summary}</summary>{shown}</details>"
