"""The whole way from a raw table, or a text file of ids, to a trained model, in one call.

The command line and the demo are faces of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import SettingError, got
from anyfm.core.rows import Rows
from anyfm.core.settings import NOT_RECORDED, TrainingSettings, parse_settings
from anyfm.data.text.reader import Source, source_format
from anyfm.engines.registry import make_engine
from anyfm.models import MODELS
from anyfm.prepare import DEFAULT_FRACTION, MIN_COUNT, Table, TextTable, Validation, prepare_table, prepare_text
from anyfm.training.callbacks import Callback
from anyfm.training.history import History
from anyfm.training.loop import evaluate, fit

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder

__all__ = [
    "DEFAULT_FRACTION",
    "MIN_COUNT",
    "PRESETS",
    "Table",
    "TextTable",
    "TrainedModel",
    "Validation",
    "make_engine",
    "model_settings",
    "prepare_table",
    "prepare_text",
    "train_encoded",
    "train_rows",
    "train_table",
    "train_text",
    "training_memory",
    "with_preset",
]

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {name: kind.presets for name, kind in MODELS.items()}
"""Named settings by model."""

_TIMES = ("seconds", "rows_per_second", "valid_seconds")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModel:
    """A trained model and how its training went.

    Parameters
    ----------
    artifact : Artifact
        To save, or to score with: ``Predictor(artifact)``.
    history : History
    metrics : dict of str to float
        On the validation rows, at the best epoch; empty without such rows.
    table : Table or TextTable
    seconds : dict of str to float
        "read", "encode", "train" (the epochs without their validation) and "total".
    """

    artifact: Artifact
    history: History
    metrics: dict[str, float]
    table: Table | TextTable
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Training rows per second of training, reading and validation not counted."""
        return self.table.train.n_rows * self.history.n_epochs / max(self.seconds["train"], 1e-9)


