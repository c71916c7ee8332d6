"""All that a report says of its models, measured on one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import SettingError, got
from anyfm.core.rows import Rows
from anyfm.core.task import get_task
from anyfm.explain.contributions import Contributions, explain
from anyfm.explain.effects import (
    Importance,
    PartialEffect,
    partial_effect,
    permutation_importance,
    sample,
    scorer,
)
from anyfm.explain.strength import Strengths, strengths
from anyfm.explain.summary import N_IMPORTANCE_ROWS, whole_model
from anyfm.explain.value_pairs import ValuePair, value_pairs
from anyfm.metrics import Reliability, reliability
from anyfm.models.pairs import Doubles
from anyfm.report.assessment import (
    Curve,
    ErrorOfValue,
    Estimate,
    Histogram,
    binary_curves,
    errors_by_value,
    estimates,
    example_rows,
    score_histogram,
)

if TYPE_CHECKING:
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.readers import Frame

N_EFFECT_FIELDS = 24


@dataclass(frozen=True, eq=False)
class Measured:
    """One model on the table of the report; see the functions that each part comes from."""

    name: str
    artifact: Artifact
    encoding: EncodingReport
    metrics: dict[str, Estimate]
    curves: dict[str, Curve]
    calibration: Reliability
    histogram: Histogram
    strengths: Strengths
    whole: Doubles | None
    deep_absolute: Doubles | None
    importance: Importance
    value_pairs: list[ValuePair]
    effects: list[PartialEffect]
    mean_loss: float
    errors: list[ErrorOfValue]
    examples: Contributions
    example_rows: list[tuple[int, str]]
    example_targets: Doubles

    @property
    def interaction(self) -> Doubles:
        """The interaction of each pair of fields in the whole model; see `summary.Summary`."""
        return self.strengths.interaction if self.whole is None else self.whole

    @property
    def may_be_training_rows(self) -> bool:
        """Whether the table has as many rows as the model was trained on, with or without its validation rows."""
        trained, valid = (int(self.artifact.training.get(name, 0)) for name in ("rows", "valid_rows"))
        return self.encoding.n_rows in (trained, trained + valid)


@dataclass(frozen=True, eq=False)
class Measurement:
    """The models of a report and their table."""

    data: str
    task: str
    target: str
    n_rows: int
    mean_target: float
    models: list[Measured]


def measure(
    models: Sequence[tuple[str, Artifact]],
    table: Any,
    *,
    data: str,
    n_explained: int = 20_000,
    read_options: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure models on one table with targets.

    Parameters
    ----------
    models : sequence of (name, Artifact)
        At least one; all with one task and one target.
    table : path, data frame or mapping
        As for `anyfm.data.readers.read_table`.
    data : str
        What the table is called.
    n_explained : int
        Terms are measured on at most so many rows, drawn at random; everything else on all.
    read_options : mapping, optional
        Further arguments of `read_table`.

    Raises
    ------
    SettingError
        There is no model, or they predict different things.
    InputError
        The table lacks a column, has no rows, or its target cannot be used.
    """
    task, target = _what_they_predict(models)
    frames: dict[frozenset[str], Frame] = {}
    encoded = []
    for _, artifact in models:
        encoder = artifact.require_encoder()
        if encoder.text_columns not in frames:
            frames[encoder.text_columns] = _read(table, encoder.text_columns, read_options or {})
        frame = frames[encoder.text_columns]
        encoded.append((frame, encoder.encode(frame, labelled=True)))
    logits = [
        scorer(artifact).logits(one.rows).astype(np.float64)
        for (_, artifact), (_, one) in zip(models, encoded, strict=True)
    ]
    first = encoded[0][1].rows
    y, weight = _targets(first)
    found = estimates(task, y, logits, weight)
    measured = []
    for (name, artifact), (frame, one), scores, metrics in zip(models, encoded, logits, found, strict=True):
        measured.append(_one(name, artifact, frame, one, scores, metrics, n_explained=n_explained))
    mean_target = float(np.average(y, weights=weight))
    return Measurement(data, task, target, first.n_rows, mean_target, measured)


def _read(table: Any, text_columns: frozenset[str], options: Mapping[str, Any]) -> Frame:
    from anyfm.data.readers import read_table

    return read_table(table, text_columns=text_columns, **options)


def _what_they_predict(models: Sequence[tuple[str, Artifact]]) -> tuple[str, str]:
    if not models:
        raise SettingError("a report must have at least one model, but it has none")
    for name, artifact in models:
        if artifact.encoder is None:
            raise SettingError(
                got("a report needs models of tables, whose values have names; this one knows ids", model=name)
                + ". anyfm explain takes it"
            )
    tasks = sorted({str(artifact.model.settings.task) for _, artifact in models})
    targets = [artifact.require_encoder().schema.target for _, artifact in models]
    named = [target for target in targets if target is not None]
    if len(named) < len(targets):
        raise SettingError("every model of a report must have a target, but one has none")
    meanings = {(target.name, str(target.positive)) for target in named}
    if len(tasks) > 1 or len(meanings) > 1:
        came = [f"{target.name} ({task})" for target, task in zip(named, tasks * len(named), strict=False)]
        raise SettingError(got("the models of one report must predict the same target", came=came))
    return tasks[0], named[0].name


def _targets(rows: Rows) -> tuple[Doubles, Doubles | None]:
    assert rows.y is not None
    return rows.y.astype(np.float64), None if rows.weight is None else rows.weight.astype(np.float64)


def _one(
    name: str,
    artifact: Artifact,
    frame: Frame,
    encoded: Any,
    logits: Doubles,
    metrics: dict[str, Estimate],
    *,
    n_explained: int,
) -> Measured:
    rows: Rows = encoded.rows
    task = artifact.model.settings.task
    y, weight = _targets(rows)
    explained = sample(rows, n_explained)
    measured = strengths(artifact, explained)
    importance = permutation_importance(artifact, sample(rows, N_IMPORTANCE_ROWS))
    whole, deep = whole_model(artifact, explained, measured)
    order = np.argsort(-(measured.main if deep is None else measured.main + deep), kind="stable")[:N_EFFECT_FIELDS]
    mean_loss, errors = errors_by_value(artifact, rows, logits)
    examples = example_rows(task, y, logits)
    chosen = [row for row, _ in examples]
    return Measured(
        name=name,
        artifact=artifact,
        encoding=encoded.report,
        metrics=metrics,
        curves=binary_curves(y, logits, weight) if task == "binary" else {},
        calibration=reliability(y, logits, weight, task=get_task(task), n_bins=20),
        histogram=score_histogram(task, y, logits, weight),
        strengths=measured,
        whole=whole,
        deep_absolute=deep,
        importance=importance,
        value_pairs=value_pairs(artifact, explained, measured),
        effects=[partial_effect(artifact, explained, int(field)) for field in order],
        mean_loss=mean_loss,
        errors=errors,
        examples=explain(artifact, frame[chosen]),
        example_rows=examples,
        example_targets=y[chosen],
    )


def model_names(paths: Sequence[str | Path]) -> list[str]:
    """A short name for each model directory: its last part, or more of it where that is not enough."""
    parts = [Path(path).resolve().parts for path in paths]
    for depth in range(1, max((len(part) for part in parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(part[-1:])} ({number})" for number, part in enumerate(parts, start=1)]
