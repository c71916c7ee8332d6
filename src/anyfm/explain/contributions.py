"""The terms whose sum is a row's logit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.atomic import replaced_file
from anyfm.core.errors import SettingError, got
from anyfm.core.forks import check_polars
from anyfm.core.html import html_table
from anyfm.core.rows import Rows
from anyfm.core.task import Task
from anyfm.explain.integrated_gradients import integrated_gradients
from anyfm.explain.names import column_values, encoded_values, field_names
from anyfm.explain.terms import FieldPairs, Indices, blocks, field_pairs
from anyfm.models.pairs import Doubles

if TYPE_CHECKING:
    from anyfm.data.readers import Frame

BIAS, LINEAR, PAIR = "bias", "linear", "pair"
MLP, MLP_BASELINE, RESIDUAL = "mlp", "mlp baseline", "residual"
REST = {LINEAR: "rest linear", PAIR: "rest pair", MLP: "rest mlp"}
_NAMES = {
    MLP_BASELINE: "MLP baseline (all vectors 0)",
    RESIDUAL: "residual of the integrated gradients",
    REST[LINEAR]: "other fields ({})",
    REST[PAIR]: "other pairs ({})",
    REST[MLP]: "other fields, MLP ({})",
}
N_TERMS = 12  # that are shown of a row
_N_HTML_TERMS, _MAX_NAME = 12, 80
_NONE = -1  # no field


@dataclass(frozen=True, eq=False)
class Term:
    """One term of one row's logit.

    Parameters
    ----------
    kind : str
        "bias", "linear", "pair"; for a model with a multilayer perceptron "mlp" (the integrated gradient of a field),
        "mlp baseline" and "residual" (of the integrated gradients); "rest linear", "rest pair", "rest mlp" (the sum of
        the terms of that kind that are not listed).
    fields, values : tuple of str
        The names of no, one or two fields, and their values in this row.
    contribution : float
        In units of the logit (for regression, of the target).
    attention : float, optional
        The weight of the pair among the pairs of its row, a factor of `contribution`; of models with attention.
    n_terms : int
        How many terms it is the sum of.
    """

    kind: str
    fields: tuple[str, ...]
    values: tuple[str, ...]
    contribution: float
    attention: float | None = None
    n_terms: int = 1

    @property
    def unweighted(self) -> float | None:
        """The pair's term before attention: contribution = attention · unweighted; None if attention is 0 or None."""
        return self.contribution / self.attention if self.attention else None

    @property
    def name(self) -> str:
        """ "gender=F × device=phone", "pairs within tags=a | b", or what a term of no field is."""
        if not self.fields:
            return _NAMES.get(self.kind, self.kind).format(self.n_terms)
        if len(self.fields) == 2 and self.fields[0] == self.fields[1]:
            return f"pairs within {self.fields[0]}={self.values[0]}"
        name = " × ".join(f"{field}={value}" for field, value in zip(self.fields, self.values, strict=True))
        return f"{name} (MLP)" if self.kind == MLP else name

    def to_dict(self) -> dict[str, Any]:
        """The term as a flat dict, ready for JSON."""
        plain: dict[str, Any] = {"kind": self.kind}
        for prefix, field, value in zip(("", "other_"), self.fields, self.values, strict=False):
            plain |= {f"{prefix}field": field, f"{prefix}value": value}
        plain["contribution"] = self.contribution
        if self.n_terms > 1:
            plain["n_terms"] = self.n_terms
        if self.attention is not None:
            plain |= {"attention": self.attention, "unweighted": self.unweighted}
        return plain


@dataclass(frozen=True, eq=False)
class _Columns:
    """What the terms of every row are: T terms. `first` and `second` are fields, −1 for none; arrays of shape (T,)."""

    kinds: NDArray[np.str_]
    first: Indices
    second: Indices

    @cached_property
    def rest_kinds(self) -> list[str]:
        return [rest for kind, rest in REST.items() if kind in self.kinds]


@dataclass(frozen=True, eq=False)
class _Selection:
    """Terms of some rows, row by row; arrays of shape (n,). A `column` from T on is the rest of a kind."""

    row: Indices
    column: Indices
    contribution: Doubles
    n_terms: Indices


