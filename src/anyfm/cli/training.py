"""``anyfm train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.text import FORMAT_HELP
from anyfm.core.errors import SettingError, got, located

if TYPE_CHECKING:
    from anyfm.cli.showing import Output
    from anyfm.workflow import Table, TextTable, TrainedModel, Validation

_FILE_KEYS = (
    "target",
    "model",
    "preset",
    "format",
    "task",
    "positive",
    "min_count",
    "weight",
    "seed",
    "threads",
    "engine",
    "device",
    "valid",
    "valid_by",
    "valid_fraction",
)


_TRAINING_SETTINGS = {"seed": "seed", "threads": "n_threads", "engine": "engine", "device": "device"}
_PARTS = {"train": "training", "valid": "validation"}


def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="CSV, TSV, Parquet, Arrow, JSONL, libsvm or libffm file, or a glob.")
    ],
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, fm if not given; `anyfm models` lists them.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Named settings: libffm (of ffm) is the program libffm's model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The directory to save the model in.")] = None,
    valid: Annotated[str | None, typer.Option(help="A table of validation rows.")] = None,
    valid_fraction: Annotated[
        float | None, typer.Option(help="Share of the rows held out for validation, 0.1 if not given.")
    ] = None,
    valid_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Hold out the last rows in the order of this column.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="auto, binary or regression.")] = None,
    positive: Annotated[str | None, typer.Option(metavar="VALUE", help="The class that counts as 1.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as n_factors=8.")
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME=KIND", help="The kind of a field, such as zip=categorical."),
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(help="Values seen less often count as unseen, 2 if not given.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Options from a file; the command line overrules them.")
    ] = None,
    weight: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of row weights.")] = None,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line of the text file is data.")] = False,
    names: Annotated[str | None, typer.Option(help="Column names, separated by commas.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns in a text file; \\t for a tab.")] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; 0, as if not given, means all cores.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, native or torch; auto if not given.")] = None,
    device: Annotated[str | None, typer.Option(help="Where torch trains: cpu, cuda, cuda:1; cpu if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, start and shuffling, 0 if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Train a model on a table, and save it.

    The kind of every column is inferred and shown with its reason; --field overrules it. Without --valid,
    --valid-by or --valid-fraction, a tenth of the rows is held out at random to choose the best epoch.

    A libsvm (.svm) or libffm (.ffm) file needs no --target: its rows start with the label.
    """
    from anyfm.artifact import save_artifact
    from anyfm.cli.showing import Output
    from anyfm.cli.text import is_text

    given = {
        "target": target,
        "model": model,
        "preset": preset,
        "format": format,
        "task": task,
        "positive": positive,
        "min_count": min_count,
        "weight": weight,
        "seed": seed,
        "threads": threads,
        "engine": engine,
        "device": device,
        "valid": valid,
        "valid_by": valid_by,
        "valid_fraction": valid_fraction,
    }
    options = _options(config, given, settings=_pairs("--set", settings), fields=_pairs("--field", fields))
    reading = read_options(no_header=no_header, names=names, separator=separator)
    text = is_text(data, options["format"])
    if not text and options["target"] is None:
        raise SettingError("--target must name the column to predict")
    if out is None:
        raise SettingError("--out must name the directory to save the model in")
    _check_out(out)
    output = Output(as_json=as_json)
    trained = (_trained_text if text else _trained_table)(output, data, options, reading)
    save_artifact(trained.artifact, out)
    _show_result(output, trained, out)
    output.finish(_result(trained, out))


def _trained_table(output: Output, data: str, options: dict[str, Any], reading: dict[str, Any]) -> TrainedModel:
    from anyfm.training.callbacks import ProgressBar
    from anyfm.workflow import MIN_COUNT, train_table

    return train_table(
        data,
        options["target"],
        model=options["model"],
        preset=options["preset"],
        settings=options["settings"],
        validation=_validation(options),
        task=options["task"] or "auto",
        positive=options["positive"],
        min_count=MIN_COUNT if options["min_count"] is None else options["min_count"],
        weight=options["weight"],
        fields=options["fields"],
        read_options=reading,
        on_table=lambda table: _show_table(output, table, options),
        callbacks=[ProgressBar()],
    )


def _trained_text(output: Output, data: str, options: dict[str, Any], reading: dict[str, Any]) -> TrainedModel:
    from anyfm.cli.text import refuse_table_options
    from anyfm.training.callbacks import ProgressBar
    from anyfm.workflow import train_text

    tables_alone = ("target", "positive", "min_count", "weight", "valid_by", "fields")
    refuse_table_options({name: options[name] for name in tables_alone}, reading)
    return train_text(
        data,
        format=options["format"] or "auto",
        model=options["model"],
        preset=options["preset"],
        settings=options["settings"],
        validation=_validation(options),
        task=options["task"] or "auto",
        on_table=lambda table: _show_text(output, table, options),
        callbacks=[ProgressBar()],
    )


def read_options(*, no_header: bool, names: str | None, separator: str | None) -> dict[str, Any]:
    """The arguments of `read_table` that were given."""
    options: dict[str, Any] = {}
    if no_header:
        options["header"] = False
    if names is not None:
        options["names"] = [name.strip() for name in names.split(",")]
    if separator is not None:
        options["separator"] = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
    return options


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SettingError(got(f"{option} must be NAME=VALUE", **{option.strip("-"): text}))
        pairs[name.strip()] = value.strip()
    return pairs


