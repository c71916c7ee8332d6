"""From a table, or a text file of ids, to a trained model.

`train` is the whole path. `prepare` and `fit` are its two halves: prepare once, fit any number of models.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.errors import DivergenceError, InputError, SettingError, got, located
from anyfm.core.forks import check_polars
from anyfm.core.rows import Rows
from anyfm.core.settings import (
    AUTO,
    NOT_RECORDED,
    BudgetSettings,
    DataSettings,
    Settings,
    TrainingSettings,
    ValidationSettings,
    parse_settings,
    unknown_name,
)
from anyfm.core.task import Task, get_task
from anyfm.data.text.reader import FORMATS as TEXT_FORMATS
from anyfm.data.text.reader import TextRows, check_digits, read_text
from anyfm.metrics import evaluate
from anyfm.model import Model, text_format_of
from anyfm.models import MODELS, ModelSettings
from anyfm.models.base import NormalizeSettings
from anyfm.optim.feature_scales import feature_scales, scaled_rows, unscaled
from anyfm.training import loop
from anyfm.training.split import split_by, split_folds, split_fraction, split_last_of_groups

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.readers import Frame
    from anyfm.data.schema import Field, Schema
    from anyfm.engines.base import Engine
    from anyfm.training.callbacks import Callback
    from anyfm.training.checkpoint import Checkpoint
    from anyfm.training.history import History
    from anyfm.training.search import Trial

_KEYWORDS = ("target", "model", "preset", "on_data", "callbacks", "checkpoint", "resume")
_TABLE_ONLY = (
    "target", "positive", "weight", "fields", "min_count", "n_bins", "header", "column_names", "separator", "encoding",
    "missing",
)  # fmt: skip
_MAX_NORMALIZED = 100.0
DEFAULT_BUDGET = 300.0
_TIMES = ("seconds", "rows_per_second", "valid_seconds")


@dataclass(frozen=True)
class TextReport:
    """What is worth knowing of a libsvm or libffm file.

    Parameters
    ----------
    unseen_entries : int
        Entries left out because their id or field is beyond those of training.
    blank_lines : int
        Lines without a row.
    shared_ids : int
        Ids that occur in several fields.
    """

    unseen_entries: int
    blank_lines: int
    shared_ids: int

    @classmethod
    def of(cls, text: TextRows) -> TextReport:
        return cls(text.n_unseen, text.n_blank_lines, text.n_shared_ids)

    def to_dict(self) -> dict[str, int]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedData:
    """Rows ready for training: read, split and encoded once, for any number of models.

    Parameters
    ----------
    train, valid : Rows
        `valid` is None where nothing is held out.
    n_features, n_fields : int
    task : Task
    format : str
        "table", "libsvm" or "libffm"; "matrix" for the sparse matrix of an estimator.
    encoder : Encoder, optional
        What encoded a table; None for text files of ids.
    negative_label, positive_label : number, optional
        Of text files of a binary task: the labels of the two classes in the file.
    label_reason : str
        Of text files: what the labels are.
    feature_ids : uint64 array of shape (n_features,), optional
        Of text files whose ids were numbered: the ids in the file.
    n_folds : int
        In how many folds the training rows are cross-validated, which chooses settings and epochs; 0: in none.
    reports : dict of str to EncodingReport or TextReport
        What was unseen and missing in "train" and "valid".
    seconds : dict of str to float
        How long "read" and "encode" took.
    classes : tuple of two values, optional
        The negative and the positive class, where they are neither those of the encoder nor labels.
    warnings : tuple of str
        Columns that may not be what they seem; see `anyfm.data.suspects`.
    held_out : str
        Which rows are those of validation, in words.
    times : dict of str to (str, str)
        The first and the last moment of the training rows in each column of dates and times.
    """

    train: Rows
    valid: Rows | None
    n_features: int
    n_fields: int
    task: Task
    format: str
    encoder: Encoder | None = None
    negative_label: float | None = None
    positive_label: float | None = None
    label_reason: str = ""
    feature_ids: NDArray[np.uint64] | None = None
    n_folds: int = 0
    reports: dict[str, EncodingReport | TextReport] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    classes: tuple[Any, Any] | None = None
    warnings: tuple[str, ...] = ()
    held_out: str = ""
    times: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[Any, Any]:
        """The negative and the positive class, as they are in the data."""
        if self.classes is not None:
            return self.classes
        if self.schema is not None and self.schema.target is not None and self.schema.target.classes is not None:
            negative, positive = self.schema.target.classes
            return negative, positive
        return self.negative_label, self.positive_label

    @property
    def schema(self) -> Schema | None:
        """What each column of the table is; None for text files of ids."""
        return None if self.encoder is None else self.encoder.schema


def train(
    source: Any,
    target: str | None = None,
    *,
    model: str = "fm",
    preset: str | None = None,
    on_data: Callable[[PreparedData], None] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Model:
    """Read a table, infer its schema, encode it, train a model and measure it on held-out rows.

    Parameters
    ----------
    source : path, data frame, or mapping of column name to array
        Whatever `anyfm.data.readers.read_table` reads, or libsvm or libffm text files (by suffix, or by
        ``format="libffm"``). Text files hold the label and ids assigned elsewhere, so they need no target.
    target : str, optional
        The column to predict.
    model : str
        One of `anyfm.models.MODELS`, or "auto": all of them are trained in turn, within `budget` (by default "5m"), and
        the best on the validation rows is returned. ``artifact.training["models"]`` lists what they reached. Settings
        that a model does not have are not used for it.
    preset : str, optional
        One of the model's presets, such as "libffm" of the model "ffm".
    on_data : callable, optional
        Called with the prepared data before training begins.
    callbacks : sequence of Callback
    checkpoint : path, optional
        A directory. After every epoch all that is needed to continue training is saved there.
    resume : bool
        Continue from the checkpoint there, if there is one.
    **settings
        Settings of the model (`MODELS[model].settings_type`), and of `TrainingSettings`, `ValidationSettings` and
        `DataSettings` in `anyfm.core.settings`, by name: ``train(clicks, "click", n_factors=8, valid_by="day")``.
        They override the preset. Text is parsed as on the command line.

    Returns
    -------
    Model

    Raises
    ------
    SettingError
        A setting is unknown (the message names the nearest known one) or breaks its rule.
    InputError
        The data cannot be used, or lack what the model needs.
    DivergenceError
        Training diverged; the message says which setting to lower.
    """
    from anyfm.engines.registry import check_engine

    began = time.perf_counter()
    _check_resume(checkpoint, resume)
    given = settings if target is None else {**settings, "target": target}
    if given.get("valid") is not None and "valid_fraction" in given:
        raise SettingError("validation rows come from valid or from valid_fraction, but both are given")
    if model == AUTO and (preset is not None or checkpoint is not None):
        raise SettingError(got("model='auto' takes no preset and no checkpoint", preset=preset, checkpoint=checkpoint))
    candidates = _candidates(given, text_format_of(source, given.get("format", "auto"))) if model == AUTO else [model]
    kinds = (DataSettings, ValidationSettings, TrainingSettings, BudgetSettings)
    parsed = {name: _parse(name, preset, _known(given, name, model), *kinds, also=_KEYWORDS) for name in candidates}
    _, data, validation, training, budget = parsed[candidates[0]]
    if budget.budget is not None and model != AUTO:
        raise SettingError(got("budget is for model='auto' and for tuning", model=model, budget=budget.budget))
    for name, (own, *_) in parsed.items():
        _check_fields(name, text_format_of(source, data.format))
        check_engine(MODELS[name](own), engine=training.engine, device=training.device)
    if training.monitor != "loss" and validation.valid is None:
        if validation.fraction == 0:
            raise SettingError(got("monitor needs validation rows", monitor=training.monitor, valid_fraction=0))
        validation = replace(validation, valid_fraction=validation.fraction)  # a cross-validation takes the loss
    prepared = prepare(source, data, validation, seed=training.seed)
    if on_data is not None:
        on_data(prepared)
    settings_of = {name: own for name, (own, *_) in parsed.items()}
    if model == AUTO:
        return _fit_best(prepared, settings_of, training, callbacks, budget.budget or DEFAULT_BUDGET, began=began)
    own = settings_of[model]
    return _fit(prepared, model, own, training, callbacks, checkpoint=checkpoint, resume=resume, began=began)


def fit(
    data: PreparedData,
    *,
    model: str = "fm",
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Model:
    """Train one model on data that are prepared already; see `train`.

    Parameters
    ----------
    settings : mapping, optional
        Settings of the model and of `TrainingSettings` by name. The task is that of the data.
    """
    began = time.perf_counter() - sum(data.seconds.values())
    _check_resume(checkpoint, resume)
    own, training = _parse(model, preset, settings or {}, TrainingSettings)
    return _fit(data, model, own, training, callbacks, checkpoint=checkpoint, resume=resume, began=began)


def prepare(
    source: Any,
    data: DataSettings | None = None,
    validation: ValidationSettings | None = None,
    *,
    seed: int = 0,
) -> PreparedData:
    """Read, split and encode training data. Nothing is learned from validation rows.

    Parameters
    ----------
    source
        As for `train`.
    data : DataSettings, optional
    validation : ValidationSettings, optional
    seed : int
        Seed of the random split.

    Raises
    ------
    SettingError
        A setting is for tables and `source` is text, or the target of a table is not named.
    InputError
        The data cannot be used; the message names file, row, column and value.
    """
    data = data if data is not None else DataSettings()
    validation = validation if validation is not None else ValidationSettings()
    format = text_format_of(source, data.format)
    if format is not None:
        return _prepare_text(source, format, data, validation, seed=seed)
    return _prepare_table(source, data, validation, seed=seed)


def memory_text(
    model: str,
    settings: Mapping[str, Any],
    *,
    n_features: int,
    n_fields: int,
    preset: str | None = None,
    at_least: float = 0,
) -> str | None:
    """The memory that training takes as text, computed before any is allocated.

    None for a model without a kernel, and where fewer bytes than `at_least` are needed.
    """
    from anyfm.engines import memory

    own, _ = _parse(model, preset, settings, TrainingSettings)
    resolved = MODELS[model](own).resolve(n_fields)
    sizes = {"n_features": n_features, "n_fields": n_fields}
    if resolved.kernel is None or memory.needed_memory(resolved, **sizes, training=True) < at_least:
        return None
    return memory.memory_text(resolved, **sizes, training=True)


# --- settings -----------------------------------------------------------------------------------------------------


def _parse(
    model: str, preset: str | None, settings: Mapping[str, Any], *kinds: type[Settings], also: Sequence[str] = ()
) -> list[Any]:
    """The model's settings and one object of each of `kinds`, from `settings` over those of the preset."""
    values = {**_preset(model, preset), **settings}
    return parse_settings(values, MODELS[model].settings_type, *kinds, what=f"setting of {model}", also=also)


