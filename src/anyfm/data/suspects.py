"""Columns that may not be what they seem: one that gives the target away, one whose values never come again.

Neither is left out, since both may be right; training says it.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from anyfm.data.encoder import Encoded, Encoder
from anyfm.data.encoding_report import MIN_WARNED

log = logging.getLogger(__name__)
N_SAMPLED = 20_000
NEARLY_PERFECT = 0.99
"""The area under the ROC curve, or R², from which on a column alone predicts the target almost perfectly."""
NEARLY_ALL_NEW = 0.9

Doubles = NDArray[np.float64]


def suspect_columns(encoder: Encoder, train: Encoded, valid: Encoded | None) -> tuple[str, ...]:
    """Warnings in words, logged too."""
    warnings = _giveaways(encoder, train)
    if valid is not None:
        for field in valid.report.fields:
            if field.n_entries >= MIN_WARNED and field.n_unseen > NEARLY_ALL_NEW * field.n_entries:
                percent = 100 * field.n_unseen / field.n_entries
                warnings.append(
                    f"{percent:.3g}% of the values of {field.name} in the validation rows are new or rare: it may be "
                    f"an identifier of the row. To leave it out, set {_column(encoder, field.name)}=ignore"
                )
    for warning in warnings:
        log.warning(warning)
    return tuple(warnings)


def _giveaways(encoder: Encoder, train: Encoded) -> list[str]:
    """Fields whose value alone predicts the target: means of one half of a sample predict the other half."""
    rows, target = train.rows, encoder.schema.target
    if target is None or rows.y is None or rows.n_rows < 100:
        return []
    sampled = np.sort(np.random.default_rng(0).permutation(rows.n_rows)[:N_SAMPLED])
    y = rows.y[sampled].astype(np.float64)
    half = np.random.default_rng(1).random(len(sampled)) < 0.5
    if len(np.unique(y[half])) < 2 or len(np.unique(y[~half])) < 2:
        return []
    warnings = []
    for slot, field in enumerate(encoder.fields):
        if field.encoder.is_ragged:
            continue
        if rows.offsets is None:
            ids, values = rows.ids[sampled, slot], None if rows.values is None else rows.values[sampled, slot]
        else:
            assert rows.fields is not None
            entries = np.flatnonzero(rows.fields == slot)[sampled]
            ids, values = rows.ids[entries], None if rows.values is None else rows.values[entries]
        score = _means(ids - int(encoder.field_offsets[slot]), y, half)
        if field.encoder.has_values and values is not None:
            score = _means(np.digitize(values, np.unique(np.quantile(values, np.linspace(0, 1, 65)[1:-1]))), y, half)
        quality = _auc(score[~half], y[~half] > 0) if target.is_classification else _r2(score[~half], y[~half])
        if quality >= NEARLY_PERFECT:
            measure = "AUC" if target.is_classification else "R²"
            warnings.append(
                f"{field.name} alone predicts {target.name} almost perfectly ({measure} {quality:.4f}): it may hold "
                f"what is known only afterwards, or the order of the rows. To leave it out, set {field.column}=ignore"
            )
    return warnings


def _means(groups: NDArray[np.integer], y: Doubles, half: NDArray[np.bool_]) -> Doubles:
    """The mean target of each row's group in one half of the rows, float64 of shape (n_rows,)."""
    n = np.bincount(groups[half], minlength=int(groups.max()) + 1)
    total = np.bincount(groups[half], weights=y[half], minlength=len(n))
    mean: Doubles = np.where(n > 0, total / np.maximum(n, 1), y[half].mean())
    of_rows: Doubles = mean[groups]
    return of_rows


def _auc(score: Doubles, positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve; ties count half."""
    _, rank, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    n_positive = int(positive.sum())
    n_negative = len(score) - n_positive
    return float((mean_rank[rank][positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _r2(score: Doubles, y: Doubles) -> float:
    return float(1 - np.mean((score - y) ** 2) / max(float(np.var(y)), 1e-300))


def _column(encoder: Encoder, name: str) -> str:
    return next(field.column for field in encoder.fields if field.name == name)
