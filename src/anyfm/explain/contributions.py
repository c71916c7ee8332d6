"""Why one row scores as it does: the terms whose sum is its logit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.errors import SettingError, got
from anyfm.core.rows import Rows
from anyfm.explain.deep import attribute
from anyfm.explain.terms import FieldPairs, blocks, field_pairs
from anyfm.models.pairs import Doubles

if TYPE_CHECKING:
    from anyfm.data.readers import Frame

BIAS, LINEAR, PAIR = "bias", "linear", "pair"
DEEP, DEEP_BASELINE, RESIDUAL = "deep", "deep baseline", "residual"
REST = {LINEAR: "rest linear", PAIR: "rest pair", DEEP: "rest deep"}
_NAMES = {
    DEEP_BASELINE: "deep half of a row without values",
    RESIDUAL: "residual of the deep half's parts",
    REST[LINEAR]: "other fields alone ({})",
    REST[PAIR]: "other pairs ({})",
    REST[DEEP]: "other fields, deep ({})",
}


@dataclass(frozen=True, eq=False)
class Term:
    """One term of one row's logit.

    Parameters
    ----------
    kind : str
        "bias", "linear", "pair", "deep" (a field's part of DeepFM's deep half), "deep baseline", "residual" (what
        integrated gradients leave over), or "rest linear", "rest pair", "rest deep" (the sum of the terms of that
        kind that were left out).
    fields, values : tuple of str
        None, one or two field names, and their values in this row.
    contribution : float
        In units of the logit (for regression, of the target).
    attention : float, optional
        AFM: the weight of the pair among the pairs of its row, part of `contribution`.
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
    def weighed(self) -> float | None:
        """AFM: the term that attention weighs, so that contribution = attention · weighed; None if attention is 0."""
        return self.contribution / self.attention if self.attention else None

    @property
    def is_within(self) -> bool:
        """Whether it is of the pairs that several values of one field (tags) make."""
        return len(self.fields) == 2 and self.fields[0] == self.fields[1]

    @property
    def name(self) -> str:
        """ "gender=F × device=phone", "pairs within tags=a | b", or what a term of no field is."""
        if not self.fields:
            return _NAMES.get(self.kind, self.kind).format(self.n_terms)
        if self.is_within:
            return f"pairs within {self.fields[0]}={self.values[0]}"
        named = " × ".join(f"{field}={value}" for field, value in zip(self.fields, self.values, strict=True))
        return f"{named} (deep)" if self.kind == DEEP else named


