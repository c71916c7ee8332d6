"""How much each field and each pair of fields contributes to the variation of the logit over a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.perturbation import logit_function, sample, with_field_of
from anyfm.explain.terms import FieldPairs, blocks, field_pairs
from anyfm.models.pairs import Doubles

N_EXCHANGED_ROWS, MIN_EXCHANGED_ROWS = 2000, 200
MAX_SCORED_ENTRIES = 100_000_000
_TINY = 1e-300


@dataclass(frozen=True, eq=False, repr=False)
class Strengths:
    r"""The strengths of fields and pairs of fields over a table. F fields, P pairs; rows count by weight.

    The mean absolute terms and their fractions of the variance describe the terms that the model adds up. But the same
    logit can be written with many sets of terms: a constant may move from a pair's term to a field's term. So part of
    a field's main effect can be in the terms of its pairs. `interaction` and `main` do not depend on how the logit is
    written: they are those of the functional analysis of variance (fields taken as independent), in which every
    pair's term has mean 0 for each value of either field. With the vectors of each field relative to their mean over
    the rows, :math:`c_i = u_i - \bar u_{f(i)}`, the interaction is :math:`\langle c_i, c_j \rangle`; the rest of the
    pairs' terms belongs to single fields.

    Parameters
    ----------
    field_pairs : FieldPairs
    linear_absolute, linear_variance_fraction : array of shape (F,)
        The mean absolute linear term, and its fraction of the logit's variance: cov(term, logit) / var(logit). The
        fractions of all fields and pairs add up to 1 (without a multilayer perceptron); that of a term which others
        compensate is negative.
    main : array of shape (F,)
        The main effect: the standard deviation over rows of what depends on this field alone, in pair terms too.
    pair_absolute, pair_variance_fraction, interaction : array of shape (P,)
        The same for pairs; `interaction` is the standard deviation over rows of the interaction alone.
    attention : array of shape (P,), optional
        The mean attention weight, of a model that has attention.
    n_rows : int
    means : array of shape (F, …), optional
        The mean vector of each field; None for a model without pairs.
    """

    field_pairs: FieldPairs
    linear_absolute: Doubles
    linear_variance_fraction: Doubles
    main: Doubles
    pair_absolute: Doubles
    pair_variance_fraction: Doubles
    interaction: Doubles
    attention: Doubles | None
    n_rows: int
    means: Doubles | None

    def __repr__(self) -> str:
        return f"Strengths({len(self.main)} fields, {len(self.field_pairs)} pairs, {self.n_rows:,} rows)"

    def matrix(self, of_pairs: Doubles) -> Doubles:
        """A number per pair, (P,), as a symmetric matrix of fields, (F, F); NaN where there is no pair."""
        n_fields = len(self.main)
        square = np.full((n_fields, n_fields), np.nan)
        square[self.field_pairs.first, self.field_pairs.second] = of_pairs
        square[self.field_pairs.second, self.field_pairs.first] = of_pairs
        return square


def strengths(artifact: Artifact, rows: Rows) -> Strengths:
    """Measure the strength of every field and pair of fields over `rows`, in two passes.

    Raises
    ------
    InputError
        An id lies outside the model's features.
    """
    pairs = field_pairs(artifact, rows)
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight.astype(np.float64)
    means = _mean_vectors(artifact, rows, weight)
    linear, main = _Moments(artifact.n_fields), _Moments(artifact.n_fields)
    terms, interaction = _Moments(len(pairs)), _Moments(len(pairs))
    attention = np.zeros(len(pairs))
    for block in blocks(artifact, rows):
        row_weight = weight[block.start : block.stop]
        of_fields = block.linear()
        of_pairs = np.zeros((len(of_fields), len(pairs)))
        main_effect = of_fields
        if block.vectors is not None and means is not None:
            of_pairs = block.by_pair(block.slot_pairs(block.vectors, block.vectors), pairs)
            average = block.spread(means)
            centered = block.vectors - average
            interaction.add(block.by_pair(block.slot_pairs(centered, centered), pairs), row_weight, absolute=False)
            # [f, g]: the term of f's own value with an average g.
            main_effect = of_fields + block.by_fields(block.slot_pairs(centered, average)).sum(axis=2)
            if block.attention is not None:
                attention += row_weight @ block.by_pair(block.attention, pairs)
        total = of_fields.sum(axis=1) + of_pairs.sum(axis=1)
        linear.add(of_fields, row_weight, total)
        terms.add(of_pairs, row_weight, total)
        main.add(main_effect, row_weight)
    pair_terms = artifact.model.pair_terms()
    has_attention = pair_terms is not None and pair_terms.has_weights
    return Strengths(
        field_pairs=pairs,
        linear_absolute=linear.mean_absolute,
        linear_variance_fraction=linear.variance_fraction,
        main=main.deviation,
        pair_absolute=terms.mean_absolute,
        pair_variance_fraction=terms.variance_fraction,
        interaction=interaction.deviation,
        attention=attention / max(weight.sum(), _TINY) if has_attention else None,
        n_rows=rows.n_rows,
        means=means,
    )


def total_interaction(
    artifact: Artifact,
    rows: Rows,
    pairs: FieldPairs,
    strength: Doubles,
    *,
    n_rows: int = N_EXCHANGED_ROWS,
    seed: int = 0,
) -> Doubles:
    r"""The interaction of each pair of fields in the whole model.

    `strengths` reads interactions from pair terms. The interactions of a multilayer perceptron are in no term, so that
    the model is asked as a black box. In rows x, field f, field g and both are given the values of other rows x'. What
    the change of both does beyond the two single changes,
    :math:`\Delta = z(x) - z(x'_f, x_{-f}) - z(x'_g, x_{-g}) + z(x'_{fg}, x_{-fg})`, has mean square
    :math:`4 \Upsilon_{fg}`, where :math:`\Upsilon_{fg}` is the variance of all parts of the functional analysis of
    variance that depend on f and g together (Liu and Owen, JASA 2006, theorem 1; fields taken as independent). Its
    root is returned. For a model of pairs of independent fields it is the interaction of `Strengths`; where two fields
    are dependent it counts combinations that the rows do not have.

    Every pair takes a pass over the sample, so that of hundreds of fields only the strongest pairs are measured.

    Parameters
    ----------
    pairs : FieldPairs
    strength : array of shape (P,)
        By which the strongest pairs are chosen: the interaction of `strengths`.
    n_rows : int
        The size of the random sample of rows; of 2000, the standard error is some percent.

    Returns
    -------
    float64 array of shape (P,)
        NaN for a field with itself, and for a pair that is not measured.
    """
    chosen = sample(rows, n_rows, seed=seed)
    if chosen.n_rows < 2:
        return np.zeros(len(pairs))
    n_entries = max(1, chosen.n_entries)
    if len(pairs) * n_entries > MAX_SCORED_ENTRIES:
        chosen = sample(chosen, max(MIN_EXCHANGED_ROWS, MAX_SCORED_ENTRIES // (len(pairs) * artifact.n_fields)))
    measured = np.argsort(-strength, kind="stable")[: max(1, MAX_SCORED_ENTRIES // max(1, chosen.n_entries))]
    logits = logit_function(artifact)
    # Every row takes the values of the next one in a random order.
    order = np.random.default_rng(seed).permutation(chosen.n_rows)
    donor = np.empty(chosen.n_rows, np.int64)
    donor[order] = np.roll(order, 1)
    weight = None if chosen.weight is None else chosen.weight.astype(np.float64) * chosen.weight[donor]
    donors = chosen.take(donor)
    exchanged = [with_field_of(chosen, field, donors) for field in range(artifact.n_fields)]
    base, single = logits(chosen), [logits(rows_of_field) for rows_of_field in exchanged]
    found = np.full(len(pairs), np.nan)
    for place in measured.tolist():
        first, second = int(pairs.first[place]), int(pairs.second[place])
        if first != second:
            both = logits(with_field_of(exchanged[first], second, donors))
            difference = base - single[first] - single[second] + both
            found[place] = 0.5 * np.sqrt(np.average(difference**2, weights=weight))
    return found


def _mean_vectors(artifact: Artifact, rows: Rows, weight: Doubles) -> Doubles | None:
    """The mean over rows of the sum of each field's scaled vectors, (F, …); None for a model without pairs."""
    total: Doubles | None = None
    for block in blocks(artifact, rows):
        if block.vectors is None:
            return None
        part = np.tensordot(weight[block.start : block.stop], block.by_field(block.vectors), axes=(0, 0))
        total = part if total is None else total + part
    return None if total is None else total / max(weight.sum(), _TINY)