@dataclass(frozen=True, eq=False, repr=False)
class Contributions:
    """The terms of every row's logit; they add up to it up to rounding. F fields, P pairs of fields.

    Parameters
    ----------
    model : str
    task : Task
    field_names : tuple of str
    values : tuple of tuple of str
        For each field, its value in each row as text.
    bias : float
    linear : float64 array of shape (n_rows, F)
    field_pairs : FieldPairs
    pairs : float64 array of shape (n_rows, P)
    attention : float64 array of shape (n_rows, P), optional
        The attention weights, of a model that has them; they sum to 1 over a row with a pair.
    mlp : float64 array of shape (n_rows, F), optional
        The integrated gradients of the multilayer perceptron, of a model that has one.
    mlp_baseline : float
        The perceptron's logit where all vectors are 0.
    residual : float64 array of shape (n_rows,), optional
        The error of the integrated gradients.
    logit_range : tuple of float, optional
        What the logits of `predictions` are clipped to. The terms add up to the logit that is not clipped.
    """

    model: str
    task: Task
    field_names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    bias: float
    linear: Doubles
    field_pairs: FieldPairs
    pairs: Doubles
    attention: Doubles | None = None
    mlp: Doubles | None = None
    mlp_baseline: float = 0.0
    residual: Doubles | None = None
    logit_range: tuple[float, float] | None = None

    @property
    def n_rows(self) -> int:
        return len(self.linear)

    @cached_property
    def logits(self) -> Doubles:
        """The sum of all terms, float64 of shape (n_rows,)."""
        return np.asarray(self._matrix(slice(None)).sum(axis=1))

    @cached_property
    def predictions(self) -> Doubles:
        """Probabilities of the positive class, or numbers, shape (n_rows,), as `Model.predict` gives them."""
        logits = self.logits if self.logit_range is None else self.logits.clip(*self.logit_range)
        return np.asarray(self.task.predictions(logits))

    def __repr__(self) -> str:
        n_terms = len(self._columns.kinds)
        return f"Contributions({self.model}: {self.n_rows:,} rows, {len(self.field_names)} fields, {n_terms:,} terms)"

    def _repr_html_(self) -> str:
        """The strongest terms of the first row."""
        if self.n_rows == 0:
            return html_table([repr(self)], [])
        terms = self.terms(0, top=_N_HTML_TERMS)
        rows = [(f"{term.contribution:+.4f}", _shortened(term.name)) for term in terms]
        return html_table(["contribution", f"row 1 of {self.n_rows:,}: {self._score(0)}"], rows)

    def terms(self, row: int, *, top: int | None = None) -> list[Term]:
        """The terms of one row (counted from 0), strongest first, after those of no field.

        Parameters
        ----------
        top : int, optional
            Only the strongest `top`, and for each kind one term with the sum of the others.
        """
        if not 0 <= row < self.n_rows:
            raise SettingError(got(f"a row must lie in 0 … {self.n_rows - 1}", row=row))
        return list(self._terms(row, self._select(slice(row, row + 1), top)))

    def _terms(self, row: int, chosen: _Selection) -> Iterator[Term]:
        columns = self._columns
        first_pair = 1 + len(self.field_names)
        for column, contribution, n_terms in zip(chosen.column, chosen.contribution, chosen.n_terms, strict=True):
            if column >= len(columns.kinds):
                rest_kind = columns.rest_kinds[column - len(columns.kinds)]
                yield Term(rest_kind, (), (), float(contribution), n_terms=int(n_terms))
                continue
            kind = str(columns.kinds[column])
            fields = [int(field) for field in (columns.first[column], columns.second[column]) if field != _NONE]
            has_attention = kind == PAIR and self.attention is not None
            yield Term(
                kind,
                tuple(self.field_names[field] for field in fields),
                tuple(self.values[field][row] for field in fields),
                float(contribution),
                float(self.attention[row, column - first_pair]) if has_attention else None,  # type: ignore[index]
            )

    def describe(self, row: int = 0, *, top: int | None = N_TERMS) -> str:
        """One row's terms as text: contribution, name and attention."""
        lines = [f"predicted {self._score(row)}, the sum of these contributions:"]
        if self.attention is not None:
            lines[0] += " (of pairs: attention × unweighted)"
        for term in self.terms(row, top=top):
            weight = "" if term.unweighted is None else f"   attention {term.attention:.3f} × {term.unweighted:+.4f}"
            lines.append(f"  {term.contribution:+9.4f}  {term.name}{weight}")
        return "\n".join(lines)

    def table(self, *, top: int | None = None) -> Frame:
        """The terms of every row as a long table (a polars data frame; ``.to_pandas()`` makes it a pandas one).

        Parameters
        ----------
        top : int, optional
            Of each row only the strongest `top` terms, and for each kind one term with the sum of the others.

        Returns
        -------
        polars DataFrame
            Columns row (from 1), kind, field, value, other_field, other_value (null where there is none),
            contribution, attention and unweighted (null without attention; contribution = attention · unweighted).
            The contributions of a row add up to its logit; its strongest terms come first.
        """
        import polars as pl

        columns, n_rows = self._columns, self.n_rows
        chosen = self._select(slice(None), top)
        n_columns = len(columns.kinds)
        is_rest = chosen.column >= n_columns
        column = np.where(is_rest, 0, chosen.column)
        kinds = pl.Series([*map(str, columns.kinds), *columns.rest_kinds], dtype=pl.String)
        names = pl.Series([*self.field_names, None], dtype=pl.String)
        texts = pl.Series([*(text for of_field in self.values for text in of_field), None], dtype=pl.String)
        table: dict[str, Any] = {"row": chosen.row + 1, "kind": kinds.gather(chosen.column)}
        for prefix, of_columns in (("", columns.first), ("other_", columns.second)):
            field = np.where(is_rest, _NONE, of_columns[column])
            has_none = field == _NONE
            table[f"{prefix}field"] = names.gather(np.where(has_none, len(names) - 1, field))
            table[f"{prefix}value"] = texts.gather(np.where(has_none, len(texts) - 1, field * n_rows + chosen.row))
        attention = np.full(len(column), np.nan)
        if self.attention is not None:
            is_pair = ~is_rest & (columns.kinds == PAIR)[column]
            attention[is_pair] = self.attention[chosen.row[is_pair], column[is_pair] - 1 - len(self.field_names)]
        unweighted = np.divide(chosen.contribution, attention, out=np.full(len(column), np.nan), where=attention > 0)
        weights = pl.DataFrame({"attention": attention, "unweighted": unweighted}).fill_nan(None)
        return pl.DataFrame({**table, "contribution": chosen.contribution}).hstack(weights)

    def to_dict(self, *, top: int | None = None) -> dict[str, Any]:
        """The rows with their terms, ready for JSON."""
        rows = (
            {"row": row + 1, "logit": float(logit), "prediction": float(prediction)}
            for row, (logit, prediction) in enumerate(zip(self.logits, self.predictions, strict=True))
        )
        return {
            "model": self.model,
            "rows": [{**row, "terms": [t.to_dict() for t in self.terms(i, top=top)]} for i, row in enumerate(rows)],
        }

    def write(self, path: str | Path, *, top: int | None = None) -> None:
        """Write the long table (.parquet, .csv, .tsv, .arrow, .jsonl), or for .json what `to_dict` gives."""
        if Path(path).suffix.lower() == ".json":
            with replaced_file(Path(path)) as file:
                text = json.dumps(self.to_dict(top=top), ensure_ascii=False) + "\n"
                file.write(text.encode(errors="backslashreplace"))
            return
        from anyfm.data.readers import write_table

        write_table(self.table(top=top), path)

    def _score(self, row: int) -> str:
        logit, prediction = float(self.logits[row]), float(self.predictions[row])
        if self.task.is_classification:
            return f"probability {prediction:.4f}, logit {logit:+.4f}"
        if not self.task.logit_is_prediction:
            return f"{prediction:.4f}, logit {logit:+.4f}"
        if prediction != float(self.task.predictions(self.logits[row])):
            return f"{prediction:.4f}, clipped to the range of the training targets from the logit {logit:.4f}"
        return f"{logit:.4f}"

    @cached_property
    def _columns(self) -> _Columns:
        fields, pairs = np.arange(self.linear.shape[1]), self.field_pairs
        none, no_fields = np.array([_NONE]), np.full(len(fields), _NONE)
        parts = [(BIAS, none, none), (LINEAR, fields, no_fields), (PAIR, pairs.first, pairs.second)]
        if self.mlp is not None:
            parts += [(MLP_BASELINE, none, none), (MLP, fields, no_fields), (RESIDUAL, none, none)]
        kinds = np.repeat([kind for kind, _, _ in parts], [len(first) for _, first, _ in parts])
        return _Columns(kinds, *(np.concatenate([part[side] for part in parts]) for side in (1, 2)))

    def _matrix(self, rows: slice) -> Doubles:
        """All terms of some rows, in the order of `_columns`, (n, T)."""
        ones = np.ones((len(self.linear[rows]), 1))
        parts = [self.bias * ones, self.linear[rows], self.pairs[rows]]
        if self.mlp is not None and self.residual is not None:
            parts += [self.mlp_baseline * ones, self.mlp[rows], self.residual[rows, None]]
        return np.concatenate(parts, axis=1)

    def _select(self, rows: slice, top: int | None) -> _Selection:
        """Of each row the terms of no field, its `top` strongest (all for None), and for each kind the sum of the rest.

        A row with one value of a field has no pair within it.
        """
        columns, terms = self._columns, self._matrix(rows)
        n_rows, n_columns = terms.shape
        exists = (terms != 0.0) | (columns.first != columns.second) | (columns.first == _NONE)
        has_field = columns.first != _NONE
        strength = np.where(exists, np.where(has_field, np.abs(terms), np.inf), -1.0)
        order = np.argsort(-strength, axis=1, kind="stable")
        n_chosen = n_columns if top is None else min(top + int((~has_field).sum()), n_columns)
        chosen = order[:, :n_chosen]
        is_left_out = exists.copy()
        np.put_along_axis(is_left_out, chosen, False, axis=1)
        column, count = [chosen], [np.take_along_axis(exists, chosen, axis=1).astype(np.int64)]
        contribution = [np.take_along_axis(terms, chosen, axis=1)]
        for place, (kind, _) in enumerate(item for item in REST.items() if item[1] in columns.rest_kinds):
            of_kind = is_left_out & (columns.kinds == kind)
            column.append(np.full((n_rows, 1), n_columns + place))
            count.append(of_kind.sum(axis=1, keepdims=True))
            contribution.append(np.where(of_kind, terms, 0.0).sum(axis=1, keepdims=True))
        n_terms = np.concatenate(count, axis=1)
        row = np.broadcast_to(np.arange(n_rows)[:, None], n_terms.shape)
        there = n_terms > 0
        columns_, contributions = np.concatenate(column, axis=1), np.concatenate(contribution, axis=1)
        return _Selection(row[there], columns_[there], contributions[there], n_terms[there])