def _preset(model: str, preset: str | None) -> Mapping[str, Any]:
    if preset is None:
        return {}
    presets = MODELS[model].presets
    if preset not in presets:
        known = ", ".join(
            f"for {owner}: {', '.join(MODELS[owner].presets)}" for owner in MODELS if MODELS[owner].presets
        )
        raise SettingError(f"unknown preset {preset!r} of {model}; available {known}")
    return presets[preset]


def _check_fields(model: str, format: str | None) -> None:
    if MODELS[model].needs_fields and format == "libsvm":
        raise SettingError(
            got(f"{model} needs the field of every entry, which only libffm files hold", format=format)
            + ". Give a libffm file (field:id:value), or train fm or linear."
        )


def _check_resume(checkpoint: str | Path | None, resume: bool) -> None:
    if resume and checkpoint is None:
        raise SettingError("resume needs checkpoint, the directory to continue from")


# --- preparation --------------------------------------------------------------------------------------------------


def _prepare_table(source: Any, data: DataSettings, validation: ValidationSettings, *, seed: int) -> PreparedData:
    from anyfm.data.encoder import Encoder
    from anyfm.data.files import FORMATS
    from anyfm.data.readers import read_table
    from anyfm.data.schema_inference import infer_schema
    from anyfm.data.suspects import suspect_columns

    if data.format not in ("table", *FORMATS):
        raise SettingError(unknown_name(data.format, [*FORMATS, *TEXT_FORMATS, "table"], what="format"))
    check_polars("training on a table")
    if data.target is None:
        raise SettingError("target is required for a table: the column to predict")
    options = {**read_options(data), "text_columns": _text_columns(data.fields or {})}
    fields = dict(data.fields or {})
    order = validation.order_column if validation.order_column not in fields else None
    overrides = fields if order is None else {order: "ignore", **fields}
    clock = _Clock()
    frame = read_table(source, **options)
    training, held_out = frame, None
    n_folds = validation.n_folds(len(frame))
    if validation.valid is None and n_folds == 0 and (validation.fraction > 0 or validation.valid_last_by is not None):
        training, held_out = _split(frame, data.target, validation, seed=seed)
    clock.add("read")
    schema = infer_schema(
        frame,
        target=data.target,
        weight=data.weight,
        task=data.task,
        positive=data.positive,
        overrides=overrides,
        min_count=data.min_count,
        missing=data.missing,
    )
    if order is not None:
        reason = "its last values are held out for validation; to train on it, give its kind"
        schema = schema.with_reason(order, reason)
    schema = with_n_bins(schema, data.n_bins, fields)
    try:
        encoder, encoded = Encoder.fit_encode(training, schema)
        clock.add("encode")
        if validation.valid is not None:
            options["text_columns"] |= encoder.text_columns
            held_out = read_table(validation.valid, **options)
            clock.add("read")
        encoded_valid = None if held_out is None else encoder.encode(held_out, labelled=True)
        clock.add("encode")
    except InputError:
        if training is not frame:
            Encoder.fit_encode(frame, schema)  # raises again, with the row's number in the table instead of in its part
        raise
    _check_two_classes(encoded.rows, schema)
    parts = {"train": encoded} if encoded_valid is None else {"train": encoded, "valid": encoded_valid}
    assert encoder.schema.target is not None
    return PreparedData(
        train=encoded.rows,
        valid=None if encoded_valid is None else encoded_valid.rows,
        n_features=encoder.n_features,
        n_fields=encoder.n_fields,
        task=get_task(encoder.schema.target.task),
        format="table",
        encoder=encoder,
        n_folds=n_folds,
        reports={name: part.report for name, part in parts.items()},
        seconds=clock.seconds,
        warnings=suspect_columns(encoder, encoded, encoded_valid),
        held_out="five folds of a cross-validation" if n_folds else _held_out(validation, encoded_valid is not None),
        times=encoder.time_ranges(training),
    )


