"""All that a report says about its models, measured on one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import SettingError, got
from anyfm.core.task import Task
from anyfm.explain.contributions import Contributions, explain
from anyfm.explain.partial_dependence import PartialDependence, partial_dependence
from anyfm.explain.permutation_importance import PermutationImportance
from anyfm.explain.perturbation import logit_function
from anyfm.explain.summary import Summary, summarize
from anyfm.metrics.calibration import Reliability, reliability
from anyfm.models.pairs import Doubles
from anyfm.report.evaluation import (
    Curve,
    ErrorsByValue,
    Estimate,
    Histogram,
    bootstrap_estimates,
    classification_curves,
    errors_by_value,
    example_rows,
    score_histogram,
)

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.readers import Frame

N_EFFECT_FIELDS = 24
N_CALIBRATION_BINS = 20


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredModel:
    """One model on the table of the report; see the functions that compute each attribute."""

    name: str
    artifact: Artifact
    encoding: EncodingReport
    metrics: dict[str, Estimate]
    curves: dict[str, Curve]
    calibration: Reliability
    histogram: Histogram
    summary: Summary
    effects: list[PartialDependence]
    errors: ErrorsByValue
    examples: Contributions
    example_rows: list[tuple[int, str]]
    example_targets: Doubles

    def __repr__(self) -> str:
        loss = self.artifact.model.task.loss_metric
        return f"MeasuredModel({self.name}: {loss} {self.metrics[loss].value:.5f})"

    @property
    def importance(self) -> PermutationImportance:
        assert self.summary.importance is not None  # the table has targets
        return self.summary.importance

    @property
    def may_be_training_rows(self) -> bool:
        """Whether the table has as many rows as the model was trained on, with or without its validation rows."""
        trained, valid = (int(self.artifact.training.get(name, 0)) for name in ("rows", "valid_rows"))
        return self.encoding.n_rows in (trained, trained + valid)


@dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """The models of a report and their table."""

    data: str
    task: Task
    target: str
    n_rows: int
    mean_target: float
    models: list[MeasuredModel]

    def __repr__(self) -> str:
        return f"Measurement({self.target} on {self.n_rows:,} rows of {self.data}: {self.models})"

    @property
    def loss_name(self) -> str:
        return self.task.loss_title

    @property
    def unit(self) -> str:
        """The unit of logits and contributions."""
        return "units of the target" if self.task.logit_is_prediction else "logits"


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
        Explanations are measured on a random sample of at most this number of rows; everything else on all.
    read_options : mapping, optional
        Further arguments of `read_table`.

    Raises
    ------
    SettingError
        There is no model, or they predict different targets.
    InputError
        The table lacks a column, has no rows, or its target cannot be used.
    """
    from anyfm.data.readers import read_table

    task, target = _common_target(models)
    frames: dict[frozenset[str], Frame] = {}
    encoded: list[tuple[Frame, Encoded]] = []
    for _, artifact in models:
        encoder = artifact.require_encoder()
        texts = encoder.text_columns
        if texts not in frames:
            frames[texts] = read_table(table, text_columns=texts, **(read_options or {}))
        encoded.append((frames[texts], encoder.encode(frames[texts], labelled=True)))
    first = encoded[0][1].rows
    assert first.y is not None
    y = first.y.astype(np.float64)
    weight = None if first.weight is None else first.weight.astype(np.float64)
    logits = [
        artifact.clipped(logit_function(artifact)(of.rows))
        for (_, artifact), (_, of) in zip(models, encoded, strict=True)
    ]
    measured = []
    for (name, artifact), (frame, of), scores, metrics in zip(
        models, encoded, logits, bootstrap_estimates(task, y, logits, weight), strict=True
    ):
        summary = summarize(artifact, of.rows, n_rows=n_explained)
        strongest = np.argsort(-summary.main, kind="stable")[:N_EFFECT_FIELDS].tolist()
        examples = example_rows(task, y, scores)
        chosen = [row for row, _ in examples]
        measured.append(
            MeasuredModel(
                name=name,
                artifact=artifact,
                encoding=of.report,
                metrics=metrics,
                curves=classification_curves(y, scores, weight) if task.is_classification else {},
                calibration=reliability(y, scores, weight, task=task, n_bins=N_CALIBRATION_BINS),
                histogram=score_histogram(task, y, scores, weight),
                summary=summary,
                effects=[partial_dependence(artifact, of.rows, field) for field in strongest],
                errors=errors_by_value(artifact, of.rows, scores),
                examples=explain(artifact, frame[chosen]),
                example_rows=examples,
                example_targets=y[chosen],
            )
        )
    return Measurement(data, task, target, first.n_rows, float(np.average(y, weights=weight)), measured)


def _common_target(models: Sequence[tuple[str, Artifact]]) -> tuple[Task, str]:
    """The task and the name of the target that all models predict."""
    if not models:
        raise SettingError("a report must have at least one model, but it has none")
    predicted = []
    for name, artifact in models:
        if artifact.encoder is None:
            raise SettingError(
                got("a report needs models trained on tables, not on libsvm or libffm files", model=name)
                + ". Use anyfm explain instead"
            )
        target = artifact.encoder.schema.target
        if target is None:
            raise SettingError(got("every model of a report must have a target", model=name))
        predicted.append((target.name, str(target.positive), artifact.model.task))
    if len({(name, positive, task.name) for name, positive, task in predicted}) > 1:
        targets = ", ".join(f"{name} ({task.name})" for name, _, task in predicted)
        raise SettingError(f"the models of a report must predict the same target, got {targets}")
    return predicted[0][2], predicted[0][0]


def model_names(paths: Sequence[str | Path]) -> list[str]:
    """A short name for each model directory: its last part, or more of it where that is not unique."""
    parts = [Path(path).resolve().parts for path in paths]
    for depth in range(1, max((len(part) for part in parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{part[-1]} ({number})" for number, part in enumerate(parts, start=1)]