class _Moments:
    """Weighted sums over blocks of n terms, and of their products with the logit."""

    def __init__(self, n: int) -> None:
        self._weight = self._total = self._total_squares = self._total_shift = 0.0
        self._absolute, self._sum, self._squares, self._products = np.zeros((4, n))
        self._shift: Doubles | None = None

    def add(self, terms: Doubles, weight: Doubles, total: Doubles | None = None, *, absolute: bool = True) -> None:
        """Add terms (B, n) of rows with weights and logits of shape (B,); `absolute` says if their mean is wanted."""
        if self._shift is None:  # relative to the mean of the first rows, so that squares do not cancel
            self._shift = terms.mean(axis=0)
            self._total_shift = 0.0 if total is None else float(total.mean())
        self._weight += float(weight.sum())
        if absolute:
            self._absolute += weight @ np.abs(terms)
        shifted = terms - self._shift
        self._sum += weight @ shifted
        self._squares += weight @ shifted**2
        if total is not None:
            shifted_total = total - self._total_shift
            self._total += float(weight @ shifted_total)
            self._total_squares += float(weight @ shifted_total**2)
            self._products += (weight * shifted_total) @ shifted

    @property
    def _n(self) -> float:
        return max(self._weight, _TINY)

    @property
    def mean_absolute(self) -> Doubles:
        return np.asarray(self._absolute / self._n)

    @property
    def deviation(self) -> Doubles:
        return np.sqrt(np.maximum(self._squares / self._n - (self._sum / self._n) ** 2, 0.0))

    @property
    def variance_fraction(self) -> Doubles:
        variance = self._total_squares / self._n - (self._total / self._n) ** 2
        covariance = self._products / self._n - self._sum * self._total / self._n**2
        return np.asarray(covariance / variance) if variance > 0 else np.zeros_like(covariance)
