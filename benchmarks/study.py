"""What row normalization, step size, penalties and the number of factors are worth: validation loss, one thing changed
at a time.

    python -m benchmarks.study [--models fm ffm] [--data FOLDER] [--sets adult bank …] [--only learning_rate …]

Every model is trained with its defaults, then with one setting (or two, where they act together) changed, on the tables
of `benchmarks.quality`. Prints for each model a Markdown table of the loss on the validation rows at the best epoch,
and, last, the mean over the tables of the change against the defaults in percent. The test rows are never looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from anyfm.core.errors import DivergenceError
from anyfm.models import MODELS
from anyfm.models.ffm import PRESETS
from anyfm.pipeline import PreparedData, fit
from benchmarks.quality import DATA, PROBLEMS, encoded, loss_name

Settings = dict[str, Any]

STUDY: tuple[Settings, ...] = (
    {},
    {"normalize": True},
    {"normalize": True, "learning_rate": 0.1},
    {"normalize": True, "learning_rate": 1.0},
    {"learning_rate": 0.1},
    {"learning_rate": 0.2},
    {"learning_rate": 0.5},
    {"learning_rate": 1.0},
    {"l2_factors": 0.0},
    {"l2_factors": 3.0},
    {"l2_factors": 10.0},
    {"l2_factors": 30.0},
    {"l2_factors": 100.0},
    {"l2_linear": 0.0},
    {"l2_linear": 1.0},
    {"l2_linear": 3.0},
    {"n_factors": 4},
    {"n_factors": 8},
    {"n_factors": 16},
    {"n_factors": 32},
    {"init_scale": 0.03},
    {"init_scale": 0.3},
    dict(PRESETS["libffm"]),
)


def validation_loss(data: PreparedData, model: str, settings: Settings) -> float | None:
    """At the best epoch, with seed 0; None where training diverges."""
    try:
        scores = fit(data, model=model, settings={"seed": 0, **settings}).metrics
    except DivergenceError:
        return None
    return scores[loss_name(scores)]


def lines(model: str, tables: dict[str, PreparedData], only: list[str] | None) -> None:
    """Print one model's table, line by line as they are done."""
    print(f"\n| {model} | {' | '.join(tables)} | mean change |\n|---|{'---|' * (len(tables) + 1)}")
    defaults: list[float | None] = []
    for settings in STUDY:
        if not _says_something(model, settings, only):
            continue
        losses = [validation_loss(table, model, settings) for table in tables.values()]
        defaults = defaults or losses
        changes = [loss / before - 1 for loss, before in zip(losses, defaults, strict=True) if loss and before]
        cells = ["diverged" if loss is None else f"{loss:.4f}" for loss in losses]
        print(f"| {_name(settings)} | {' | '.join(cells)} | {100 * mean(changes):+.2f} % |", flush=True)


def _says_something(model: str, settings: Settings, only: list[str] | None) -> bool:
    """Whether the model has these settings, they are not its defaults, and they were asked for."""
    if not settings:
        return True
    defaults = MODELS[model].settings_type().to_dict()
    is_known, is_default = settings.keys() <= defaults.keys(), settings.items() <= defaults.items()
    return is_known and not is_default and (not only or bool(settings.keys() & set(only)))


def _name(settings: Settings) -> str:
    if settings == PRESETS["libffm"]:
        return "libffm's own model"
    return ", ".join(f"`{name}={value}`" for name, value in settings.items()) or "defaults"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=["fm", "ffm"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="*", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--only", nargs="*", help="settings to change; all if absent")
    arguments = parser.parse_args()
    tables = {}
    for name in arguments.sets:
        problem = PROBLEMS[name]
        train, valid, _ = problem.read(arguments.data)
        tables[name] = encoded(problem, train, valid)
    for model in arguments.models:
        lines(model, tables, arguments.only)


if __name__ == "__main__":
    main()
