"""Partial dependence of the logit on the value of one field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.names import value_name
from anyfm.explain.perturbation import logit_function, sample, with_value
from anyfm.models.pairs import Doubles

N_ROWS = 1000
N_VALUES = 40
_SCALED_POINTS = 15
_FIRST_VALUE = 2  # local ids 0 and 1 are unseen and missing


@dataclass(frozen=True, eq=False, repr=False)
class PartialDependence:
    """The change of the mean logit when every row gets the same value of one field (Friedman 2001).

    Parameters
    ----------
    field : str
    ordered : bool
        Whether the values have an order: bins of numbers, parts of dates, few numbers.
    values : tuple of str
        In their order, or the most frequent first.
    effect : array of shape (n_values,)
        Mean logit (for regression, prediction) with this value, minus the mean of the rows as they are.
    count : array of shape (n_values,)
        How often the value occurred in training; NaN for the points of a scaled number.
    n_rows : int
        The size of the sample of rows that it is measured on.
    """

    field: str
    ordered: bool
    values: tuple[str, ...]
    effect: Doubles
    count: Doubles
    n_rows: int

    def __repr__(self) -> str:
        low, high = self.effect.min(initial=0.0), self.effect.max(initial=0.0)
        return f"PartialDependence({self.field}: {len(self.values)} values, effects {low:+.4f} … {high:+.4f})"


def partial_dependence(artifact: Artifact, rows: Rows, field: int, *, n_values: int = N_VALUES) -> PartialDependence:
    """The partial dependence on a field over `rows`: on all values of an ordered field, else on the most frequent.

    Parameters
    ----------
    field : int
        Its index.
    """
    encoder = artifact.require_encoder()
    coder, offset = encoder.fields[field].encoder, int(encoder.field_offsets[field])
    ordered = coder.type in ("bins", "scaled", "part")
    if coder.type == "scaled":
        points = np.linspace(-2.0, 2.0, _SCALED_POINTS)
        trials = [(_FIRST_VALUE, float(point)) for point in points]
        names = [f"{coder.mean + coder.deviation * point:.4g}" for point in points]  # type: ignore[attr-defined]
        counts = np.full(len(points), np.nan)
    else:
        known = np.flatnonzero(coder.counts > 0)
        if not ordered:
            known = known[np.argsort(-coder.counts[known], kind="stable")][:n_values]
        if coder.type == "part" or (coder.type == "categorical" and _has_few_numbers(coder)):
            labels = encoder.field_values(field)
            numbers = [_number(str(labels[local])) for local in known.tolist()]
            known, ordered = known[np.argsort(numbers, kind="stable")], True
        trials = [(local, 1.0) for local in known.tolist()]
        names = [value_name(artifact, offset + local) for local in known.tolist()]
        counts = coder.counts[known].astype(np.float64)
    chosen, logits = sample(rows, N_ROWS), logit_function(artifact)

    def mean_logit(changed: Rows) -> float:
        return float(np.average(logits(changed), weights=chosen.weight))

    base = mean_logit(chosen)
    effect = [mean_logit(with_value(chosen, field, offset + local, x)) - base for local, x in trials]
    return PartialDependence(
        encoder.field_names[field], ordered, tuple(names), np.array(effect, np.float64), counts, chosen.n_rows
    )


def _has_few_numbers(coder: Any) -> bool:
    return coder.key_type in ("int", "float") and coder.n_features <= N_VALUES + _FIRST_VALUE


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # <unseen>, <missing>: before all numbers
        return -np.inf
