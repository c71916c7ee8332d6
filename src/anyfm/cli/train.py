"""``anyfm train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.options import (
    AsJson,
    all_settings,
    general_settings,
    model_settings,
    refuse_settings_of_other_models,
    with_settings,
)
from anyfm.models import MODELS

if TYPE_CHECKING:
    from anyfm.model import Model
    from anyfm.pipeline import PreparedData

_STOPPED = {"patience": "early stopping", "epochs": "reached the epochs limit", "interrupted": "interrupted"}


@with_settings([*general_settings(), *model_settings()])
def train(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A CSV, TSV, Parquet, Arrow, JSONL, libsvm or libffm file, or a glob."),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="|".join(MODELS), help="The model to train. Default: fm.", rich_help_panel="Model"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Named settings. libffm: the model of the program libffm, with its defaults (an ffm).",
            rich_help_panel="Model",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting by name, for scripts.", rich_help_panel="Model"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Read settings from a file, such as n_factors = 8; the command line overrides them.",
            rich_help_panel="Model",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the state of training after every epoch.", rich_help_panel="Output"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint.", rich_help_panel="Output")
    ] = False,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory to save the model in.", rich_help_panel="Output")
    ],
    as_json: AsJson = False,
    settings: dict[str, Any],
) -> None:
    """Train a model on a table, and save it.

    The kind of every column is inferred and shown with the reason; --field overrides it. A tenth of the rows is held
    out at random to choose the best epoch, unless --valid, --valid-by or --valid-fraction says otherwise. A libsvm or
    libffm file needs no --target: its rows start with the label. `anyfm models` shows what values each setting takes.

    Examples:
    anyfm train clicks.parquet --target click --out model
    anyfm train clicks.csv --target click --model ffm --n-factors 8 --out model
    anyfm train ratings.csv --target stars --valid-by day --out model
    anyfm train tr.ffm --model ffm --valid va.ffm --out model
    """
    from anyfm.artifact import refuse_to_replace
    from anyfm.cli.data_summary import show_data
    from anyfm.cli.output import Output
    from anyfm.pipeline import PRESETS
    from anyfm.pipeline import train as trained
    from anyfm.training.callbacks import ProgressBar

    settings = all_settings(settings, assignments, config)
    preset = preset or settings.pop("preset", None)
    model = model or settings.pop("model", None) or _model_of_preset(preset, PRESETS)
    settings.pop("model", None)
    refuse_settings_of_other_models(model, settings)
    refuse_to_replace(out, overwrite=True)  # before training instead of after it
    output = Output(as_json=as_json)
    prepared: list[PreparedData] = []

    def on_data(found: PreparedData) -> None:
        prepared.append(found)
        show_data(output, found, memory=_memory(found, model, preset, settings))

    result = trained(
        data,
        model=model,
        preset=preset,
        on_data=on_data,
        callbacks=[ProgressBar()],
        checkpoint=checkpoint,
        resume=resume,
        **settings,
    )
    result.save(out)
    _show(output, result, prepared[0], out)


def _model_of_preset(preset: str | None, presets: Any) -> str:
    """The model to train where none is named: that of the preset, or fm."""
    return next((model for model, named in presets.items() if preset in named), "fm")


def _memory(data: PreparedData, model: str, preset: str | None, settings: dict[str, Any]) -> str | None:
    from anyfm.pipeline import memory_text

    names = {setting.name for setting in model_settings()}
    own = {name: value for name, value in settings.items() if name in names}
    return memory_text(model, own, n_features=data.n_features, n_fields=data.n_fields, preset=preset)


def _show(output: Any, model: Model, data: PreparedData, out: Path) -> None:
    from anyfm.cli.data_summary import report_dict
    from anyfm.cli.output import metric_facts, seconds_text, settings_text

    history, seconds = model.history, model.seconds
    rows_per_second = data.train.n_rows * history.n_epochs / max(seconds["train"], 1e-9)
    times = [f"{name} {seconds_text(seconds[name])}" for name in ("read", "encode", "train") if seconds[name]]
    output.facts(
        [
            ("model", model.name),
            ("settings", settings_text(model.settings.to_dict())),
            ("best epoch", f"{history.best_epoch} of {history.n_epochs} ({_STOPPED[history.stop_reason]})"),
            *metric_facts(model.metrics),
            ("time", f"{', '.join(times)} ({rows_per_second:,.0f} rows/s)"),
            ("saved to", str(out)),
        ]
    )
    table = {} if data.schema is None else {"ignored": [f.name for f in data.schema.fields if f.kind == "ignore"]}
    text = {} if data.schema is not None else {"negative_label": data.negative_label}
    output.finish(
        {
            "model": model.name,
            "out": str(out),
            "task": data.task.name,
            "format": data.format,
            "rows": data.train.n_rows,
            "valid_rows": 0 if data.valid is None else data.valid.n_rows,
            "features": data.n_features,
            "fields": data.n_fields,
            **table,
            **text,
            "encoding": {name: report_dict(report) for name, report in data.reports.items()},
            "epochs": history.n_epochs,
            "best_epoch": history.best_epoch,
            "stop_reason": history.stop_reason,
            "seconds": seconds,
            "rows_per_second": rows_per_second,
            "valid": model.metrics,
        }
    )