@dataclass(frozen=True, eq=False)
class Contributions:
    """The terms of every row's logit. They add up to it, to rounding.

    Parameters
    ----------
    model, task : str
    field_names : tuple of str
    values : tuple of tuple of str
        For each field, its value in each row as text.
    bias : float
    linear : float64 array of shape (n_rows, n_fields)
    field_pairs : FieldPairs
        Of P pairs of fields.
    pairs : float64 array of shape (n_rows, P)
    attention : float64 array of shape (n_rows, P), optional
        AFM: the weights; they sum to 1 over a row with a pair.
    deep : float64 array of shape (n_rows, n_fields), optional
        DeepFM: integrated gradients of the deep half.
    deep_baseline : float
    residual : float64 array of shape (n_rows,), optional
        DeepFM: what the integrated gradients leave over.
    """

    model: str
    task: str
    field_names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    bias: float
    linear: Doubles
    field_pairs: FieldPairs
    pairs: Doubles
    attention: Doubles | None = None
    deep: Doubles | None = None
    deep_baseline: float = 0.0
    residual: Doubles | None = None

    @property
    def n_rows(self) -> int:
        return len(self.linear)

    @property
    def logits(self) -> Doubles:
        """The sum of all terms, float64 of shape (n_rows,)."""
        total = self.bias + self.deep_baseline + self.linear.sum(axis=1) + self.pairs.sum(axis=1)
        for part in (self.deep, None if self.residual is None else self.residual[:, None]):
            total = total if part is None else total + part.sum(axis=1)
        return np.asarray(total)

    @property
    def predictions(self) -> Doubles:
        """Probabilities of the positive class, or for regression the logits, shape (n_rows,)."""
        return 0.5 * (1.0 + np.tanh(0.5 * self.logits)) if self.task == "binary" else self.logits

    def terms(self, row: int, *, top: int | None = None) -> list[Term]:
        """The terms of one row (counted from 0), strongest first; bias and DeepFM's baseline come before all others.

        Parameters
        ----------
        top : int, optional
            Keep so many, and add for each kind one term with the sum of the others.
        """
        if not 0 <= row < self.n_rows:
            raise SettingError(got(f"a row must lie in 0 … {self.n_rows - 1}", row=row))
        fixed = [Term(BIAS, (), (), self.bias)]
        if self.deep is not None:
            fixed.append(Term(DEEP_BASELINE, (), (), self.deep_baseline))
        found = [self._term(kind, row, place) for kind, place in self._places()]
        # A row with one value of a field has no pair within it.
        found = [term for term in found if term.contribution != 0.0 or not term.is_within]
        found.sort(key=lambda term: -abs(term.contribution))
        if self.residual is not None:
            fixed.append(Term(RESIDUAL, (), (), float(self.residual[row])))
        if top is None or len(found) <= top:
            return [*fixed, *found]
        rest = []
        for kind, rest_kind in REST.items():
            others = [term.contribution for term in found[top:] if term.kind == kind]
            if others:
                rest.append(Term(rest_kind, (), (), sum(others), n_terms=len(others)))
        return [*fixed, *found[:top], *rest]

    def _places(self) -> list[tuple[str, int]]:
        places = [(LINEAR, field) for field in range(self.linear.shape[1])]
        places += [(PAIR, pair) for pair in range(len(self.field_pairs))]
        return places if self.deep is None else [*places, *((DEEP, field) for field in range(self.deep.shape[1]))]

    def _term(self, kind: str, row: int, place: int) -> Term:
        fields: tuple[int, ...] = (place,)
        contributions = self.linear if kind == LINEAR else self.deep
        attention = None
        if kind == PAIR:
            fields = (int(self.field_pairs.first[place]), int(self.field_pairs.second[place]))
            contributions = self.pairs
            attention = None if self.attention is None else float(self.attention[row, place])
        assert contributions is not None
        names = tuple(self.field_names[field] for field in fields)
        values = tuple(self.values[field][row] for field in fields)
        return Term(kind, names, values, float(contributions[row, place]), attention)

    def describe(self, row: int = 0, *, top: int | None = 12) -> str:
        """One row's terms as text for people: contribution, attention, what it comes from."""
        terms = self.terms(row, top=top)
        logit, prediction = float(self.logits[row]), float(self.predictions[row])
        score = f"probability {prediction:.4f}, logit {logit:+.4f}" if self.task == "binary" else f"{prediction:.4f}"
        lines = [f"predicted {score}, the sum of"]
        for term in terms:
            weight = "" if term.weighed is None else f"   attention {term.attention:.3f} of {term.weighed:+.4f}"
            lines.append(f"  {term.contribution:+9.4f}  {term.name}{weight}")
        return "\n".join(lines)

    def table(self, *, top: int | None = None) -> Frame:
        """Every term of every row as a tidy table (a polars data frame; ``.to_pandas()`` makes it a pandas one).

        Returns
        -------
        polars DataFrame
            Columns row (from 1), kind, field, value, other_field, other_value (null where there is none),
            contribution, attention and weighed (null but for AFM; contribution = attention · weighed). The
            contributions of a row add up to its logit.

        Parameters
        ----------
        top : int, optional
            For each row only its strongest terms, and for each kind one with the sum of the others.
        """
        from anyfm.explain.tidy import tidy

        return tidy(self, top=top)

    def to_dict(self, *, top: int | None = None) -> dict[str, Any]:
        """The rows with their terms, ready for JSON."""
        logits, predictions = self.logits, self.predictions
        return {
            "model": self.model,
            "rows": [
                {
                    "row": row + 1,
                    "logit": float(logits[row]),
                    "prediction": float(predictions[row]),
                    "terms": [_plain(term) for term in self.terms(row, top=top)],
                }
                for row in range(self.n_rows)
            ],
        }

    def write(self, path: str | Path, *, top: int | None = None) -> None:
        """Write the tidy table (.parquet, .csv, .tsv, .arrow, .jsonl), or for .json what `to_dict` gives."""
        if Path(path).suffix.lower() == ".json":
            Path(path).write_text(json.dumps(self.to_dict(top=top), ensure_ascii=False) + "\n", encoding="utf-8")
            return
        from anyfm.data.readers import write_table

        write_table(self.table(top=top), path)


