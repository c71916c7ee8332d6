"""From files or frames to rows that a model can be trained on: tables are encoded, text files of ids are read.

Training rows and validation rows are told apart here, and nothing is learnt from the latter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyfm.data.text.reader import Source, TextRows, read_text, source_format
from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.rows import Rows
from anyfm.training.split import split_by, split_fraction

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded, Encoder
    from anyfm.data.readers import Frame
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.schema import Schema

DEFAULT_FRACTION = 0.1
MIN_COUNT = 2


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
            raise SettingError("validation rows must come from a table or from a column's order, got both came")
        if not 0 <= self.fraction < 1:
            raise SettingError(
                got("the validation fraction must be at least 0 and below 1", valid_fraction=self.fraction)
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
    def n_features(self) -> int:
        return self.encoder.n_features

    @property
    def n_fields(self) -> int:
        return self.encoder.n_fields

    @property
    def schema(self) -> Schema:
        return self.encoder.schema

    @property
    def task(self) -> str:
        target = self.schema.target
        assert target is not None
        return target.task


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTable:
    """Text files of ids ready for training; the counterpart of `Table` for rows that were encoded elsewhere.

    Parameters
    ----------
    train, valid : Rows
        `valid` is None where nothing is held out.
    n_features, n_fields : int
        What the ids and fields of the training file need.
    task : str
    format : str
        "libsvm" or "libffm".
    negative_label : int
        0 or -1: what the label of the negative class is in the files.
    reports : dict of str to dict of str to int
        Of "train" and "valid", see `text_report`.
    seconds : dict of str to float
        How long "read" took; "encode" is 0.
    """

    train: Rows
    valid: Rows | None
    n_features: int
    n_fields: int
    task: str
    format: str
    negative_label: int
    reports: dict[str, dict[str, int]]
    seconds: dict[str, float]
    encoder: None = None


def text_report(text: TextRows) -> dict[str, int]:
    """What is worth telling of a text file: entries dropped, lines without a row, ids that stand in several fields."""
    return {
        "unseen_entries": text.n_unseen,
        "blank_lines": text.n_blank_lines,
        "shared_ids": text.n_shared_ids,
    }


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
    """Read, divide and encode a table; see `anyfm.workflow.train_table`.

    Vocabularies and bins come from the training rows alone.
    """
    from anyfm.data.encoder import Encoder
    from anyfm.data.schema_inference import infer_schema
    from anyfm.data.readers import read_table

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


def prepare_text(
    source: Source,
    *,
    format: str = "auto",
    validation: Validation | None = None,
    task: str = "auto",
    seed: int = 0,
) -> TextTable:
    """Read and divide libsvm or libffm text files; see `anyfm.workflow.train_text`.

    A validation file is read in the sizes of the training file: entries beyond them are dropped and counted.
    """
    validation = validation if validation is not None else Validation()
    if validation.by is not None:
        raise SettingError(got("text files have no column to hold out the last rows by", valid_by=validation.by))
    clock = _Clock()
    format = source_format(source, format)
    text = read_text(source, format=format, task=task)
    _refuse_nothing_to_learn(text, source)
    train, valid = text.rows, None
    reports = {"train": text_report(text)}
    if validation.source is not None:
        held_out = read_text(
            validation.source,
            format=format,
            n_features=text.n_features,
            n_fields=None if format == "libsvm" else text.n_fields,
            unseen="drop",
            task=text.task,
        )
        valid, reports["valid"] = held_out.rows, text_report(held_out)
    elif validation.fraction > 0:
        training_rows, held_rows = split_fraction(train.n_rows, validation.fraction, seed=seed)
        train, valid = train.take(training_rows), train.take(held_rows)
    clock.add("read")
    return TextTable(
        train=train,
        valid=valid,
        n_features=text.n_features,
        n_fields=text.n_fields,
        task=text.task,
        format=format,
        negative_label=text.negative_label,
        reports=reports,
        seconds=clock.seconds,
    )


def _refuse_nothing_to_learn(text: TextRows, source: Source) -> None:
    y = text.rows.y
    assert y is not None
    if text.rows.n_entries == 0:
        raise InputError(
            located("a text file to learn from must hold rows with entries, and has none", file=str(source))
        )
    if text.task == "binary" and y.min() == y.max():
        label = 1 if y[0] == 1 else text.negative_label
        remedy = "If it is a number to predict, choose the task 'regression'."
        problem = "the labels to learn from must be of two classes, and all are the same"
        raise InputError(located(problem, file=str(source), value=label, remedy=remedy))


class _Clock:
    """Adds up the seconds since the last call, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"read": 0.0, "encode": 0.0}
        self._last = time.perf_counter()

    def add(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now


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