def train_table(
    source: Any,
    target: str,
    *,
    model: str = "fm",
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    validation: Validation | None = None,
    task: str = "auto",
    positive: Any = None,
    weight: str | None = None,
    fields: Mapping[str, Any] | None = None,
    min_count: int = MIN_COUNT,
    read_options: Mapping[str, Any] | None = None,
    on_table: Callable[[Table], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainedModel:
    """Read a table, infer its schema, encode it, train a model and measure it on held-out rows.

    Parameters
    ----------
    source : path, data frame or mapping of column name to array
        Whatever `anyfm.data.readers.read_table` reads.
    target : str
        The column to predict.
    model : str
        One of `anyfm.models.MODELS`.
    preset : str, optional
        One of the model's `PRESETS`, such as "libffm" of the model "ffm".
    settings : mapping, optional
        Settings of the model and of `TrainingSettings` by name; text is read as on the command line. They overrule the
        preset.
    validation : Validation, optional
        By default a tenth of the rows at random.
    task : {"auto", "binary", "regression"}
    positive : value, optional
        The class of a binary target that counts as 1, where the inferred one will not do.
    weight : str, optional
        The column of row weights.
    fields : mapping of str to str or dict, optional
        Kinds of fields, or their settings, where the inferred ones will not do.
    min_count : int
        Values seen less often in training share the unseen feature.
    read_options : mapping, optional
        Further arguments of `read_table`: header, names, separator, format.
    on_table : callable, optional
        Called with the encoded table before training begins.
    callbacks : sequence of Callback

    Raises
    ------
    SettingError, InputError, DivergenceError
        A setting breaks its rule, the data cannot be used, or training diverged.
    """
    began = time.perf_counter()
    settings = with_preset(model, preset, settings)
    model_settings(model, settings)  # wrong settings are told before a large table is read
    seed = _training_config(model, settings).seed
    table = prepare_table(
        source,
        target,
        validation=validation,
        task=task,
        positive=positive,
        weight=weight,
        fields=fields,
        min_count=min_count,
        read_options=read_options,
        seed=seed,
    )
    if on_table is not None:
        on_table(table)
    trained = train_encoded(table, model=model, settings=settings, callbacks=callbacks)
    return replace(trained, seconds={**trained.seconds, "total": time.perf_counter() - began})


def train_text(
    source: Source,
    *,
    format: str = "auto",
    model: str = "fm",
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    validation: Validation | None = None,
    task: str = "auto",
    on_table: Callable[[TextTable], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainedModel:
    """Train a model on libsvm or libffm text files, whose ids were made elsewhere.

    The model has no encoder: it scores text files of the same ids (`Predictor.read_text`), and rows.

    Parameters
    ----------
    source : path, glob or list of paths
    format : {"auto", "libsvm", "libffm"}
        "auto": by the suffix.
    model, preset, settings, callbacks
        As for `train_table`.
    validation : Validation, optional
        By default a tenth of the rows at random. A file of its own is read in the sizes of the training file.
    task : {"auto", "binary", "regression"}
        "auto" is binary if the labels are 0 and 1, or -1 and 1.
    on_table : callable, optional
        Called with the rows before training begins.

    Raises
    ------
    SettingError, InputError, DivergenceError
        A setting breaks its rule, a file cannot be read (the text names file, line and column) or lacks the fields
        that the model needs, or training diverged.
    """
    began = time.perf_counter()
    settings = with_preset(model, preset, settings)
    model_settings(model, settings)
    _refuse_without_fields(model, source_format(source, format))
    seed = _training_config(model, settings).seed
    table = prepare_text(source, format=format, validation=validation, task=task, seed=seed)
    if on_table is not None:
        on_table(table)
    trained = train_encoded(table, model=model, settings=settings, callbacks=callbacks)
    return replace(trained, seconds={**trained.seconds, "total": time.perf_counter() - began})


def train_encoded(
    table: Table | TextTable,
    *,
    model: str = "fm",
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainedModel:
    """Train one model on a table that is encoded already, or on text that is read; see `train_table`."""
    began = time.perf_counter()
    record = {}
    if isinstance(table, TextTable):
        _refuse_without_fields(model, table.format)
        record = {"format": table.format, "negative_label": table.negative_label}
    artifact, history = train_rows(
        table.train,
        table.valid,
        model=model,
        settings={**with_preset(model, preset, settings), "task": table.task},
        n_features=table.n_features,
        n_fields=table.n_fields,
        encoder=table.encoder,
        record=record,
        callbacks=callbacks,
    )
    seconds = {
        **table.seconds,
        "train": float(sum(record["seconds"] for record in history.records)),
        "total": sum(table.seconds.values()) + time.perf_counter() - began,
    }
    metrics = dict(artifact.metrics["valid"])
    return TrainedModel(artifact=artifact, history=history, metrics=metrics, table=table, seconds=seconds)


def train_rows(
    train: Rows,
    valid: Rows | None,
    *,
    model: str,
    settings: Mapping[str, Any],
    n_features: int,
    n_fields: int,
    encoder: Encoder | None = None,
    record: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Artifact, History]:
    """Train one model on rows with targets; see `train_table`.

    `encoder` is what encoded the rows, if it was ours; `record` what else the artifact shall say of its training.
    """
    config = _training_config(model, settings)
    member = MODELS[_known_model(model)](model_settings(model, settings))
    engine = make_engine(
        member,
        n_features=n_features,
        n_fields=n_fields,
        n_threads=config.n_threads,
        engine=config.engine,
        device=config.device,
    )
    history = fit(engine, train, valid, config, callbacks=callbacks)
    artifact = Artifact(
        model=engine.model,
        parameters=engine.parameters(),
        n_features=n_features,
        n_fields=n_fields,
        encoder=encoder,
        training={**_training_record(train, valid, config), **(record or {})},
        metrics={"valid": {} if valid is None else evaluate(engine, valid)},
        history=_without_times(history),
    )
    return artifact, history


def training_memory(model: str, settings: Mapping[str, Any], *, n_features: int, n_fields: int) -> str | None:
    """In words, the memory that training an FFM takes, computed before any is taken; None for the other models."""
    from anyfm.engines.memory import memory_text

    member = MODELS[_known_model(model)](model_settings(model, settings)).resolve(n_fields)
    return memory_text(member, n_features=n_features, n_fields=n_fields, training=True)


def with_preset(model: str, preset: str | None, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """`settings` over those of the preset, if one is named.

    Raises
    ------
    SettingError
        The model has no such preset.
    """
    if preset is None:
        return dict(settings or {})
    named = PRESETS.get(_known_model(model), {})
    if preset not in named:
        known = ", ".join(f"{name} (of {member})" for member, presets in PRESETS.items() for name in presets)
        raise SettingError(got(f"the preset must be one of {known}", preset=preset, model=model))
    return {**named[preset], **(settings or {})}


def _refuse_without_fields(model: str, format: str) -> None:
    if MODELS[_known_model(model)].needs_fields and format == "libsvm":
        raise SettingError(
            got(f"{model} needs the field of every entry, which only libffm files hold", format=format)
            + ". Give a libffm file (field:id:value), or train fm or linear."
        )


def model_settings(model: str, settings: Mapping[str, Any]) -> Any:
    """The model's settings object from a mixed mapping of model and training settings; text is parsed.

    Raises
    ------
    SettingError
        The model or a setting is unknown, or a setting breaks its rule.
    """
    kind = MODELS[_known_model(model)].settings_type
    return parse_settings(settings, kind, TrainingSettings, what=f"setting of {model}")[0]


def _training_config(model: str, settings: Mapping[str, Any]) -> TrainingSettings:
    training: TrainingSettings = parse_settings(settings, MODELS[_known_model(model)].settings_type, TrainingSettings)[
        1
    ]
    return training


def _known_model(model: str) -> str:
    if model not in MODELS:
        raise SettingError(got(f"the model must be one of {', '.join(MODELS)}", model=model))
    return model


def _training_record(train: Rows, valid: Rows | None, config: TrainingSettings) -> dict[str, Any]:
    """What the artifact says of its training. No times, paths or threads: equal trainings are equal bytes."""
    return {
        **{name: value for name, value in config.to_dict().items() if name not in NOT_RECORDED},
        "rows": train.n_rows,
        "valid_rows": 0 if valid is None else valid.n_rows,
        "mean_target": None if train.y is None else float(np.mean(train.y, dtype=np.float64)),
    }


def _without_times(history: History) -> dict[str, Any]:
    records = [{key: value for key, value in record.items() if key not in _TIMES} for record in history.records]
    return {**history.to_dict(), "records": records}
