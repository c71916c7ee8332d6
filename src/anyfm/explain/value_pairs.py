"""The strongest pairs of values, how often they occur, and what the rows with them show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.interaction_strength import Strengths
from anyfm.explain.names import field_names, value_name
from anyfm.explain.terms import Block, Indices, blocks
from anyfm.metrics.calibration import Z_95
from anyfm.models.pairs import Doubles

N_FIELD_PAIRS = 24  # the strongest pairs of fields, which are searched
MIN_COUNT, MIN_FRACTION = 20, 0.002
_NEWTON_STEPS, _MAX_STEP = 4, 2.0
_PRECISION = 0.05  # of a normal prior: keeps the estimate finite where all rows of a pair have the same target
_TINY = 1e-300


@dataclass(frozen=True)
class ValuePair:
    """One pair of values and its interaction.

    Parameters
    ----------
    field, value, other_field, other_value : str
    interaction : float
        What the model adds to the logit for this pair, beyond the main effects of both values (see `Strengths`): the
        mean over its rows, which differ where attention or the values x do.
    n_rows : int
        Rows with this pair.
    observed, lower, upper : float, optional
        The interaction that fits the rows with this pair best while all other terms are held fixed, with its 95 %
        confidence interval. An interval that contains 0 is no evidence. None without targets.
    """

    field: str
    value: str
    other_field: str
    other_value: str
    interaction: float
    n_rows: int
    observed: float | None = None
    lower: float | None = None
    upper: float | None = None

    @property
    def has_same_sign(self) -> bool:
        """Whether the whole interval has the sign of the interaction."""
        if self.lower is None or self.upper is None:
            return False
        return self.lower > 0 if self.interaction > 0 else self.upper < 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Entries:
    """Pairs of entries of two fields in the same row; arrays of shape (n,)."""

    row: Indices
    first: Indices  # feature ids
    second: Indices
    x: Doubles  # product of both values x
    term: Doubles


def value_pairs(
    artifact: Artifact, rows: Rows, strengths: Strengths, *, n: int = 20, min_count: int | None = None
) -> list[ValuePair]:
    """The strongest interactions of pairs of values in `rows`, strongest first; unseen and missing count as values.

    Parameters
    ----------
    strengths : Strengths
        Of the same model; its 24 strongest pairs of fields are searched.
    n : int
        At most this number of pairs.
    min_count : int, optional
        Pairs of values in fewer rows are left out. By default 0.2 % of the rows but at least 20, or 20 if there is
        no such pair.
    """
    if min_count is None:
        usual = max(MIN_COUNT, int(MIN_FRACTION * rows.n_rows))
        found = value_pairs(artifact, rows, strengths, n=n, min_count=usual)
        return found or value_pairs(artifact, rows, strengths, n=n, min_count=MIN_COUNT)
    field_pairs = strengths.field_pairs
    searched = np.argsort(-strengths.interaction, kind="stable")[:N_FIELD_PAIRS]
    searched = searched[_has_named_values(artifact, strengths)[searched]]
    if strengths.means is None or len(searched) == 0 or rows.n_rows == 0:
        return []
    pairs = [(int(field_pairs.first[pair]), int(field_pairs.second[pair])) for pair in searched]
    parts: list[list[_Entries]] = [[] for _ in pairs]
    fields = np.unique(np.array(pairs))
    logits = np.zeros(rows.n_rows)
    for block in blocks(artifact, rows):
        assert block.vectors is not None
        logits[block.start : block.stop] = artifact.model.logits(block.batch)
        some = block.of_fields(fields)
        slots = {field: field if some is block else place for place, field in enumerate(fields.tolist())}
        assert some.vectors is not None
        centered = some.vectors - some.spread(strengths.means)
        interaction = some.slot_pairs(centered, centered)
        for (first, second), of_pair in zip(pairs, parts, strict=True):
            of_pair.append(_entries(some, interaction, slots[first], slots[second]))
    candidates = []
    for pair, of_pair in zip(pairs, parts, strict=True):
        arrays = zip(*(vars(part).values() for part in of_pair), strict=True)
        entries = _Entries(*map(np.concatenate, arrays))
        candidates += _of_fields(artifact, rows, logits, pair, entries, min_count=min_count, n=n)
    candidates.sort(
        key=lambda pair: (-abs(pair.interaction), pair.field, pair.value, pair.other_field, pair.other_value)
    )
    return candidates[:n]


def _has_named_values(artifact: Artifact, strengths: Strengths) -> NDArray[np.bool_]:
    """Whether both fields of a pair have values with names, which a scaled number has not. Shape (P,)."""
    named = np.ones(artifact.n_fields, bool)
    if artifact.encoder is not None:
        coders = [field.encoder for field in artifact.encoder.fields]
        named = np.array([coder.is_ragged or not coder.has_values for coder in coders])
    return np.asarray(named[strengths.field_pairs.first] & named[strengths.field_pairs.second])


def _entries(block: Block, interaction: Doubles, first: int, second: int) -> _Entries:
    """The pairs of entries of two fields; where the rows are aligned, of two slots."""
    if block.membership is None:
        row = np.arange(len(interaction))
        i, j = np.full(len(row), first), np.full(len(row), second)
    else:
        row, i, j = np.nonzero((block.membership[:, first, :, None] > 0) & (block.membership[:, second, None, :] > 0))
        if first == second:
            row, i, j = row[i < j], i[i < j], j[i < j]
    values = block.batch.values
    return _Entries(
        row=(row + block.start).astype(np.int64),
        first=block.ids[row, i],
        second=block.ids[row, j],
        x=np.asarray(values[row, i] * values[row, j], np.float64),
        term=interaction[row, i, j],
    )


def _of_fields(
    artifact: Artifact,
    rows: Rows,
    logits: Doubles,
    fields: tuple[int, int],
    entries: _Entries,
    *,
    min_count: int,
    n: int,
) -> list[ValuePair]:
    """The `n` strongest pairs of values of two fields."""
    low, high = entries.first, entries.second
    if fields[0] == fields[1]:
        low, high = np.minimum(low, high), np.maximum(low, high)
    codes, group, counts = np.unique(low * artifact.n_features + high, return_inverse=True, return_counts=True)
    effects = np.bincount(group, weights=entries.term) / counts
    mean_x = np.bincount(group, weights=entries.x) / counts
    frequent = np.flatnonzero(counts >= min_count)
    chosen = frequent[np.argsort(-np.abs(effects[frequent]), kind="stable")[:n]]
    fitted: dict[str, Doubles] = {}
    if rows.y is not None and len(chosen):
        place = np.full(len(codes), -1)
        place[chosen] = np.arange(len(chosen))
        is_chosen = place[group] >= 0
        some = _Entries(*(array[is_chosen] for array in vars(entries).values()))
        fitted = _fit(artifact, rows, logits, some, place[group][is_chosen], len(chosen))
    names = field_names(artifact)
    found = []
    for number, code in enumerate(chosen):
        one, other = divmod(int(codes[code]), artifact.n_features)
        found.append(
            ValuePair(
                names[fields[0]],
                value_name(artifact, one),
                names[fields[1]],
                value_name(artifact, other),
                interaction=float(effects[code]),
                n_rows=int(counts[code]),
                **{name: float(of_pairs[number] * mean_x[code]) for name, of_pairs in fitted.items()},
            )
        )
    return found


def _fit(
    artifact: Artifact, rows: Rows, logits: Doubles, entries: _Entries, group: Indices, n_groups: int
) -> dict[str, Doubles]:
    """The maximum likelihood effect of each group at x = 1, all other terms held fixed, and its 95 % interval."""
    assert rows.y is not None
    row, x = entries.row, entries.x
    y = rows.y[row].astype(np.float64)
    weight = np.ones(len(row)) if rows.weight is None else rows.weight[row].astype(np.float64)
    others = logits[row] - entries.term
    effect = np.zeros(n_groups)

    def total(of_entries: Doubles) -> Doubles:
        return np.bincount(group, weights=of_entries, minlength=n_groups).astype(np.float64)

    task = artifact.model.task
    if not task.logit_is_prediction:
        information = np.ones(n_groups)
        for _ in range(_NEWTON_STEPS):
            at = others + effect[group] * x
            information = total(weight * task.curvature(at) * x**2) + _PRECISION
            step = (total(weight * (y - task.predictions(at)) * x) - _PRECISION * effect) / information
            effect = effect + np.clip(step, -_MAX_STEP, _MAX_STEP)
        half = Z_95 / np.sqrt(information)
    else:
        mass = np.maximum(total(weight * x**2), _TINY)
        effect = total(weight * (y - others) * x) / mass
        squares = total(weight * (y - others - effect[group] * x) ** 2)
        half = Z_95 * np.sqrt(squares / np.maximum(total(weight), _TINY) / mass)
    return {"observed": effect, "lower": effect - half, "upper": effect + half}