def _held_out(validation: ValidationSettings, any_rows: bool) -> str:
    """Which rows are those of validation."""
    if not any_rows:
        return "none"
    if validation.valid is not None:
        return "a table of their own"
    if validation.valid_last_by is not None:
        group, order = validation.valid_last_by
        return f"the last row of each {group} by {order}"
    if validation.valid_by is not None:
        return f"the last {validation.fraction:.3g} of the rows by {validation.valid_by}"
    return f"{validation.fraction:.3g} of the rows at random"


def _text_columns(fields: Mapping[str, Any]) -> set[str]:
    """The columns whose values the user wants compared as text, so that "007" is no number."""
    kinds = {name: value if isinstance(value, str) else value.get("kind", "") for name, value in fields.items()}
    return {name for name, kind in kinds.items() if kind.partition(":")[0] in ("categorical", "tags")}


def _check_two_classes(rows: Rows, schema: Schema) -> None:
    y, target = rows.y, schema.target
    if target is not None and target.is_classification and y is not None and y.min() == y.max():
        problem = "the training rows must hold both classes, but the rows that are held out hold all of one"
        remedy = "Hold out other rows, or fewer."
        raise InputError(located(problem, column=target.name, remedy=remedy))


def read_options(data: DataSettings) -> dict[str, Any]:
    """The arguments of `anyfm.data.readers.read_table` that the settings of reading stand for."""
    return {
        "format": "auto" if data.format == "table" else data.format,
        "header": None if data.header else False,
        "names": data.column_names,
        "separator": data.separator,
        "encoding": data.encoding,
    }


