"""``anyfm tune``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.data_summary import leave_warnings_to_summary, show_data
from anyfm.cli.options import (
    AsJson,
    Assignments,
    ConfigFile,
    Quiet,
    general_options,
    merged_settings,
    model_options,
    option,
    refuse_settings_of_other_models,
    with_options,
)
from anyfm.cli.output import Output, metric_facts, seconds_text
from anyfm.models import MODELS

if TYPE_CHECKING:
    from anyfm.pipeline import PreparedData
    from anyfm.tuning import TunedTrial

_N_SHOWN = 20


@with_options(*general_options(), *model_options())
def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file as for anyfm train.")],
    out: Annotated[Path, option("Output", "DIR", "The directory to save the best model in.")],
    model: Annotated[str | None, option("Model", "|".join(MODELS), "The model to tune. Default: fm.")] = None,
    trials: Annotated[
        int | None,
        option("Training", "INTEGER", "Number of trials, earlier ones included. Default: as many as --budget allows."),
    ] = None,
    storage: Annotated[
        Path | None,
        option("Output", "FILE", "The SQLite file that trials are recorded in. Default: DIR with .tune.db appended."),
    ] = None,
    assignments: Assignments = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Search the settings of a model on validation rows, and save the best model.

    Settings that are given are not searched. Trials are recorded: the same command continues an earlier search, also
    one that was interrupted. It needs Optuna: pip install "anyfm[tune]".

    Examples:
    anyfm tune clicks.parquet --target click --budget 5m --out model
    anyfm tune clicks.parquet --target click --model ffm --trials 50 --out model
    """
    from anyfm import tuning

    leave_warnings_to_summary()
    settings = merged_settings(settings, assignments, config)
    model = model or settings.pop("model", None) or "fm"
    refuse_settings_of_other_models(model, settings)
    if trials is not None:
        settings["trials"] = trials
    output = Output(as_json=as_json, quiet=quiet)

    def on_data(found: PreparedData) -> None:
        show_data(output, found, memory=None)

    def on_trial(trial: TunedTrial) -> None:
        value = trial.outcome if trial.value is None else f"{trial.value:.5f}"
        output.facts([(f"trial {trial.number}", f"{value}, {trial.n_epochs} epochs")], notes=True)

    found = tuning.tune(data, out=out, model=model, storage=storage, on_data=on_data, on_trial=on_trial, **settings)
    best_first = tuning.sorted_trials(found.trials, found.metric)
    title = found.metric.replace("_", " ")
    rows = [
        (
            str(trial.number),
            trial.outcome if trial.value is None else f"{trial.value:.5f}",
            str(trial.n_epochs),
            seconds_text(trial.seconds),
            ", ".join(
                f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
                for name, value in trial.settings.items()
            ),
        )
        for trial in best_first[:_N_SHOWN]
    ]
    output.table(("trial", title, "epochs", "time", "settings"), rows, numbers=("trial", "epochs", "time"))
    if len(best_first) > _N_SHOWN:
        output.text(f"The best {_N_SHOWN} of {len(best_first)} trials.")
    output.facts(
        [
            ("best", f"trial {found.best.number}"),
            *metric_facts(found.model.metrics, rows="validation "),
            ("saved to", str(out)),
        ]
    )
    output.finish(
        {
            "model": found.model.name,
            "out": str(out),
            "metric": found.metric,
            "best": asdict(found.best),
            "trials": [asdict(trial) for trial in found.trials],
            "valid": found.model.metrics,
        }
    )
