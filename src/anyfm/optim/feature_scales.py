"""Scales of features whose values are far larger or smaller than those of the others, such as prices beside ones.

Every parameter of a feature multiplies the feature's value, so training on x / s and dividing the parameters by s
afterwards is the same model in other units. Scores and artifacts stay as they are; only training sees other numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Floats, Rows

LARGE, SMALL = 4.0, 1 / 64
"""A feature is scaled whose size is beyond this many times the usual one."""
SPREAD = 8.0
"""No value of a scaled feature is larger than this many times the usual size."""


def feature_scales(rows: Rows, n_features: int) -> Floats | None:
    """By what the values of each feature are divided in training, float32 of shape (n_features,); None: by nothing.

    The size of a feature is the root mean square of its values, or an eighth of the largest, if that is more. The usual
    size is the median over all entries, but at most 1.
    """
    if rows.values is None or rows.n_entries == 0:
        return None
    size = np.abs(rows.values.reshape(-1).astype(np.float64))
    ids = rows.ids.reshape(-1)
    counts = np.bincount(ids, weights=size > 0, minlength=n_features)
    mean_square = np.bincount(ids, weights=size**2, minlength=n_features) / np.maximum(counts, 1)
    largest = np.zeros(n_features)
    np.maximum.at(largest, ids, size)
    present = size[size > 0]
    if len(present) == 0:
        return None
    usual = min(float(np.median(present)), 1.0)
    scale = np.maximum(np.sqrt(mean_square), largest / SPREAD) / usual
    is_usual = (scale == 0) | ((scale <= LARGE) & (scale >= SMALL))
    if is_usual.all():
        return None
    return np.where(is_usual, 1.0, scale).astype(np.float32)


def scaled_rows(rows: Rows, scales: Floats) -> Rows:
    """The rows with every value divided by the scale of its feature."""
    assert rows.values is not None
    return replace(rows, values=rows.values / scales[rows.ids])


def unscaled(array: NDArray[np.float32], scales: Floats) -> NDArray[np.float32]:
    """A parameter per feature, shape (n_features, …), for values that are not scaled."""
    return (array / scales.reshape(-1, *[1] * (array.ndim - 1))).astype(np.float32)