def with_n_bins(schema: Schema, n_bins: int | None, fields: Mapping[str, Any]) -> Schema:
    """The schema with at most `n_bins` bins in every field, but for those whose number `fields` gives."""
    if n_bins is None:
        return schema

    def binned(one: Field) -> Field:
        given = fields.get(one.name)
        return one if isinstance(given, Mapping) and "n_bins" in given else replace(one, n_bins=n_bins)

    return replace(schema, fields=tuple(map(binned, schema.fields)))


def _split(frame: Frame, target: str, validation: ValidationSettings, *, seed: int) -> tuple[Frame, Frame]:
    from anyfm.data.messages import missing_column

    last_by = validation.valid_last_by or ()
    for role, column in (
        ("target", target),
        ("valid_by", validation.valid_by),
        *(("valid_last_by", name) for name in last_by),
    ):
        if column is not None and column not in frame.columns:
            raise missing_column(role, column, frame.columns)
    if last_by:
        training, held_out = split_last_of_groups(*(frame[name].to_numpy() for name in last_by))
    elif validation.valid_by is not None:
        training, held_out = split_by(frame[validation.valid_by].to_numpy(), validation.fraction)
    else:
        training, held_out = split_fraction(len(frame), validation.fraction, seed=seed)
    return frame[training], frame[held_out]