def explain(artifact: Artifact, table: Any) -> Contributions:
    """The contributions to the logit of every row.

    Parameters
    ----------
    artifact : Artifact
    table : Rows, or whatever `anyfm.data.readers.read_table` reads
        A table needs the columns of the model's fields.

    Raises
    ------
    InputError
        A column is missing, or an id lies outside the model's features.
    """
    if isinstance(table, Rows):
        return replace(explain_rows(artifact, table), values=encoded_values(artifact, table))
    check_polars("explaining a table")
    from anyfm.data.readers import read_table

    encoder = artifact.require_encoder()
    frame = read_table(table, text_columns=encoder.text_columns)
    texts = {name: column_values(frame, name) for name in encoder.columns if name in frame.columns}
    found = explain_rows(artifact, encoder.encode(frame).rows)
    return replace(found, values=tuple(texts[field.column] for field in encoder.fields))


def explain_rows(artifact: Artifact, rows: Rows) -> Contributions:
    """The contributions of encoded rows, without the texts of their values."""
    pairs = field_pairs(artifact, rows)
    shape = (rows.n_rows, artifact.n_fields)
    linear, of_pairs = np.zeros(shape), np.zeros((rows.n_rows, len(pairs)))
    pair_terms, network = artifact.model.pair_terms(), artifact.model.mlp(artifact.parameters)
    attention = np.zeros(of_pairs.shape) if pair_terms is not None and pair_terms.has_weights else None
    mlp, residual = (None, None) if network is None else (np.zeros(shape), np.zeros(rows.n_rows))
    baseline = 0.0
    for block in blocks(artifact, rows):
        here = slice(block.start, block.stop)
        linear[here] = block.linear()
        if block.vectors is None:
            continue
        of_pairs[here] = block.by_pair(block.slot_pairs(block.vectors, block.vectors), pairs)
        if attention is not None and block.attention is not None:
            attention[here] = block.by_pair(block.attention, pairs)
        if network is not None and mlp is not None and residual is not None:
            part = integrated_gradients(network, block.by_field(block.vectors))
            mlp[here], residual[here], baseline = part.fields, part.residual, part.baseline
    return Contributions(
        model=artifact.model.name,
        task=artifact.model.task,
        field_names=field_names(artifact),
        values=tuple(("",) * rows.n_rows for _ in range(artifact.n_fields)),
        bias=float(artifact.parameters["bias"][0]),
        linear=linear,
        field_pairs=pairs,
        pairs=of_pairs,
        attention=attention,
        mlp=mlp,
        mlp_baseline=baseline,
        residual=residual,
        logit_range=artifact.logit_range,
    )


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