def explain(artifact: Artifact, table: Any) -> Contributions:
    """Take apart the logit of every row.

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
        return replace(explain_rows(artifact, table), values=labels_of_rows(artifact, table))
    from anyfm.data.readers import read_table
    from anyfm.explain.tidy import column_texts

    encoder = artifact.require_encoder()
    frame = read_table(table, text_columns=encoder.text_columns)
    texts = {name: column_texts(frame, name) for name in encoder.columns if name in frame.columns}
    found = explain_rows(artifact, encoder.encode(frame).rows)
    return replace(found, values=tuple(texts[field.column] for field in encoder.fields))


def explain_rows(artifact: Artifact, rows: Rows) -> Contributions:
    """The contributions of encoded rows, without the texts of their values."""
    pairs = field_pairs(artifact, rows)
    shape = (rows.n_rows, artifact.n_fields)
    linear, of_pairs = np.zeros(shape), np.zeros((rows.n_rows, len(pairs)))
    attention: Doubles | None = None
    network = artifact.model.mlp(artifact.parameters)
    deep = None if network is None else np.zeros(shape)
    residual = None if network is None else np.zeros(rows.n_rows)
    baseline = 0.0
    for block in blocks(artifact, rows):
        here = slice(block.start, block.stop)
        linear[here] = block.linear()
        if block.vectors is not None and len(pairs):
            of_pairs[here] = block.by_pair(block.slot_pairs(block.vectors, block.vectors), pairs)
        if block.attention is not None:
            attention = np.zeros(of_pairs.shape) if attention is None else attention
            attention[here] = block.by_pair(block.attention, pairs)
        if network is not None and deep is not None and residual is not None:
            assert block.vectors is not None
            part = attribute(network, block.by_field(block.vectors))
            deep[here], residual[here], baseline = part.fields, part.residual, part.baseline
    return Contributions(
        model=artifact.model.name,
        task=artifact.model.settings.task,
        field_names=field_names(artifact),
        values=tuple(("",) * rows.n_rows for _ in range(artifact.n_fields)),
        bias=float(artifact.parameters["bias"][0]),
        linear=linear,
        field_pairs=pairs,
        pairs=of_pairs,
        attention=attention,
        deep=deep,
        deep_baseline=baseline,
        residual=residual,
    )


def field_names(artifact: Artifact) -> tuple[str, ...]:
    """The names of the fields; "field 1", "field 2", … for a model without an encoder."""
    if artifact.encoder is not None:
        return tuple(artifact.encoder.field_names)
    return tuple(f"field {number + 1}" for number in range(artifact.n_fields))


def labels_of_rows(artifact: Artifact, rows: Rows) -> tuple[tuple[str, ...], ...]:
    """What the encoder calls the value of each field in each row; ids for a model without an encoder."""
    lists: list[list[list[str]]] = [[[] for _ in range(rows.n_rows)] for _ in range(artifact.n_fields)]
    for block in blocks(artifact, rows):
        names = _names(artifact, block.ids[block.batch.present])
        row, slot = np.nonzero(block.batch.present)
        fields = np.broadcast_to(block.batch.fields, block.batch.present.shape)[row, slot]
        for field, at, name in zip(fields.tolist(), (row + block.start).tolist(), names, strict=True):
            lists[field][at].append(name)
    return tuple(tuple(" | ".join(texts) for texts in rows_of) for rows_of in lists)


def _names(artifact: Artifact, ids: Any) -> Sequence[str]:
    if artifact.encoder is None:
        return [f"id {number}" for number in ids.tolist()]
    known: dict[int, str] = {}
    encoder = artifact.encoder
    for number in np.unique(ids).tolist():
        known[number] = str(encoder.feature(number)[1])
    return [known[number] for number in ids.tolist()]


def _plain(term: Term) -> dict[str, Any]:
    plain: dict[str, Any] = {"kind": term.kind}
    for name, field, value in zip(("", "other_"), term.fields, term.values, strict=False):
        plain |= {f"{name}field": field, f"{name}value": value}
    plain["contribution"] = term.contribution
    if term.n_terms > 1:
        plain["n_terms"] = term.n_terms
    return plain if term.attention is None else {**plain, "attention": term.attention, "weighed": term.weighed}
