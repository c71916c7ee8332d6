"""Nearest values of a field by the cosine similarity of their factors."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.settings import unknown_name
from anyfm.explain.factors import factors_of


def nearest_values(
    artifact: Artifact, field: str, value: Any, *, n: int = 5, min_count: int = 1
) -> list[tuple[Any, float]]:
    """The values of `field` whose factors have the highest cosine similarity to those of `value`.

    Parameters
    ----------
    artifact : Artifact
        Of a model with factors. Several vectors of one value (FFM) count as one long vector.
    field : str
        For a model of ids (libsvm and libffm text), "id".
    value : as in the table, or its text
    n : int
        At most this number of values.
    min_count : int
        Values that occur less often in training are left out: their factors are hardly trained.

    Returns
    -------
    list of (value, cosine)
        Nearest first; the cosine lies in −1 … 1. Values with factors of length 0 have none.

    Raises
    ------
    SettingError
        The model has no factors, or no such field.
    InputError
        The value was not seen in training.
    """
    stored = factors_of(artifact)
    if stored is None:
        raise SettingError(got("nearest values need a model with factors", model=artifact.model.name))
    first, values, known = _of_field(artifact, field, min_count)
    last = first + len(values)
    chosen = _index(values, field, value)
    factors = stored[first:last].reshape(last - first, -1).astype(np.float64)
    lengths = np.sqrt((factors**2).sum(axis=1))
    directions = factors / np.where(lengths > 0, lengths, 1.0)[:, None]
    cosines = directions @ directions[chosen]
    allowed = known & (lengths > 0)
    allowed[chosen] = False
    order = np.flatnonzero(allowed)[np.argsort(-cosines[allowed], kind="stable")]
    return [(values[i], float(cosines[i])) for i in order[:n]]


def _of_field(artifact: Artifact, field: str, min_count: int) -> tuple[int, Sequence[Any], NDArray[np.bool_]]:
    """The first feature of a field, its values, and which of them occur often enough."""
    encoder = artifact.encoder
    names = ["id"] if encoder is None else encoder.field_names
    if field not in names:
        raise SettingError(unknown_name(field, names, what="field of the model"))
    if encoder is None:
        return 0, range(artifact.n_features), np.ones(artifact.n_features, bool)
    position = names.index(field)
    first, last = int(encoder.field_offsets[position]), int(encoder.field_offsets[position + 1])
    known = np.asarray(encoder.counts[first:last] >= min_count)
    known[:2] = False  # unseen and missing
    return first, encoder.field_values(field), known


def _index(values: Sequence[Any], field: str, value: Any) -> int:
    """The index of a value, or of the value with this text."""
    if value in values:
        return values.index(value)
    texts = [str(known) for known in values]
    if str(value) in texts:
        return texts.index(str(value))
    similar = difflib.get_close_matches(str(value), texts, n=3, cutoff=0.5)
    similar += [text for text in texts if str(value).lower() in text.lower() and text not in similar]
    hint = f". Did you mean {' or '.join(similar[:3])}?" if similar else ""
    raise InputError(located("this value does not occur in the training rows", column=field, value=value) + hint)
