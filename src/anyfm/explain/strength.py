"""How much each field and each pair of fields moves the logit over a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.terms import Block, FieldPairs, blocks, field_pairs
from anyfm.models.pairs import Doubles


@dataclass(frozen=True, eq=False)
class Strengths:
    r"""How strong fields and pairs of fields are over a table. F fields, P pairs; rows count by weight.

    Mean absolute terms and their shares describe the terms as the model adds them up. But a model of pairs can write
    the same logit in many ways, since a constant that moves from a pair's term to a field's term changes nothing. So
    an effect of a field alone may hide in the terms of its pairs. `interaction` and `main` do not depend on that: they
    come from the one way to write the logit in which every pair's term has mean 0 for each value of either field (the
    functional analysis of variance, fields taken as independent). Each field's vectors are taken relative to their
    mean over the rows, :math:`c_i = u_i - \bar u_{f(i)}`; then :math:`\langle c_i, c_j \rangle` is the interaction,
    and what is left of the pairs' terms belongs to one field alone.

    Parameters
    ----------
    field_pairs : FieldPairs
    linear_absolute, linear_share : array of shape (F,)
        Mean absolute linear term, and its share of the logit's variance: cov(term, logit) / var(logit). All shares,
        of fields and pairs, add up to 1 (without DeepFM's deep half); a term that the others make up for has a
        negative one.
    main : array of shape (F,)
        Standard deviation over rows of the field's effect on its own, its part of the pair terms included.
    pair_absolute, pair_share, interaction : array of shape (P,)
        Likewise for pairs; `interaction` is the standard deviation over rows of the interaction alone.
    attention : array of shape (P,), optional
        AFM: the mean attention weight.
    n_rows : int
    means : array
        The mean vector of each field, (F, …).
    """

    field_pairs: FieldPairs
    linear_absolute: Doubles
    linear_share: Doubles
    main: Doubles
    pair_absolute: Doubles
    pair_share: Doubles
    interaction: Doubles
    attention: Doubles | None
    n_rows: int
    means: Doubles | None

    def matrix(self, of_pairs: Doubles) -> Doubles:
        """A number per pair as a symmetric matrix of fields, (F, F); NaN where there is no pair."""
        n_fields = len(self.main)
        square = np.full((n_fields, n_fields), np.nan)
        square[self.field_pairs.first, self.field_pairs.second] = of_pairs
        square[self.field_pairs.second, self.field_pairs.first] = of_pairs
        return square


def strengths(artifact: Artifact, rows: Rows) -> Strengths:
    """Measure the strength of every field and pair over `rows`; two passes.

    Raises
    ------
    InputError
        An id lies outside the model's features.
    """
    pairs = field_pairs(artifact, rows)
    weight = np.ones(rows.n_rows) if rows.weight is None else rows.weight.astype(np.float64)
    means = mean_vectors(artifact, rows, weight)
    linear, main = _Moments(artifact.n_fields), _Moments(artifact.n_fields)
    terms, interaction = _Moments(len(pairs)), _Moments(len(pairs))
    attention = np.zeros(len(pairs))
    for block in blocks(artifact, rows):
        share = weight[block.start : block.stop]
        of_fields = block.linear()
        of_pairs = np.zeros((len(of_fields), len(pairs)))
        own = of_fields
        if block.vectors is not None and means is not None:
            of_pairs = block.by_pair(block.slot_pairs(block.vectors, block.vectors), pairs)
            alone, together = _separated(block, means)
            interaction.add(block.by_pair(together, pairs), share)
            own = of_fields + alone
            if block.attention is not None:
                attention += share @ block.by_pair(block.attention, pairs)
        total = of_fields.sum(axis=1) + of_pairs.sum(axis=1)
        linear.add(of_fields, share, total)
        terms.add(of_pairs, share, total)
        main.add(own, share)
    terms_of_model = artifact.model.pair_terms()
    has_attention = terms_of_model is not None and terms_of_model.has_weights
    return Strengths(
        field_pairs=pairs,
        linear_absolute=linear.mean_absolute,
        linear_share=linear.variance_share,
        main=main.deviation,
        pair_absolute=terms.mean_absolute,
        pair_share=terms.variance_share,
        interaction=interaction.deviation,
        attention=attention / max(weight.sum(), 1e-300) if has_attention else None,
        n_rows=rows.n_rows,
        means=means,
    )


def mean_vectors(artifact: Artifact, rows: Rows, weight: Doubles) -> Doubles | None:
    """The mean over rows of the sum of each field's scaled vectors, (F, …); None for a model without pairs."""
    total: Doubles | None = None
    for block in blocks(artifact, rows):
        if block.vectors is None:
            return None
        part = np.tensordot(weight[block.start : block.stop], block.by_field(block.vectors), axes=(0, 0))
        total = part if total is None else total + part
    return None if total is None else total / max(weight.sum(), 1e-300)


def centred_pairs(block: Block, means: Doubles) -> Doubles:
    """The interaction of each pair of slots, (B, S, S): the form of vectors relative to their field's mean."""
    assert block.vectors is not None
    relative = block.vectors - block.spread(means)
    return block.slot_pairs(relative, relative)


def _separated(block: Block, means: Doubles) -> tuple[Doubles, Doubles]:
    """What the pair terms give to each field alone, (B, F), and the interaction of the slots' pairs, (B, S, S)."""
    assert block.vectors is not None
    average = block.spread(means)
    relative = block.vectors - average
    beside = block.by_fields(block.slot_pairs(relative, average))  # [f, g]: f's own value beside an average g
    return beside.sum(axis=2), block.slot_pairs(relative, relative)


class _Moments:
    """Weighted sums over blocks of n terms, and of their products with the logit."""

    def __init__(self, n: int) -> None:
        self._weight = self._total = self._total_squares = 0.0
        self._absolute, self._sum, self._squares, self._products = np.zeros((4, n))
        self._shift: Doubles | None = None
        self._total_shift = 0.0

    def add(self, terms: Doubles, weight: Doubles, total: Doubles | None = None) -> None:
        """Add terms (B, n) of rows with these weights and logits (B,)."""
        if self._shift is None:  # about the first rows' mean, so that squares do not cancel
            self._shift = terms.mean(axis=0)
            self._total_shift = 0.0 if total is None else float(total.mean())
        self._weight += float(weight.sum())
        self._absolute += weight @ np.abs(terms)
        moved = terms - self._shift
        self._sum += weight @ moved
        self._squares += weight @ moved**2
        if total is not None:
            moved_total = total - self._total_shift
            self._total += float(weight @ moved_total)
            self._total_squares += float(weight @ moved_total**2)
            self._products += (weight * moved_total) @ moved

    @property
    def _n(self) -> float:
        return max(self._weight, 1e-300)

    @property
    def mean_absolute(self) -> Doubles:
        return np.asarray(self._absolute / self._n)

    @property
    def deviation(self) -> Doubles:
        return np.sqrt(np.maximum(self._squares / self._n - (self._sum / self._n) ** 2, 0.0))

    @property
    def variance_share(self) -> Doubles:
        variance = self._total_squares / self._n - (self._total / self._n) ** 2
        covariance = self._products / self._n - self._sum * self._total / self._n**2
        return np.asarray(covariance / variance) if variance > 0 else np.zeros_like(covariance)
