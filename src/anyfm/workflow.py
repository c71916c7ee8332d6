"""The whole way from a raw table to a trained model, in one call. The command line and the demo are faces of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.config import TrainingConfig, from_mapping, parse_setting, setting_names
from anyfm.engines.base import Engine
from anyfm.errors import InputError, SettingError, however, located
from anyfm.models import MODELS, Model
from anyfm.rows import Rows
from anyfm.training.callbacks import Callback
from anyfm.training.history import History
from anyfm.training.loop import evaluate, fit
from anyfm.training.split import split_by, split_fraction

if TYPE_CHECKING:
    from anyfm.table.encoder import Encoded, Encoder
    from anyfm.table.readers import Frame
    from anyfm.table.report import EncodingReport
    from anyfm.table.schema import Schema

DEFAULT_FRACTION = 0.1
MIN_COUNT = 2
_TIMES = ("seconds", "rows_per_second", "valid_seconds")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Which rows are held out to choose the best epoch: at most one of a table of their own, or some of the rows.

    Parameters
    ----------
    source : path, data frame or mapping, optional
        A table of its own.
    by : str, optional
        Hold out the last `fraction` of the rows in the order of this column, such as a time. The column is then no
        feature, unless it is given a kind on purpose.
    fraction : float
        The share of the rows to hold out, at random unless `by` is given; 0 holds out none, and training runs all
        its epochs.
    """

    source: Any = None
    by: str | None = None
    fraction: float = DEFAULT_FRACTION

    def __post_init__(self) -> None:
        if self.source is not None and self.by is not None:
            raise SettingError("validation rows must come from a table or from a column's order, however: both came")
        if not 0 <= self.fraction < 1:
            raise SettingError(
                however("the validation fraction must be at least 0 and below 1", valid_fraction=self.fraction)
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table ready for training: divided and encoded once, for any number of models.

    Parameters
    ----------
    train, valid : Rows
        `valid` is None where nothing is held out.
    reports : dict of str to EncodingReport
        What was unseen and missing in "train" and "valid".
    seconds : dict of str to float
        How long "read" and "encode" took.
    """

    encoder: Encoder
    train: Rows
    valid: Rows | None
    reports: dict[str, EncodingReport]
    seconds: dict[str, float]

    @property
    def schema(self) -> Schema:
        return self.encoder.schema

    @property
    def task(self) -> str:
        target = self.schema.target
        assert target is not None
        return target.task


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
    table : Table
    seconds : dict of str to float
        "read", "encode", "train" (the epochs without their validation) and "total".
    """

    artifact: Artifact
    history: History
    metrics: dict[str, float]
    table: Table
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
        Whatever `anyfm.table.readers.read_table` reads.
    target : str
        The column to predict.
    model : str
        One of `anyfm.models.MODELS`.
    settings : mapping, optional
        Settings of the model and of `TrainingConfig` by name; text is read as on the command line.
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
    model_settings(model, settings or {})  # wrong settings are told before a large table is read
    seed = _training_config(settings or {}).seed
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


def prepare_table(
    source: Any,
    target: str,
    *,
    validation: Validation | None = None,
    task: str = "auto",
    positive: Any = None,
    weight: str | None = None,
    fields: Mapping[str, Any] | None = None,
    min_count: int = MIN_COUNT,
    read_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Table:
    """Read, divide and encode a table; see `train_table`. Vocabularies and bins come from the training rows alone."""
    from anyfm.table.encoder import Encoder
    from anyfm.table.inference import infer_schema
    from anyfm.table.readers import read_table

    validation = validation if validation is not None else Validation()
    overrides = dict(fields or {})
    if validation.by is not None:
        overrides.setdefault(validation.by, "ignore")

    options = dict(read_options or {})

    def fit_encode(part: Frame) -> tuple[Encoder, Encoded]:
        schema = infer_schema(
            part, target=target, weight=weight, task=task, positive=positive, overrides=overrides, min_count=min_count
        )
        return Encoder.fit_encode(part, schema)

    clock = _Clock()
    frame = read_table(source, **options)
    training, held_out = frame, None
    if validation.source is None and validation.fraction > 0:
        training, held_out = _divide(frame, validation, target=target, seed=seed)
    clock.add("read")
    try:
        encoder, encoded = fit_encode(training)
        clock.add("encode")
        if validation.source is not None:
            held_out = read_table(validation.source, **{"text_columns": encoder.text_columns, **options})
            clock.add("read")
        encoded_valid = None if held_out is None else encoder.encode(held_out, labelled=True)
        clock.add("encode")
    except InputError:
        if training is not frame:
            fit_encode(frame)  # raises again, now with the row of the table instead of the row of its part
        raise
    reports = {"train": encoded.report}
    if encoded_valid is not None:
        reports["valid"] = encoded_valid.report
    valid = None if encoded_valid is None else encoded_valid.rows
    return Table(encoder=encoder, train=encoded.rows, valid=valid, reports=reports, seconds=clock.seconds)


class _Clock:
    """Adds up the seconds since the last call, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"read": 0.0, "encode": 0.0}
        self._last = time.perf_counter()

    def add(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now


def train_encoded(
    table: Table,
    *,
    model: str = "fm",
    settings: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainedModel:
    """Train one model on a table that is encoded already; see `train_table`."""
    began = time.perf_counter()
    encoder = table.encoder
    artifact, history = train_rows(
        table.train,
        table.valid,
        model=model,
        settings={**(settings or {}), "task": table.task},
        n_features=encoder.n_features,
        n_fields=encoder.n_fields,
        encoder=encoder,
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
    callbacks: Sequence[Callback] = (),
) -> tuple[Artifact, History]:
    """Train one model on rows with targets; `encoder` is what encoded them, if it was ours. See `train_table`."""
    config = _training_config(settings)
    member = MODELS[_known_model(model)](model_settings(model, settings))
    engine = make_engine(member, n_features=n_features, n_fields=n_fields, n_threads=config.n_threads)
    history = fit(engine, train, valid, config, callbacks=callbacks)
    artifact = Artifact(
        model=member,
        parameters=engine.parameters(),
        n_features=n_features,
        n_fields=n_fields,
        encoder=encoder,
        training=_training_record(train, valid, config),
        metrics={"valid": {} if valid is None else evaluate(engine, valid)},
        history=_without_times(history),
    )
    return artifact, history


def make_engine(model: Model, *, n_features: int, n_fields: int, n_threads: int = 0) -> Engine:
    """The engine that trains `model` on this machine."""
    from anyfm.engines.native import NativeEngine

    return NativeEngine(model, n_features=n_features, n_fields=n_fields, n_threads=n_threads)


def model_settings(model: str, settings: Mapping[str, Any]) -> Any:
    """The model's settings object from a mixed mapping of model and training settings; text is parsed.

    Raises
    ------
    SettingError
        The model or a setting is unknown, or a setting breaks its rule.
    """
    kind = MODELS[_known_model(model)].config_type
    known = setting_names(kind) | setting_names(TrainingConfig)
    for name in settings:
        if name not in known:
            raise SettingError(however(f"a setting of {model} must be one of {', '.join(sorted(known))}", setting=name))
    return from_mapping(kind, _parsed(kind, settings))


def _training_config(settings: Mapping[str, Any]) -> TrainingConfig:
    return from_mapping(TrainingConfig, _parsed(TrainingConfig, settings))


def _parsed(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    names = setting_names(kind)
    return {
        name: parse_setting(kind, name, value) if isinstance(value, str) else value
        for name, value in settings.items()
        if name in names
    }


def _known_model(model: str) -> str:
    if model not in MODELS:
        raise SettingError(however(f"the model must be one of {', '.join(MODELS)}", model=model))
    return model


def _divide(frame: Frame, validation: Validation, *, target: str, seed: int) -> tuple[Frame, Frame]:
    for column in (target, validation.by):
        if column is not None and column not in frame.columns:
            raise InputError(located("the table has no such column", column=column, remedy=_columns(frame)))
    if validation.by is not None:
        training, held_out = split_by(frame[validation.by].to_numpy(), validation.fraction)
    else:
        training, held_out = split_fraction(len(frame), validation.fraction, seed=seed)
    return frame[training], frame[held_out]


def _columns(frame: Frame) -> str:
    names = ", ".join(frame.columns[:20])
    return f"It has {names}{' …' if len(frame.columns) > 20 else ''}"


def _training_record(train: Rows, valid: Rows | None, config: TrainingConfig) -> dict[str, Any]:
    """What the artifact says of its training. No times, paths or threads: equal trainings are equal bytes."""
    return {
        **{name: value for name, value in config.to_dict().items() if name != "n_threads"},
        "rows": train.n_rows,
        "valid_rows": 0 if valid is None else valid.n_rows,
        "mean_target": None if train.y is None else float(np.mean(train.y, dtype=np.float64)),
    }


def _without_times(history: History) -> dict[str, Any]:
    records = [{key: value for key, value in record.items() if key not in _TIMES} for record in history.records]
    return {**history.to_dict(), "records": records}