def _options(
    config: Path | None, given: dict[str, Any], *, settings: dict[str, str], fields: dict[str, str]
) -> dict[str, Any]:
    """The options of the file, overruled by those of the command line."""
    from_file = {} if config is None else _read_config(config)
    options = {key: from_file.get(key) for key in _FILE_KEYS}
    options |= {key: value for key, value in given.items() if value is not None}
    merged = {**from_file.get("settings", {}), **settings}
    for key, setting in _TRAINING_SETTINGS.items():
        if options[key] is not None:
            merged[setting] = options[key]
    if options["model"] is None:
        options["model"] = _model_of_preset(options["preset"])
    return {**options, "settings": merged, "fields": {**from_file.get("fields", {}), **fields}}


def _model_of_preset(preset: str | None) -> str:
    """The model to train where none is named: that of the preset, or fm."""
    from anyfm.workflow import PRESETS

    return next((model for model, presets in PRESETS.items() if preset in presets), "fm")


def _read_config(path: Path) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        options: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(located(f"the file is not TOML: {error}", file=str(path))) from None
    known = (*_FILE_KEYS, "settings", "fields")
    for key, value in options.items():
        if key not in known:
            raise SettingError(located(f"an option must be one of {', '.join(known)}, got {key}", file=str(path)))
        if key in ("settings", "fields") and not isinstance(value, dict):
            raise SettingError(located(f"{key} must be a table: [{key}]", file=str(path)))
    return options


def _validation(options: dict[str, Any]) -> Validation:
    from anyfm.workflow import DEFAULT_FRACTION, Validation

    fraction = options["valid_fraction"]
    if options["valid"] is not None and fraction is not None:
        raise SettingError("validation rows must come from --valid or --valid-fraction, got both were given")
    return Validation(
        source=options["valid"],
        by=options["valid_by"],
        fraction=DEFAULT_FRACTION if fraction is None else fraction,
    )


def _check_out(out: Path) -> None:
    """Refuse before training what saving would refuse after it."""
    from anyfm.artifact import refuse_to_replace

    refuse_to_replace(out, overwrite=True)


def _show_table(output: Output, table: Table, options: dict[str, Any]) -> None:
    from anyfm.cli.schema_view import report_lines, schema_table, target_text

    output.notes.print(schema_table(table.schema, table.encoder))
    output.notes.print(f"target      {target_text(table.schema)}", markup=False)
    _show_size(output, table, options)
    for name, report in table.reports.items():
        for line in report_lines(_PARTS[name], report):
            output.notes.print(line, markup=False)


def _show_text(output: Output, table: TextTable, options: dict[str, Any]) -> None:
    from anyfm.cli.text import label_text, report_lines

    output.notes.print(f"label       {label_text(table)}", markup=False)
    _show_size(output, table, options)
    for name, report in table.reports.items():
        for line in report_lines(_PARTS[name], report):
            output.notes.print(line, markup=False)


def _show_size(output: Output, table: Table | TextTable, options: dict[str, Any]) -> None:
    from anyfm.workflow import training_memory, with_preset

    valid = "none" if table.valid is None else f"{table.valid.n_rows:,}"
    output.notes.print(f"rows        {table.train.n_rows:,} for training, {valid} for validation")
    output.notes.print(f"features    {table.n_features:,} in {table.n_fields} fields")
    model = options["model"]
    settings = with_preset(model, options["preset"], options["settings"])
    memory = training_memory(model, settings, n_features=table.n_features, n_fields=table.n_fields)
    if memory is not None:
        output.notes.print(f"memory      {memory}", markup=False)


def _show_result(output: Output, trained: TrainedModel, out: Path) -> None:
    from anyfm.cli.showing import metric_facts, seconds_text, settings_text
    from anyfm.training.history import STOP_REASONS

    history, seconds = trained.history, trained.seconds
    why = STOP_REASONS.get(history.stop_reason or "", "")
    output.facts(
        [
            ("model", trained.artifact.model.name),
            ("settings", settings_text(trained.artifact.model.settings.to_dict())),
            ("best epoch", f"{history.best_epoch} of {history.n_epochs} ({why})"),
            *metric_facts(trained.metrics),
            (
                "time",
                f"read {seconds_text(seconds['read'])}, "
                + (f"encode {seconds_text(seconds['encode'])}, " if seconds["encode"] else "")
                + f"train {seconds_text(seconds['train'])} ({trained.rows_per_second:,.0f} rows/s)",
            ),
            ("saved to", str(out)),
        ]
    )


def _result(trained: TrainedModel, out: Path) -> dict[str, Any]:
    table, history = trained.table, trained.history
    return {
        "model": trained.artifact.model.name,
        "out": str(out),
        "task": table.task,
        "rows": table.train.n_rows,
        "valid_rows": 0 if table.valid is None else table.valid.n_rows,
        "features": table.n_features,
        "fields": table.n_fields,
        **_input_facts(table),
        "epochs": history.n_epochs,
        "best_epoch": history.best_epoch,
        "stop_reason": history.stop_reason,
        "seconds": trained.seconds,
        "rows_per_second": trained.rows_per_second,
        "valid": trained.metrics,
    }


def _input_facts(table: Table | TextTable) -> dict[str, Any]:
    """What JSON says of the way from the file to the rows."""
    from anyfm.cli.schema_view import report_dict
    from anyfm.workflow import TextTable

    if isinstance(table, TextTable):
        return {"format": table.format, "negative_label": table.negative_label, "encoding": table.reports}
    return {
        "ignored": [item.name for item in table.schema.fields if item.kind == "ignore"],
        "encoding": {name: report_dict(report) for name, report in table.reports.items()},
    }