def _prepare_text(
    source: Any, format: str, data: DataSettings, validation: ValidationSettings, *, seed: int
) -> PreparedData:
    """Read and split text files. A validation file is read in the sizes of the training file: entries beyond them are
    dropped and counted."""
    _refuse_table_settings(data, validation)
    clock = _Clock()
    text = read_text(source, format=format, task=data.task, number_ids=True)
    _check_labels(text, source)
    train, valid = text.rows, None
    n_folds = 0 if text.group is not None else validation.n_folds(text.rows.n_rows)
    reports: dict[str, EncodingReport | TextReport] = {"train": TextReport.of(text)}
    if validation.valid is not None:
        held_out = read_text(
            validation.valid,
            format=format,
            n_features=text.n_features,
            n_fields=None if format == "libsvm" else text.n_fields,
            unseen="drop",
            task=text.task,
            labels=(text.negative_label, text.positive_label),
            feature_ids=text.feature_ids,
        )
        valid, reports["valid"] = held_out.rows, TextReport.of(held_out)
    elif validation.fraction > 0 and n_folds == 0:
        training, rest = _split_text(text, validation.fraction, seed=seed)
        train, valid = train.take(training), train.take(rest)
    clock.add("read")
    return PreparedData(
        train=train,
        valid=valid,
        n_features=text.n_features,
        n_fields=text.n_fields,
        task=get_task(text.task),
        format=format,
        negative_label=text.negative_label,
        positive_label=text.positive_label,
        label_reason=text.label_reason,
        feature_ids=text.feature_ids,
        n_folds=n_folds,
        reports=reports,
        seconds=clock.seconds,
    )


