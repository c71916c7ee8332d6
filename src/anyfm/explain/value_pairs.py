"""The strongest single pairs of values, how often they occur, and what the data alone say of them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.explain.contributions import field_names
from anyfm.explain.strength import Strengths, centred_pairs
from anyfm.explain.terms import Block, blocks
from anyfm.models.pairs import Doubles

Z_95 = 1.959963984540054
N_FIELD_PAIRS = 24  # so many pairs of fields are searched, the strongest
MIN_COUNT, MIN_SHARE = 20, 0.002
_NEWTON_STEPS = 4
_PRIOR = 0.05  # precision: keeps the estimate finite where all rows of a pair agree


@dataclass(frozen=True)
class ValuePair:
    """One pair of values and its interaction.

    Parameters
    ----------
    field, value, other_field, other_value : str
    effect : float
        What the model adds to the logit for this pair, beyond what each value is worth on its own (the interaction of
        `Strengths`): the mean over its rows, which differ where attention or the values x do.
    n_rows : int
        Rows with this pair.
    observed, lower, upper : float, optional
        The confidence measure: what the rows with this pair would make of the effect if it were not in the model and
        all else were, with its 95 % interval. An interval that holds 0 is no evidence. None without targets.
    """

    field: str
    value: str
    other_field: str
    other_value: str
    effect: float
    n_rows: int
    observed: float | None = None
    lower: float | None = None
    upper: float | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the interval lies wholly on the effect's side of 0."""
        if self.lower is None or self.upper is None:
            return False
        return self.lower > 0 if self.effect > 0 else self.upper < 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Entries:
    """Co-occurring entries of two fields: row, both feature ids, product of the values x, and the term."""

    row: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    x: Doubles
    term: Doubles


def value_pairs(
    artifact: Artifact, rows: Rows, measured: Strengths, *, n: int = 20, min_count: int | None = None
) -> list[ValuePair]:
    """The strongest interactions of single values in `rows`, by their size, those of unseen and missing included.

    Parameters
    ----------
    measured : Strengths
        Of the same model; its strongest pairs of fields are searched.
    n : int
        At most so many.
    min_count : int, optional
        Pairs of values in fewer rows are left out. By default 20 and 0.2 % of the rows, or 20 where that finds none.
    """
    if min_count is None:
        usual = max(MIN_COUNT, int(MIN_SHARE * rows.n_rows))
        found = value_pairs(artifact, rows, measured, n=n, min_count=usual)
        return found or value_pairs(artifact, rows, measured, n=n, min_count=MIN_COUNT)
    searched = np.argsort(-measured.interaction, kind="stable")[:N_FIELD_PAIRS]
    searched = searched[_holds_values(artifact, measured)[searched]]
    if measured.means is None or len(searched) == 0 or rows.n_rows == 0:
        return []
    parts: dict[int, list[_Entries]] = {int(pair): [] for pair in searched}
    logits = np.zeros(rows.n_rows)
    for block in blocks(artifact, rows):
        centred = centred_pairs(block, measured.means)
        logits[block.start : block.stop] = artifact.model.logits(block.batch)
        for pair, of_blocks in parts.items():
            of_blocks.append(
                _entries(block, centred, int(measured.field_pairs.first[pair]), int(measured.field_pairs.second[pair]))
            )
    candidates = []
    for pair, of_blocks in parts.items():
        fields = int(measured.field_pairs.first[pair]), int(measured.field_pairs.second[pair])
        entries = _Entries(
            *(np.concatenate([getattr(part, name) for part in of_blocks]) for name in _Entries.__annotations__)
        )
        candidates += _of_fields(artifact, rows, logits, fields, entries, min_count=min_count, n=n)
    candidates.sort(key=lambda pair: (-abs(pair.effect), pair.field, pair.value, pair.other_field, pair.other_value))
    return candidates[:n]


def _holds_values(artifact: Artifact, measured: Strengths) -> NDArray[np.bool_]:
    """Whether both fields of a pair have values to name: a scaled number has none. Shape (P,)."""
    named = np.ones(artifact.n_fields, bool)
    if artifact.encoder is not None:
        coders = [field.encoder for field in artifact.encoder.fields]
        named = np.array([coder.is_ragged or not coder.has_values for coder in coders])
    return np.asarray(named[measured.field_pairs.first] & named[measured.field_pairs.second])


