"""Contributions as one long table, and the values of a column as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.explain.contributions import REST
from anyfm.models.pairs import Doubles

if TYPE_CHECKING:
    from anyfm.data.readers import Frame
    from anyfm.explain.contributions import Contributions

MISSING_TEXT = "<missing>"
_NONE = -1


def tidy(contributions: Contributions, *, top: int | None = None) -> Frame:
    """See `Contributions.table`."""
    from anyfm.data.readers import read_table

    terms, kinds, first, second, attention = _columns(contributions)
    n_rows, n_terms = terms.shape
    rest_kinds = [REST[kind] for kind in REST if kind in kinds]
    if top is None or top >= n_terms:
        term = np.tile(np.arange(n_terms), n_rows)
        row = np.repeat(np.arange(n_rows), n_terms)
        contribution = terms.reshape(-1)
    else:
        row, term, contribution = _strongest(terms, kinds, top)
    is_rest = term >= n_terms
    kind_names = [*dict.fromkeys(kinds), *rest_kinds]
    of_term = np.array([kind_names.index(kind) for kind in [*kinds, *rest_kinds]])
    names = _texts(contributions.field_names)
    texts = _texts([text for values in contributions.values for text in values])
    table: dict[str, Any] = {"row": row + 1, "kind": _texts(kind_names).gather(of_term[term])}
    for prefix, of_terms in (("", first), ("other_", second)):
        field = np.where(is_rest, _NONE, of_terms[np.where(is_rest, 0, term)])
        table |= {
            f"{prefix}field": names.gather(np.where(field == _NONE, len(names) - 1, field)),
            f"{prefix}value": texts.gather(np.where(field == _NONE, len(texts) - 1, field * n_rows + row)),
        }
    table["contribution"] = contribution
    weights = np.full(len(row), np.nan)
    if attention is not None:
        weights[~is_rest] = attention[row[~is_rest], term[~is_rest]]
    weighed = np.divide(contribution, weights, out=np.full(len(row), np.nan), where=weights > 0)
    frame = read_table(table)
    return frame.with_columns(**read_table({"attention": weights, "weighed": weighed}).fill_nan(None).to_dict())


def _texts(texts: Sequence[str]) -> Any:
    """A polars series of the texts, with null after the last."""
    from anyfm.data.readers import read_table

    return read_table({"text": [*texts, None]})["text"]


def _columns(
    given: Contributions,
) -> tuple[Doubles, list[str], NDArray[np.int64], NDArray[np.int64], Doubles | None]:
    """Terms side by side, (n_rows, T); of each the kind, first and second field (−1: none); attention, (n_rows, T)."""
    n_rows, n_fields = given.linear.shape
    each = np.arange(n_fields)
    none = np.full(n_fields, _NONE)
    alone = np.array([_NONE])
    parts: list[tuple[str, Any, Any, Any]] = [
        ("bias", np.full((n_rows, 1), given.bias), alone, alone),
        ("linear", given.linear, each, none),
        ("pair", given.pairs, given.field_pairs.first, given.field_pairs.second),
    ]
    if given.deep is not None and given.residual is not None:
        parts += [
            ("deep baseline", np.full((n_rows, 1), given.deep_baseline), alone, alone),
            ("deep", given.deep, each, none),
            ("residual", given.residual[:, None], alone, alone),
        ]
    attention = None
    if given.attention is not None:
        blank = np.full((n_rows, 1 + n_fields), np.nan)
        attention = np.concatenate([blank, given.attention], axis=1)
    return (
        np.concatenate([part[1] for part in parts], axis=1),
        [part[0] for part in parts for _ in range(part[1].shape[1])],
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
        attention,
    )


def _strongest(
    terms: Doubles, kinds: list[str], top: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Row, term and contribution of each row's `top` strongest terms, after those of no field; then what is left.

    Terms from T on are the rest of each kind in the order of `REST`, where a row has one.
    """
    n_rows, n_terms = terms.shape
    fieldless = np.array([kind not in REST for kind in kinds])
    strength = np.where(fieldless, np.inf, np.abs(terms))
    kept = min(top + int(fieldless.sum()), n_terms)
    order = np.argsort(-strength, axis=1, kind="stable")
    chosen, others = order[:, :kept], order[:, kept:]
    left_out = np.zeros(terms.shape, bool)
    np.put_along_axis(left_out, others, True, axis=1)
    columns, sums, there = [chosen], [np.take_along_axis(terms, chosen, axis=1)], [np.ones(chosen.shape, bool)]
    for place, kind in enumerate(kind for kind in REST if kind in kinds):
        of_kind = left_out & (np.array(kinds) == kind)
        columns.append(np.full((n_rows, 1), n_terms + place))
        sums.append(np.where(of_kind, terms, 0.0).sum(axis=1, keepdims=True))
        there.append(of_kind.any(axis=1, keepdims=True))
    exists = np.concatenate(there, axis=1)
    row = np.broadcast_to(np.arange(n_rows)[:, None], exists.shape)
    return row[exists], np.concatenate(columns, axis=1)[exists], np.concatenate(sums, axis=1)[exists]


def column_texts(frame: Frame, name: str) -> tuple[str, ...]:
    """The values of a column as text; several of one row are joined by bars."""
    return tuple(map(value_text, frame[name].to_list()))


def value_text(value: Any) -> str:
    """A value as people write it."""
    if value is None or value != value:
        return MISSING_TEXT
    if isinstance(value, (list, tuple)):
        return " | ".join(map(value_text, value))
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)
