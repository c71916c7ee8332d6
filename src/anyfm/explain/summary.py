"""What matters over a table: fields, pairs of fields and pairs of values, as tidy tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.explain.contributions import explain_rows, field_names
from anyfm.explain.effects import Importance, permutation_importance, sample
from anyfm.explain.interactions import whole_interaction
from anyfm.explain.strength import Strengths, strengths
from anyfm.explain.value_pairs import ValuePair, value_pairs
from anyfm.models.pairs import Doubles

if TYPE_CHECKING:
    from anyfm.data.readers import Frame

N_ROWS, N_IMPORTANCE_ROWS, N_DEEP_ROWS = 50_000, 10_000, 2_000


@dataclass(frozen=True, eq=False)
class Summary:
    """The contributions of a table. F fields, P pairs of fields.

    Parameters
    ----------
    field_names : tuple of str
    strengths : Strengths
        For DeepFM, of the FM half.
    importance : Importance, optional
        None without targets.
    deep_absolute : array of shape (F,), optional
        DeepFM: the mean absolute integrated gradient of each field.
    whole : array of shape (P,), optional
        DeepFM: the interaction of each pair in the whole model, see `whole_interaction`.
    values : list of ValuePair
        The strongest pairs of values.
    """

    field_names: tuple[str, ...]
    strengths: Strengths
    importance: Importance | None
    deep_absolute: Doubles | None
    whole: Doubles | None
    values: list[ValuePair]

    @property
    def n_rows(self) -> int:
        """How many rows were measured."""
        return self.strengths.n_rows

    @property
    def interaction(self) -> Doubles:
        """The interaction of each pair in the whole model, (P,)."""
        return self.strengths.interaction if self.whole is None else self.whole

    def fields(self) -> Frame:
        """The fields, the strongest first.

        Returns
        -------
        polars DataFrame
            Columns field; main_effect, mean_absolute, share (see `Strengths`); for DeepFM deep_mean_absolute; with
            targets loss_increase and its deviation (permutation importance), which then gives the order.
        """
        measured = self.strengths
        columns: dict[str, Any] = {
            "main_effect": measured.main,
            "mean_absolute": measured.linear_absolute,
            "share": measured.linear_share,
        }
        order = measured.main
        if self.deep_absolute is not None:
            columns["deep_mean_absolute"] = self.deep_absolute
            order = order + self.deep_absolute
        if self.importance is not None:
            columns |= {"loss_increase": self.importance.increase, "deviation": self.importance.deviation}
            order = self.importance.increase
        return _sorted({"field": np.array(self.field_names, object), **columns}, order)

    def pairs(self) -> Frame:
        """The pairs of fields, the strongest first.

        Returns
        -------
        polars DataFrame
            Columns field, other_field; interaction, mean_absolute, share (see `Strengths`); for AFM attention; for
            DeepFM whole_interaction, which then gives the order.
        """
        measured = self.strengths
        names = np.array(self.field_names, object)
        columns: dict[str, Any] = {
            "field": names[measured.field_pairs.first],
            "other_field": names[measured.field_pairs.second],
        }
        if self.whole is not None:
            columns["whole_interaction"] = self.whole
        columns |= {
            "interaction": measured.interaction,
            "mean_absolute": measured.pair_absolute,
            "share": measured.pair_share,
        }
        if measured.attention is not None:
            columns["attention"] = measured.attention
        return _sorted(columns, self.interaction)

    def value_pairs(self) -> Frame:
        """The strongest pairs of values, columns as in `ValuePair`; a polars DataFrame."""
        from anyfm.data.readers import read_table

        keys = ("field", "value", "other_field", "other_value", "effect", "n_rows", "observed", "lower", "upper")
        return read_table({key: [getattr(pair, key) for pair in self.values] for key in keys})


def summarize(artifact: Artifact, table: Any, *, n_value_pairs: int = 20, n_rows: int = N_ROWS) -> Summary:
    """Measure what matters over a table.

    Parameters
    ----------
    artifact : Artifact
    table : Rows, or whatever `anyfm.data.readers.read_table` reads
        A table needs the columns of the model's fields. With the target, importance and the confidence of pairs of
        values are measured too.
    n_value_pairs : int
        At most so many pairs of values.
    n_rows : int
        At most so many rows are measured, drawn at random.

    Raises
    ------
    InputError
        The table has no rows, or lacks a column.
    """
    rows = sample(table if isinstance(table, Rows) else _encoded(artifact, table), n_rows)
    if rows.n_rows == 0:
        raise InputError("a table to explain must have at least one row, but it has none")
    measured = strengths(artifact, rows)
    whole, deep = whole_model(artifact, rows, measured)
    return Summary(
        field_names=field_names(artifact),
        strengths=measured,
        importance=None if rows.y is None else permutation_importance(artifact, sample(rows, N_IMPORTANCE_ROWS)),
        deep_absolute=deep,
        whole=whole,
        values=value_pairs(artifact, rows, measured, n=n_value_pairs),
    )


def whole_model(artifact: Artifact, rows: Rows, measured: Strengths) -> tuple[Doubles | None, Doubles | None]:
    """DeepFM: interactions of the whole model, (P,), and mean absolute integrated gradients, (F,); else None."""
    if artifact.model.mlp(artifact.parameters) is None:
        return None, None
    some = sample(rows, N_DEEP_ROWS)
    deep = explain_rows(artifact, some).deep
    assert deep is not None
    return whole_interaction(artifact, rows, measured.field_pairs), np.average(
        np.abs(deep), axis=0, weights=some.weight
    )


def _encoded(artifact: Artifact, table: Any) -> Rows:
    from anyfm.data.readers import read_table

    encoder = artifact.require_encoder()
    frame = read_table(table, text_columns=encoder.text_columns)
    target = encoder.schema.target
    return encoder.encode(frame, labelled=target is not None and target.name in frame.columns).rows


def _sorted(columns: dict[str, Any], order: Doubles) -> Frame:
    from anyfm.data.readers import read_table

    places = np.argsort(-np.nan_to_num(order, nan=-np.inf), kind="stable")
    return read_table({name: column[places] for name, column in columns.items()}).fill_nan(None)
