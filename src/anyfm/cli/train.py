"""``anyfm train``."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.data_summary import leave_warnings_to_summary, show_data
from anyfm.cli.errors import interrupted
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
from anyfm.cli.output import Output, metric_facts, seconds_text, settings_text
from anyfm.core.errors import ArtifactError, SettingError
from anyfm.core.settings import AUTO
from anyfm.models import MODELS

if TYPE_CHECKING:
    from anyfm.model import Model
    from anyfm.pipeline import PreparedData

_SHOWN_BYTES = 10**9
"""The memory of training is shown from this size on."""


@with_options(*general_options(), *model_options())
def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A CSV, TSV, Parquet, Arrow, JSONL, libsvm or libffm file, or a glob.")
    ],
    out: Annotated[Path, option("Output", "DIR", "The directory to save the model in.")],
    model: Annotated[
        str | None,
        option(
            "Model",
            "|".join([*MODELS, AUTO]),
            "The model to train; auto: all in turn, within --budget, of which the best on the validation rows is kept. "
            "Default: fm.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        option("Model", "NAME", "Named settings. libffm: FFM as the program libffm trains it, with its defaults."),
    ] = None,
    assignments: Assignments = None,
    config: ConfigFile = None,
    checkpoint: Annotated[
        Path | None, option("Output", "DIR", "Save the state of training there after every epoch.")
    ] = None,
    resume: Annotated[bool, option("Output", None, "Continue from the checkpoint.", "--resume")] = False,
    log_json: Annotated[Path | None, option("Output", "FILE", "Write one line of JSON per epoch there.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Train a model on a table, and save it.

    The kind of every column is inferred and shown with the reason; --field overrides it. Each value of a column is a
    feature, with one weight and, in all models but linear, vectors of factors. By default a tenth of the rows is held
    out at random to choose the best epoch (--valid, --valid-by, --valid-fraction). A libsvm or libffm file needs no
    --target: each line starts with the label. `anyfm models` lists the values that a setting can have.

    Examples:
    anyfm train clicks.parquet --target click --out model
    anyfm train clicks.csv --target click --model ffm --n-factors 8 --out model
    anyfm train ratings.csv --target stars --valid-by day --out model
    anyfm train tr.ffm --model ffm --valid va.ffm --out model
    anyfm train clicks.parquet --target click --model auto --budget 5m --out model
    """
    from anyfm import pipeline
    from anyfm.artifact import check_can_save
    from anyfm.model import text_format_of
    from anyfm.training.callbacks import Callback, EpochLog, ProgressBar

    leave_warnings_to_summary()
    settings = merged_settings(settings, assignments, config)
    in_file = {name: settings.pop(name, None) for name in ("model", "preset")}
    preset = preset or in_file["preset"]
    of_preset = next((name for name, each in MODELS.items() if preset in each.presets), "fm")
    model = model or in_file["model"] or of_preset
    refuse_settings_of_other_models(model, settings)
    check_can_save(out)  # before training instead of after it
    is_auto = settings.get("format", "auto") == "auto"
    if not settings.get("target") and is_auto and text_format_of(data) is None:
        raise SettingError("--target is required for a table (for libsvm or libffm text, give its --format)")
    output = Output(as_json=as_json, quiet=quiet)
    callbacks: list[Callback] = [] if quiet else [ProgressBar()]
    if log_json is not None:
        callbacks.append(EpochLog(log_json))
    prepared: list[PreparedData] = []

    def on_data(found: PreparedData) -> None:
        prepared.append(found)
        own = {each.name: settings[each.name] for each in model_options() if each.name in settings}
        sizes = {"n_features": found.n_features, "n_fields": found.n_fields}
        memory = None
        if model in MODELS:
            memory = pipeline.memory_text(model, own, preset=preset, **sizes, at_least=_SHOWN_BYTES)
        show_data(output, found, memory=memory)

    trained = pipeline.train(
        data,
        model=model,
        preset=preset,
        on_data=on_data,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
        **settings,
    )
    _save(trained, out)
    _show_result(output, trained, out)
    output.finish(_result(trained, prepared[0], out))
    if trained.history.stop_reason == "interrupted":
        sys.stderr.write(
            f"interrupted: the model is that of epoch {trained.history.best_epoch}, the best finished one\n"
        )
        raise interrupted()


