"""Scoring with a trained model: tables, encoded rows, or one row at a time. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact, load_artifact
from anyfm.core.rows import Floats, Ids, Rows
from anyfm.engines.scorer import NativeScorer

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded
    from anyfm.data.readers import Frame
    from anyfm.data.schema import Schema
    from anyfm.data.text.reader import Source, TextRows
    from anyfm.explain.contributions import Contributions
    from anyfm.explain.summary import Summary


class Predictor:
    """Scores with one trained model. Nothing changes after it is made, so that any number of threads may share it.

    Parameters
    ----------
    artifact : Artifact
    n_threads : int
        Threads that score one large table; 0 means all cores of this process.

    Attributes
    ----------
    artifact : Artifact
    task : str
        "binary" or "regression".
    """

    def __init__(self, artifact: Artifact, *, n_threads: int = 0) -> None:
        self.artifact = artifact
        self.task: str = artifact.model.settings.task
        self._encoder = artifact.encoder
        self._scorer = NativeScorer(
            artifact.model, artifact.parameters, n_fields=artifact.n_fields, n_threads=n_threads
        )
        self._binary = self.task == "binary"

    @property
    def schema(self) -> Schema:
        """What the fields and the target are."""
        return self.artifact.require_encoder().schema

    def read(self, source: Any, **options: Any) -> Frame:
        """Read a table as this model wants it: values it knows as text ("007") are not taken for numbers.

        Parameters
        ----------
        source, **options
            As for `anyfm.data.readers.read_table`.
        """
        from anyfm.data.readers import read_table

        return read_table(source, text_columns=self.artifact.require_encoder().text_columns, **options)

    def encode(self, table: Any, *, labelled: bool = False) -> Encoded:
        """Turn a raw table into rows, and count what was unseen and missing.

        Parameters
        ----------
        table : path, data frame or mapping of column name to array
            Whatever `read` reads. It needs the columns of the model's fields; others may be there too.
        labelled : bool
            Whether the target (and the weight, if the model has one) is needed too.

        Raises
        ------
        InputError
            A column is missing, or a value cannot be read; the text names file, row, column and value.
        """
        return self.artifact.require_encoder().encode(self.read(table), labelled=labelled)

    def read_text(self, source: Source, *, format: str = "auto", labelled: bool = True) -> TextRows:
        """Read libsvm or libffm files of the ids that this model was trained on; its ``rows`` can be scored.

        Entries whose id (or, where the model uses it, field) lies beyond those of training are left out of their rows
        and counted.

        Parameters
        ----------
        source : path, glob or list of paths
        format : {"auto", "libsvm", "libffm"}
            "auto": by the suffix.
        labelled : bool
            Whether the labels must be those of the model's task. Without, they may be any numbers.

        Raises
        ------
        SettingError, InputError
            The model was trained on a table, a file is not of the format, or it lacks the fields that the model needs.
        """
        from anyfm.core.errors import InputError, SettingError, got
        from anyfm.data.text.reader import read_text, source_format

        artifact = self.artifact
        if artifact.encoder is not None:
            raise InputError(
                "this model was trained on a table, whose values it codes itself, so that it cannot read ids. Give it "
                "a table"
            )
        format = source_format(source, format)
        with_fields = artifact.model.needs_fields
        if with_fields and format == "libsvm":
            raise SettingError(
                got(f"{artifact.model.name} needs the field of every entry: a libffm file", format=format)
            )
        return read_text(
            source,
            format=format,
            n_features=artifact.n_features,
            n_fields=artifact.n_fields if with_fields else None,
            unseen="drop",
            task=self.task if labelled else "regression",
        )

    def logits(self, table: Any) -> Floats:
        """The logit of every row, float32 of shape (n_rows,); for regression, the prediction itself.

        Parameters
        ----------
        table : Rows, or whatever `encode` takes
        """
        rows = table if isinstance(table, Rows) else self.encode(table).rows
        return self._scorer.logits(rows)

    def predict(self, table: Any) -> Floats:
        """The probability of the positive class, or the predicted number, of every row; float32 of shape (n_rows,)."""
        logits = self.logits(table)
        return _probability(logits) if self._binary else logits

    def predict_one(self, row: Mapping[str, Any]) -> float:
        """The probability of the positive class, or the predicted number, of one row of raw values by field name.

        A value never seen in training counts as unseen, None as missing; every field must be named.
        """
        rows = self.artifact.require_encoder().encode_one(row)
        if rows.offsets is None:
            logit = self._scorer.logit(rows.ids[0], None if rows.values is None else rows.values[0], rows.fields)
        else:
            logit = self._scorer.logit(rows.ids, rows.values, rows.fields)
        return self._response(logit)

    def predict_ids(self, ids: Ids, values: Floats | None = None, fields: NDArray[np.int32] | None = None) -> float:
        """The same for one row that is encoded already.

        Parameters
        ----------
        ids : int32 array of shape (n_slots,)
        values : float32 array of shape (n_slots,), optional
        fields : int32 array of shape (n_slots,), optional
            The field of each slot, for models that use it; absent: slot s holds a feature of field s.

        Raises
        ------
        InputError
            An id or field lies outside the model's, or the arrays differ in length.
        """
        return self._response(self._scorer.logit(ids, values, fields))

    def evaluate(self, table: Any) -> dict[str, float]:
        """The metrics of the model's task on a table with the target, or on rows with y; see `metrics.evaluate`."""
        from anyfm.metrics import functions as metrics

        rows = table if isinstance(table, Rows) else self.encode(table, labelled=True).rows
        return metrics.evaluate(self.task, _target(rows), self.logits(rows), rows.weight)

    def explain(self, table: Any) -> Contributions:
        """Every row's logit as the sum of its terms: bias, fields, pairs of fields.

        Parameters
        ----------
        table : Rows, or whatever `encode` takes
        """
        from anyfm.explain.contributions import explain

        return explain(self.artifact, table)

    def summarize(self, table: Any) -> Summary:
        """What matters over a table: fields, pairs of fields, pairs of values; see `explain.summary.summarize`.

        Parameters
        ----------
        table : Rows, or whatever `encode` takes
            Where it has the target, importance and confidence are measured too.
        """
        from anyfm.explain.summary import summarize

        return summarize(self.artifact, table)

    def nearest(self, field: str, value: Any, *, n: int = 5, min_count: int = 1) -> list[tuple[Any, float]]:
        """The values of a field that the model treats most like `value`; see `explain.nearest.nearest_values`."""
        from anyfm.explain.nearest import nearest_values

        return nearest_values(self.artifact, field, value, n=n, min_count=min_count)

    def factors(self) -> Frame:
        """What was learnt of every value, keyed by field and value; see `explain.factors.factors_table`."""
        from anyfm.explain.factors import factors_table

        return factors_table(self.artifact)

    def _response(self, logit: float) -> float:
        if not self._binary:
            return logit
        odds = math.exp(-abs(logit))
        return 1.0 / (1.0 + odds) if logit >= 0 else odds / (1.0 + odds)


def load(path: str | Path, *, n_threads: int = 0) -> Predictor:
    """Load a saved model for scoring; see `load_artifact` for the errors."""
    return Predictor(load_artifact(path), n_threads=n_threads)


def _probability(logits: Floats) -> Floats:
    odds = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1.0, odds) / (1.0 + odds), np.float32)


def _target(rows: Rows) -> Floats:
    from anyfm.core.errors import InputError

    if rows.y is None:
        raise InputError("rows to evaluate on must have targets, got y=None")
    return rows.y
