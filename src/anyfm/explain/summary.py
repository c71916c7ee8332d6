"""Which fields, pairs of fields and pairs of values matter over a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError
from anyfm.core.forks import check_polars
from anyfm.core.html import html_table
from anyfm.core.rows import Rows
from anyfm.explain.contributions import explain_rows
from anyfm.explain.interaction_strength import Strengths, strengths, total_interaction
from anyfm.explain.names import field_names
from anyfm.explain.permutation_importance import PermutationImportance, permutation_importance
from anyfm.explain.perturbation import sample
from anyfm.explain.value_pairs import ValuePair, value_pairs
from anyfm.models.pairs import Doubles

if TYPE_CHECKING:
    from anyfm.data.readers import Frame

N_ROWS, N_IMPORTANCE_ROWS, N_MLP_ROWS, N_VALUE_ROWS = 50_000, 10_000, 2_000, 2_000
# A row of F entries has F² pairs, and every field's importance takes passes over all entries: of hundreds of fields
# fewer rows are measured, so that a thousand take seconds.
_MAX_PAIRS, _MAX_ENTRIES, _MIN_ROWS = 100_000_000, 100_000_000, 100
_N_HTML_ROWS = 6


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """What matters over a table. F fields, P pairs of fields.

    Parameters
    ----------
    model : str
    field_names : tuple of str
    strengths : Strengths
        Of the linear and pair terms.
    importance : PermutationImportance, optional
        None without targets.
    field_pair_weights : array of shape (F, F), optional
        The learned weights of pairs of fields, of a model that has them; see `PairTerms.field_pair_weights`.
    mlp_absolute : array of shape (F,), optional
        The mean absolute integrated gradient of each field, of a model with a multilayer perceptron.
    total : array of shape (P,), optional
        The interaction of each pair in the whole model, of a model with a multilayer perceptron; see
        `total_interaction`.
    values : list of ValuePair
        The strongest pairs of values.
    """

    model: str
    field_names: tuple[str, ...]
    strengths: Strengths
    importance: PermutationImportance | None
    field_pair_weights: Doubles | None
    mlp_absolute: Doubles | None
    total: Doubles | None
    values: list[ValuePair]

    @property
    def n_rows(self) -> int:
        """How many rows were measured."""
        return self.strengths.n_rows

    @property
    def interaction(self) -> Doubles:
        """The interaction of each pair in the whole model, (P,)."""
        return self.strengths.interaction if self.total is None else self.total

    @property
    def main(self) -> Doubles:
        """The main effect of each field, (F,), plus its mean absolute integrated gradient."""
        return self.strengths.main if self.mlp_absolute is None else self.strengths.main + self.mlp_absolute

    def __repr__(self) -> str:
        n_fields, n_pairs = len(self.field_names), len(self.strengths.field_pairs)
        return f"Summary({self.model}: {self.n_rows:,} rows, {n_fields:,} fields, {n_pairs:,} pairs of fields)"

    def _repr_html_(self) -> str:
        """The strongest fields and pairs of fields."""
        rows = []
        for frame in (self.fields(), self.pairs()):
            names = [name for name in ("field", "other_field") if name in frame.columns]
            number = next((name for name in frame.columns if name not in names), "")
            for record in frame.head(_N_HTML_ROWS).to_dicts():
                rows.append((" × ".join(record[name] for name in names), f"{record[number]:.4f}", number))
        return html_table([repr(self), "", ""], rows)

    def fields(self) -> Frame:
        """The fields, strongest first.

        Returns
        -------
        polars DataFrame
            Columns field; with targets importance (permutation importance, by which they are sorted) and its
            standard deviation importance_std; main_effect, mean_absolute_contribution, variance_fraction (see
            `Strengths`); for a model with a multilayer perceptron mlp_mean_absolute_contribution.
        """
        columns: dict[str, Any] = {"field": np.array(self.field_names)}
        order = self.main
        if self.importance is not None:
            order = self.importance.increase
            columns |= {"importance": order, "importance_std": self.importance.deviation}
        columns |= {
            "main_effect": self.strengths.main,
            "mean_absolute_contribution": self.strengths.linear_absolute,
            "variance_fraction": self.strengths.linear_variance_fraction,
        }
        if self.mlp_absolute is not None:
            columns["mlp_mean_absolute_contribution"] = self.mlp_absolute
        return _sorted(columns, order)

    def pairs(self) -> Frame:
        """The pairs of fields, strongest first.

        Returns
        -------
        polars DataFrame
            Columns field, other_field; for a model with a multilayer perceptron total_interaction_strength (by which
            they are sorted); interaction_strength, mean_absolute_contribution, variance_fraction (see `Strengths`);
            attention and field_pair_weight of models that have them.
        """
        measured = self.strengths
        first, second = measured.field_pairs.first, measured.field_pairs.second
        names = np.array(self.field_names)
        columns: dict[str, Any] = {"field": names[first], "other_field": names[second]}
        if self.total is not None:
            columns["total_interaction_strength"] = self.total
        columns |= {
            "interaction_strength": measured.interaction,
            "mean_absolute_contribution": measured.pair_absolute,
            "variance_fraction": measured.pair_variance_fraction,
        }
        if measured.attention is not None:
            columns["attention"] = measured.attention
        if self.field_pair_weights is not None:
            columns["field_pair_weight"] = self.field_pair_weights[first, second]
        return _sorted(columns, self.interaction)

    def value_pairs(self) -> Frame:
        """The strongest pairs of values, columns as in `ValuePair`; a polars DataFrame."""
        import polars as pl

        columns = ValuePair.__dataclass_fields__
        return pl.DataFrame({name: [getattr(pair, name) for pair in self.values] for name in columns})


def summarize(artifact: Artifact, table: Any, *, n_value_pairs: int = 20, n_rows: int = N_ROWS) -> Summary:
    """Measure which fields, pairs of fields and pairs of values matter over a table.

    Parameters
    ----------
    artifact : Artifact
    table : Rows, or whatever `anyfm.data.readers.read_table` reads
        A table needs the columns of the model's fields. If it has the target, permutation importance and the
        confidence intervals of pairs of values are measured too.
    n_value_pairs : int
        At most this number of pairs of values.
    n_rows : int
        The size of the random sample of rows; smaller for hundreds of fields.

    Raises
    ------
    InputError
        The table has no rows, or lacks a column.
    """
    check_polars("a summary")
    rows = sample(table if isinstance(table, Rows) else _encoded(artifact, table), n_rows)
    if rows.n_rows == 0:
        raise InputError("a table to explain must have at least one row, but it has none")
    model, pair_terms = artifact.model, artifact.model.pair_terms()
    n_pairs = int(rows.n_entries / rows.n_rows) ** 2 + 1
    some = rows if pair_terms is None else sample(rows, max(_MIN_ROWS, _MAX_PAIRS // n_pairs))
    mlp_absolute = total = None
    with threadpool_limits(limits=1, user_api="blas"):  # as for integrated gradients
        measured = strengths(artifact, some)
        if model.mlp(artifact.parameters) is not None:
            few = sample(some, N_MLP_ROWS)
            mlp = explain_rows(artifact, few).mlp
            mlp_absolute = None if mlp is None else np.average(np.abs(mlp), axis=0, weights=few.weight)
            total = total_interaction(artifact, rows, measured.field_pairs, measured.interaction)
        of_values = sample(rows, max(some.n_rows, N_VALUE_ROWS))
        values = value_pairs(artifact, of_values, measured, n=n_value_pairs)
    importance = None
    if rows.y is not None:
        n_shuffled = max(_MIN_ROWS, _MAX_ENTRIES // (artifact.n_fields * (rows.n_entries // rows.n_rows + 1)))
        importance = permutation_importance(artifact, sample(rows, min(N_IMPORTANCE_ROWS, n_shuffled)))
    return Summary(
        model=model.name,
        field_names=field_names(artifact),
        strengths=measured,
        importance=importance,
        field_pair_weights=None
        if pair_terms is None
        else pair_terms.field_pair_weights(artifact.parameters, artifact.n_fields),
        mlp_absolute=mlp_absolute,
        total=total,
        values=values,
    )


def _encoded(artifact: Artifact, table: Any) -> Rows:
    from anyfm.data.readers import read_table

    encoder = artifact.require_encoder()
    frame = read_table(table, text_columns=encoder.text_columns)
    target = encoder.schema.target
    return encoder.encode(frame, labelled=target is not None and target.name in frame.columns).rows


def _sorted(columns: dict[str, Any], order: Doubles) -> Frame:
    import polars as pl

    places = np.argsort(-np.nan_to_num(order, nan=-np.inf), kind="stable")
    return pl.DataFrame({name: column[places] for name, column in columns.items()}).fill_nan(None)