def _save(model: Model, out: Path) -> None:
    """Save the model, or if that fails save it elsewhere and say where: it may have taken hours.

    Raises
    ------
    ArtifactError
        It could not be saved in `out`.
    """
    try:
        model.save(out)
    except ArtifactError as error:
        for place in (Path.cwd(), Path(tempfile.gettempdir())):
            rescued = place / f"{out.name or 'model'}-{secrets.token_hex(4)}"
            try:
                model.save(rescued)
            except ArtifactError:
                continue
            raise ArtifactError(f"{error} The model is saved in {rescued} instead.") from error
        raise


def _show_result(output: Output, model: Model, out: Path) -> None:
    from anyfm.training.history import STOP_REASONS

    history, seconds = model.history, model.seconds
    times = [f"{name} {seconds_text(seconds[name])}" for name in ("read", "encode", "search", "train") if seconds[name]]
    models = model.artifact.training.get("models", ())
    if models:
        metric = models[0]["metric"]
        rows = [
            (
                each["model"],
                "" if each["value"] is None else f"{each['value']:.5f}",
                str(each["n_epochs"]),
                each["outcome"],
            )
            for each in models
        ]
        title = f"validation {metric.replace('_', ' ')}"
        output.table(("model", title, "epochs", "outcome"), rows, numbers=(title, "epochs"))
    output.facts(
        [
            ("model", model.name),
            ("settings", settings_text(model.settings.to_dict(), type(model.settings))),
            (
                "best epoch",
                f"{history.best_epoch} of {history.n_epochs} ({STOP_REASONS[history.stop_reason or 'epochs']})",
            ),
            *metric_facts(model.metrics, rows="validation "),
            *_search_facts(model),
            ("time", f"{', '.join(times)} ({model.rows_per_second:,.0f} rows/s)"),
            ("saved to", str(out)),
        ]
    )


def _search_facts(model: Model) -> list[tuple[str, str]]:
    """What the search for settings tried, the best first."""
    trials = sorted(model.artifact.training.get("search", ()), key=lambda trial: trial["loss"] or float("inf"))
    facts: list[tuple[str, str]] = []
    for trial in trials:
        settings = settings_text(trial["settings"], type(model.settings)) if trial["settings"] else "defaults"
        loss = "diverged" if trial["loss"] is None else f"loss {trial['loss']:.5f}"
        chosen = ", chosen" if trial["chosen"] else ""
        facts.append(("search" if not facts else "", f"{settings}: {loss}, {trial['n_epochs']} epochs{chosen}"))
    return facts


def _result(model: Model, data: PreparedData, out: Path) -> dict[str, Any]:
    """The result for JSON."""
    history, schema = model.history, data.schema
    return {
        "model": model.name,
        "out": str(out),
        "task": data.task.name,
        "format": data.format,
        "negative_label": data.negative_label,
        "positive_label": data.positive_label,
        "warnings": list(data.warnings),
        "rows": data.train.n_rows,
        "valid_rows": 0 if data.valid is None else data.valid.n_rows,
        "features": data.n_features,
        "fields": data.n_fields,
        "ignored": [] if schema is None else [item.name for item in schema.fields if item.kind == "ignore"],
        "encoding": {name: report.to_dict() for name, report in data.reports.items()},
        "epochs": history.n_epochs,
        "best_epoch": history.best_epoch,
        "stop_reason": history.stop_reason,
        "seconds": model.seconds,
        "rows_per_second": model.rows_per_second,
        "valid": model.metrics,
        "models": model.artifact.training.get("models", []),
    }