def _entries(block: Block, centred: Doubles, first: int, second: int) -> _Entries:
    if block.member is None:
        row = np.arange(len(centred))
        i, j = np.full(len(row), first), np.full(len(row), second)
    else:
        row, i, j = np.nonzero((block.member[:, first, :, None] > 0) & (block.member[:, second, None, :] > 0))
        if first == second:
            row, i, j = row[i < j], i[i < j], j[i < j]
    values = block.batch.values
    return _Entries(
        row=(row + block.start).astype(np.int64),
        first=block.ids[row, i],
        second=block.ids[row, j],
        x=np.asarray(values[row, i] * values[row, j], np.float64),
        term=centred[row, i, j],
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
    low, high = entries.first, entries.second
    if fields[0] == fields[1]:
        low, high = np.minimum(low, high), np.maximum(low, high)
    codes, group, counts = np.unique(low * artifact.n_features + high, return_inverse=True, return_counts=True)
    effects = np.bincount(group, weights=entries.term) / counts
    mean_x = np.bincount(group, weights=entries.x) / counts
    frequent = np.flatnonzero(counts >= min_count)
    chosen = frequent[np.argsort(-np.abs(effects[frequent]), kind="stable")[:n]]
    estimates = None
    if rows.y is not None and len(chosen):
        place = np.full(len(codes), -1)
        place[chosen] = np.arange(len(chosen))
        kept = place[group] >= 0
        estimates = _estimate(artifact, rows, logits, entries, kept, place[group][kept], len(chosen))
    names = field_names(artifact)
    found = []
    for number, code in enumerate(chosen):
        one, other = divmod(int(codes[code]), artifact.n_features)
        observed = {} if estimates is None else {key: float(of[number] * mean_x[code]) for key, of in estimates.items()}
        found.append(
            ValuePair(
                names[fields[0]],
                value_name(artifact, one),
                names[fields[1]],
                value_name(artifact, other),
                effect=float(effects[code]),
                n_rows=int(counts[code]),
                **observed,
            )
        )
    return found


def _estimate(
    artifact: Artifact,
    rows: Rows,
    logits: Doubles,
    entries: _Entries,
    kept: NDArray[np.bool_],
    group: NDArray[np.int64],
    n_groups: int,
) -> dict[str, Doubles]:
    """The effect of each group at x = 1 by maximum likelihood, all other terms held, and its 95 % interval."""
    assert rows.y is not None
    row, x = entries.row[kept], entries.x[kept]
    y = rows.y[row].astype(np.float64)
    weight = np.ones(len(row)) if rows.weight is None else rows.weight[row].astype(np.float64)
    without = logits[row] - entries.term[kept]
    effect = np.zeros(n_groups)

    def summed(of_entries: Doubles) -> Doubles:
        return np.bincount(group, weights=of_entries, minlength=n_groups).astype(np.float64)

    if artifact.model.settings.task == "binary":
        information = np.ones(n_groups)
        for _ in range(_NEWTON_STEPS):
            chance = 0.5 * (1.0 + np.tanh(0.5 * (without + effect[group] * x)))
            information = summed(weight * chance * (1.0 - chance) * x**2) + _PRIOR
            effect = effect + np.clip((summed(weight * (y - chance) * x) - _PRIOR * effect) / information, -2.0, 2.0)
        half = Z_95 / np.sqrt(information)
    else:
        mass = summed(weight * x**2)
        effect = summed(weight * (y - without) * x) / np.maximum(mass, 1e-300)
        squares = summed(weight * (y - without - effect[group] * x) ** 2)
        half = Z_95 * np.sqrt(squares / np.maximum(summed(weight), 1e-300) / np.maximum(mass, 1e-300))
    return {"observed": effect, "lower": effect - half, "upper": effect + half}


def value_name(artifact: Artifact, feature: int) -> str:
    """What a feature's value is called: by the encoder, its edges rounded if it is a bin; or its id."""
    encoder = artifact.encoder
    if encoder is None:
        return f"id {feature}"
    field = int(np.searchsorted(encoder.field_offsets, feature, side="right")) - 1
    name = str(encoder.field_values(field)[feature - int(encoder.field_offsets[field])])
    return rounded(name) if encoder.fields[field].encoder.type == "bins" else name


def rounded(name: str) -> str:
    """A text with its long decimal fractions cut to six significant digits."""
    return re.sub(r"-?\d+\.\d{5,}(?:e[+-]?\d+)?", lambda found: f"{float(found[0]):.6g}", name)