def _split_text(text: TextRows, fraction: float, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and validation rows at random; rows of one group (qid) stay together."""
    if text.group is None:
        return split_fraction(text.rows.n_rows, fraction, seed=seed)
    groups, group_of_row = np.unique(text.group, return_inverse=True)
    _, held = split_fraction(len(groups), fraction, seed=seed)
    is_held = np.isin(group_of_row, held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _refuse_table_settings(data: DataSettings, validation: ValidationSettings) -> None:
    defaults = DataSettings()
    given = {name: getattr(data, name) for name in _TABLE_ONLY if getattr(data, name) != getattr(defaults, name)}
    for name in ("valid_by", "valid_last_by"):
        if getattr(validation, name) is not None:
            given[name] = getattr(validation, name)
    for name, value in given.items():
        rule = f"{name} is for tables; a libsvm or libffm file has a label, ids and values but no column"
        raise SettingError(got(rule, **{name: value}))


def _check_labels(text: TextRows, source: Any) -> None:
    y = text.rows.y
    assert y is not None
    file = os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(source)
    if text.rows.n_entries == 0:
        raise InputError(located("a text file to learn from must hold rows with entries, and has none", file=file))
    if not get_task(text.task).is_classification:
        check_digits(y)
    elif y.min() == y.max():
        problem = "the labels to learn from must be of two classes, and all are the same"
        label = text.positive_label if y[0] == 1 else text.negative_label
        remedy = "If it is a number to predict, choose the task 'regression'."
        raise InputError(located(problem, file=file, value=label, remedy=remedy))


class _Clock:
    """Adds up the seconds since the last call, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"read": 0.0, "encode": 0.0}
        self._last = time.perf_counter()

    def add(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now


# --- training -----------------------------------------------------------------------------------------------------


def _fit(
    data: PreparedData,
    model: str,
    settings: ModelSettings,
    training: TrainingSettings,
    callbacks: Sequence[Callback],
    *,
    checkpoint: str | Path | None,
    resume: bool,
    began: float,
) -> Model:
    from anyfm.engines.registry import make_engine
    from anyfm.training.checkpoint import Checkpointer, resume_from

    resumed = resume_from(checkpoint) if resume and checkpoint is not None else None
    _check_fields(model, data.format)
    settings = replace(settings, task=data.task.name)

    def make(changed: Mapping[str, Any]) -> Engine:
        return make_engine(
            MODELS[model](replace(settings, **changed)),
            n_features=data.n_features,
            n_fields=data.n_fields,
            n_threads=training.n_threads,
            engine=training.engine,
            device=training.device,
        )

    _warn_of_pairs(model, settings, data)
    data, class_weight = _class_weighted(data, training.class_weight)
    data, scales = _scaled(data, settings)
    searching = time.perf_counter()
    trials, valid, cross_validated = _search(make, model, settings, data, training, resumed, callbacks)
    searching = time.perf_counter() - searching
    record = [trial.to_dict() for trial in trials]
    chosen = next((trial for trial in trials if trial.chosen), None)
    limit = replace(training, epochs=chosen.best_epoch) if chosen is not None and data.n_folds else training
    if checkpoint is not None:
        callbacks = [*callbacks, Checkpointer(checkpoint, trials=record)]
    engine = make({} if chosen is None else chosen.settings)
    history = loop.fit(
        engine,
        data.train,
        valid,
        limit,
        callbacks=callbacks,
        resume=resumed,
    )
    targets = loop.target_range(engine.model.task, data.train, training)
    parameters = _unscaled(engine, engine.parameters(), scales)
    metrics = cross_validated if valid is None else loop.evaluate(engine, valid, targets)
    deviations, factor = _deviations(engine, data, valid, scales, parameters, training)
    artifact = Artifact(
        model=engine.model,
        parameters=parameters,
        deviations=deviations,
        n_features=data.n_features,
        n_fields=data.n_fields,
        encoder=data.encoder,
        feature_ids=data.feature_ids,
        training={
            **_training_record(data, valid, training, targets),
            "class_weight": class_weight,
            "search": record,
            "n_folds": data.n_folds,
            "std_factor": factor,
        },
        metrics={"valid": metrics},
        history=_without_times(history),
    )
    seconds = {
        **data.seconds,
        "search": searching if trials else 0.0,
        "train": float(sum(record["seconds"] for record in history.records)),
        "total": time.perf_counter() - began,
    }
    return Model(artifact, n_threads=training.n_threads, history=history, seconds=seconds)


def _candidates(given: Mapping[str, Any], format: str | None) -> list[str]:
    """The models that can be trained on the format, simplest first; SettingError for a setting that none has."""
    names = [name for name in MODELS if not (MODELS[name].needs_fields and format == "libsvm")]
    kinds: list[type[Settings]] = [DataSettings, ValidationSettings, TrainingSettings, BudgetSettings]
    known = {name for kind in [*kinds, *(MODELS[name].settings_type for name in names)] for name in kind.names()}
    for name in given:
        if name not in known:
            raise SettingError(unknown_name(name, {*known, *_KEYWORDS}, what="setting"))
    return names


def _known(given: Mapping[str, Any], name: str, model: str) -> Mapping[str, Any]:
    """The settings for one model: where all are trained, without those that only others have."""
    if model != AUTO:
        return given
    others = {setting for kind in MODELS.values() for setting in kind.settings_type.names()}
    others -= {*MODELS[name].settings_type.names(), *DataSettings.names()}
    return {setting: value for setting, value in given.items() if setting not in others}


def _warn_of_pairs(model: str, settings: ModelSettings, data: PreparedData) -> None:
    """Say so before training begins where a model goes through a million pairs of every row, or more."""
    n_entries = data.train.n_entries // max(data.train.n_rows, 1)
    if MODELS[model](settings).resolve(data.n_fields).floats_per_row(n_entries, data.n_fields) and n_entries > 1000:
        n_pairs = n_entries * (n_entries - 1) // 2
        rule = "%s computes each pair of a row, of which rows of %s entries have %s: training may take hours. "
        _log.warning(rule + "fm and linear take time in proportion to the entries", model, n_entries, n_pairs)


def _fit_best(
    data: PreparedData,
    settings: Mapping[str, ModelSettings],
    training: TrainingSettings,
    callbacks: Sequence[Callback],
    budget: float,
    *,
    began: float,
) -> Model:
    """The best of several models on the validation rows, or by cross-validation, as for epochs and settings.

    The first is trained to its end. When the budget, in seconds, is over, the one in training is given up.
    """
    from anyfm.engines.memory import MemoryLimitError
    from anyfm.metrics import METRICS
    from anyfm.training.callbacks import Deadline, OutOfTimeError

    if data.valid is None and not data.n_folds:
        raise SettingError(got("model='auto' needs validation rows", valid_fraction=0))
    valid = _class_weighted(data, training.class_weight)[0].valid
    metric = data.task.loss_metric if training.monitor == "loss" else training.monitor
    sign = -1.0 if METRICS[metric].greater_is_better else 1.0
    deadline = Deadline(time.monotonic() + budget)
    best: Model | None = None
    least, chosen = np.inf, {}
    records: list[dict[str, Any]] = []
    for name, own in settings.items():
        record: dict[str, Any] = {"model": name, "metric": metric, "value": None, "n_epochs": 0, "outcome": "trained"}
        records.append(record)
        if best is not None and deadline.is_over:
            record["outcome"] = "not tried: out of time"
            continue
        limit = [] if best is None else [deadline]
        try:
            found = _fit(data, name, own, training, [*callbacks, *limit], checkpoint=None, resume=False, began=began)
        except OutOfTimeError:
            record["outcome"] = "given up: out of time"
            continue
        except DivergenceError:
            record["outcome"] = "diverged"
            continue
        except MemoryLimitError:
            record["outcome"] = "does not fit the memory"
            continue
        value = (found.metrics if valid is None else found.evaluate(valid))[metric]
        record |= {"value": value, "n_epochs": found.history.n_epochs}
        if best is None or sign * value < sign * least:
            best, least, chosen = found, value, record
        if found.history.stop_reason == "interrupted":
            break
    if best is None:
        raise DivergenceError("every model diverged or did not fit the memory: lower learning_rate or raise min_count")
    chosen["outcome"] = "chosen"
    artifact = replace(best.artifact, training={**best.artifact.training, "models": records})
    seconds = {**best.seconds, "total": time.perf_counter() - began}
    return Model(artifact, n_threads=training.n_threads, history=best.history, seconds=seconds)


def _search(
    make: Callable[[Mapping[str, Any]], Engine],
    model: str,
    settings: ModelSettings,
    data: PreparedData,
    training: TrainingSettings,
    resumed: Checkpoint | None,
    callbacks: Sequence[Callback],
) -> tuple[list[Trial], Rows | None, dict[str, float]]:
    """Choose settings on validation rows: the trials, the validation rows for epochs and metrics, and the metrics of a
    cross-validation, which also chooses the number of epochs.

    Where there are many validation rows, those that settings are chosen on are other ones. A setting that is not at its
    default is not searched. Resumed training takes what was chosen before.
    """
    from anyfm.training.callbacks import Deadline
    from anyfm.training.search import SPLIT_ROWS, Trial, search

    kind, valid = MODELS[model], data.valid
    defaults = kind.settings_type().to_dict()
    fixed = {name for name, value in settings.to_dict().items() if name != "task" and value != defaults[name]}
    candidates = [each for each in kind(settings).candidates(data.n_fields) if not fixed & set(each)]
    if not training.search:
        candidates = []
    limits = [each for each in callbacks if isinstance(each, Deadline)]
    if data.n_folds:
        y = data.train.y if data.task.is_classification else None
        split = split_folds(data.train.n_rows, data.n_folds, seed=training.seed, stratify=y)
        folds = [(data.train.take(rest), data.train.take(held)) for rest, held in split]
        trials, logits = search(make, candidates, folds, training, callbacks=limits)
        held_out = data.train.take(np.concatenate([held for _, held in split]))
        assert held_out.y is not None
        targets = loop.target_range(data.task, data.train, training)
        return trials, None, evaluate(data.task, held_out.y, loop.clipped(data.task, logits, targets), held_out.weight)
    if valid is None or not candidates:
        return [], valid, {}
    choosing = valid
    if valid.n_rows >= SPLIT_ROWS:
        rest, half = split_fraction(valid.n_rows, 0.5, seed=training.seed)
        choosing, valid = valid.take(half), valid.take(rest)
    if resumed is not None:
        return [Trial.from_dict(trial) for trial in resumed.trials], valid, {}
    return search(make, candidates, [(data.train, choosing)], training, callbacks=limits)[0], valid, {}


def _class_weighted(data: PreparedData, class_weight: Any) -> tuple[PreparedData, dict[str, float] | None]:
    """The data with every row's weight multiplied by that of its class, and the weights by class."""
    if class_weight is None:
        return data, None
    if not data.task.is_classification:
        raise SettingError(got("class_weight needs a target of two classes", task=data.task.name))
    y = data.train.y
    assert y is not None
    if isinstance(class_weight, str):
        weight = np.ones(len(y)) if data.train.weight is None else data.train.weight.astype(np.float64)
        totals = np.array([weight[y == 0].sum(), weight[y == 1].sum()])
        weights = totals.sum() / (2 * np.maximum(totals, 1e-30))
    else:
        weights = np.ones(2)
        for name, value in class_weight.items():
            places = [place for place, known in enumerate(data.class_names) if _is_same_class(name, known)]
            if not places:
                known = [str(each) for each in data.class_names]
                raise SettingError(got(f"class_weight must name the classes {known}", class_weight=name))
            weights[places[0]] = value

    def weighted(rows: Rows) -> Rows:
        assert rows.y is not None
        of_rows = np.where(rows.y == 1, weights[1], weights[0]).astype(np.float32)
        return rows.labelled(rows.y, of_rows if rows.weight is None else of_rows * rows.weight)

    valid = None if data.valid is None else weighted(data.valid)
    record = {str(name): float(weight) for name, weight in zip(data.class_names, weights, strict=True)}
    return replace(data, train=weighted(data.train), valid=valid), record


def _is_same_class(name: Any, known: Any) -> bool:
    """Whether a name stands for a class: equal text, or equal numbers ("1" and 1.0, "true" and True)."""
    if str(name).lower() == str(known).lower():
        return True
    try:
        return float(name) == float(known)
    except (TypeError, ValueError):
        return False


def _scaled(data: PreparedData, settings: ModelSettings) -> tuple[PreparedData, NDArray[np.float32] | None]:
    """The data with scaled features, and their scales; see `anyfm.optim.feature_scales`."""
    scales = feature_scales(data.train, data.n_features)
    if scales is None:
        return data, None
    n_scaled, largest = int((scales != 1).sum()), float(scales.max())
    is_normalized = isinstance(settings, NormalizeSettings) and settings.normalize
    if is_normalized and largest > _MAX_NORMALIZED:
        raise InputError(
            got("normalize divides a row by its length, which one quantity must not dominate", largest_scale=largest)
            + ". Scale that feature in the data, or train without normalize: its values are then scaled in training."
        )
    if is_normalized:
        return data, None
    _log.info(
        "%d features have values of other sizes than the rest, up to %.4g: training scales them", n_scaled, largest
    )
    valid = data.valid
    if valid is not None and valid.values is not None:
        valid = scaled_rows(valid, scales)
    elif valid is not None:
        valid = scaled_rows(replace(valid, values=np.ones(valid.ids.shape, np.float32)), scales)
    return replace(data, train=scaled_rows(data.train, scales), valid=valid), scales


def _deviations(
    engine: Engine,
    data: PreparedData,
    valid: Rows | None,
    scales: NDArray[np.float32] | None,
    parameters: Mapping[str, NDArray[Any]],
    training: TrainingSettings,
) -> tuple[dict[str, NDArray[Any]], float | None]:
    """The standard deviations of the parameters, and the factor of their calibration that they contain, if any.

    Afterwards the engine must be prepared again.
    """
    from anyfm.engines.posterior import Posterior
    from anyfm.training.uncertainty import calibration_factor, parameter_deviations

    if not training.uncertainty:
        return {}, None
    field_of = unseen = None
    if data.encoder is not None:
        offsets = np.asarray(data.encoder.field_offsets)
        field_of, unseen = np.repeat(np.arange(data.n_fields, dtype=np.int32), np.diff(offsets)), offsets[:-1]
    logits = None if valid is None else engine.logits(valid)
    deviations = parameter_deviations(
        engine, data.train, field_of=field_of, unseen=unseen, n_threads=training.n_threads
    )
    if not deviations or valid is None or logits is None:
        return _unscaled(engine, deviations, scales), None
    in_training = _unscaled(engine, parameters, None if scales is None else (1 / scales).astype(np.float32))
    posterior = Posterior(engine.model, in_training, deviations, n_fields=data.n_fields, n_threads=training.n_threads)
    factor = calibration_factor(posterior, engine.model.task, logits, valid, seed=training.seed)
    deviations = {name: array * np.float32(factor) for name, array in deviations.items()}
    return _unscaled(engine, deviations, scales), factor


def _unscaled(
    engine: Engine, parameters: Mapping[str, NDArray[Any]], scales: NDArray[np.float32] | None
) -> dict[str, NDArray[Any]]:
    """Parameters of training, or their deviations, for values as they are in the data."""
    parameters = dict(parameters)
    if scales is None:
        return parameters
    specs = engine.model.parameter_specs(len(scales), engine.n_fields)
    return {name: unscaled(array, scales) if specs[name].per_feature else array for name, array in parameters.items()}


def _training_record(
    data: PreparedData, valid: Rows | None, training: TrainingSettings, targets: tuple[float, float] | None
) -> dict[str, Any]:
    """What the artifact says of its training. No times, paths or threads: equal trainings are equal bytes."""
    y = data.train.y
    record = {
        **{name: value for name, value in training.to_dict().items() if name not in NOT_RECORDED},
        "rows": data.train.n_rows,
        "valid_rows": 0 if valid is None else valid.n_rows,
        "mean_target": None if y is None else float(np.mean(y, dtype=np.float64)),
        "format": data.format,
        "data_sha256": data.train.fingerprint(),
    }
    if data.held_out:
        record["held_out"] = data.held_out
    if data.times:
        record["times"] = {column: list(ends) for column, ends in data.times.items()}
    if targets is not None:
        record["target_range"] = list(targets)
    labels = {"negative_label": data.negative_label, "positive_label": data.positive_label}
    return record if data.negative_label is None else {**record, **labels}


def _without_times(history: History) -> dict[str, Any]:
    records = [{key: value for key, value in record.items() if key not in _TIMES} for record in history.records]
    return {**history.to_dict(), "records": records}
