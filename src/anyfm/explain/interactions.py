"""How strongly two fields act together in the whole model, asked of it as a black box.

Where pair terms are all there is of interactions, `strength` reads them from the parameters. DeepFM's perceptron has
interactions of its own, in no term; they show in what the model answers only.
"""

from __future__ import annotations

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.effects import replaced, sample, scorer, with_field_of
from anyfm.explain.terms import FieldPairs
from anyfm.models.pairs import Doubles

N_ROWS = 2000


def whole_interaction(
    artifact: Artifact, rows: Rows, pairs: FieldPairs, *, n_rows: int = N_ROWS, seed: int = 0
) -> Doubles:
    r"""The interaction of each pair of fields in the whole model, of shape (P,); NaN for a field with itself.

    In rows x, field f, field g and both are given the values of other rows x'. What the change of both does beyond the
    two single changes, :math:`\Delta = z(x) - z(x'_f, x_{-f}) - z(x'_g, x_{-g}) + z(x'_{fg}, x_{-fg})`, has mean
    square :math:`4 \Upsilon_{fg}`, where :math:`\Upsilon_{fg}` is the variance of all parts of the functional analysis
    of variance in which f and g take part together (Liu and Owen, JASA 2006, theorem 1; fields taken as independent).
    Its root is returned. For a model of pairs of independent fields it is the interaction of `Strengths`; where two
    fields go together it counts combinations that the rows do not have.

    Parameters
    ----------
    pairs : FieldPairs
    n_rows : int
        So many of the rows are asked about, drawn at random: the standard error is some percent.
    """
    chosen = sample(rows, n_rows, seed=seed)
    if chosen.n_rows < 2:
        return np.zeros(len(pairs))
    score = scorer(artifact)

    def logits(of: Rows) -> Doubles:
        return score.logits(of).astype(np.float64)

    weight = None if chosen.weight is None else chosen.weight.astype(np.float64)
    # Every row gets the values of another: the rows in a random order, each taking from the next.
    order = np.random.default_rng(seed).permutation(chosen.n_rows)
    other = np.empty(chosen.n_rows, np.int64)
    other[order] = np.roll(order, 1)
    if weight is not None:  # a row counts as often as it is taken from, too
        weight = weight * weight[other]
    exchanged = [with_field_of(chosen, field, other) for field in range(artifact.n_fields)]
    base, single = logits(chosen), [logits(rows_of_field) for rows_of_field in exchanged]
    found = np.full(len(pairs), np.nan)
    for place, (first, second) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        if first == second:
            continue
        both = logits(replaced(exchanged[first], second, exchanged[second]))
        beyond = base - single[first] - single[second] + both
        found[place] = 0.5 * np.sqrt(np.average(beyond**2, weights=weight))
    return found
