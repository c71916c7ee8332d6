"""Values that a model treats alike: nearest neighbours among the factors of a field."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyfm.artifact import Artifact
from anyfm.errors import InputError, SettingError, however, located


def nearest_values(
    artifact: Artifact, field: str, value: Any, *, n: int = 5, min_count: int = 1
) -> list[tuple[Any, float]]:
    """The values of `field` whose factors point most nearly in the direction of those of `value`.

    Parameters
    ----------
    artifact : Artifact
        Of a model with one vector of factors per feature (FM, AFM, DeepFM).
    field : str
    value : as in the table
    n : int
        At most so many neighbours.
    min_count : int
        Values seen less often in training are left out: their factors have learnt little.

    Returns
    -------
    list of (value, cosine)
        Nearest first; the cosine lies in −1 … 1. Values with factors of length 0 have none.

    Raises
    ------
    SettingError
        The model has no such factors, or no such field.
    InputError
        The value was not seen in training.
    """
    if "factors" not in artifact.parameters:
        raise SettingError(
            however("neighbours need a model with one vector of factors a feature", model=artifact.model.name)
        )
    encoder = artifact.require_encoder()
    if field not in encoder.field_names:
        raise SettingError(however(f"the field must be one of {', '.join(encoder.field_names)}", field=field))
    position = encoder.field_names.index(field)
    first, last = int(encoder.field_offsets[position]), int(encoder.field_offsets[position + 1])
    values = encoder.field_values(field)
    if value not in values:
        raise InputError(located("the model has not learnt this value", column=field, value=value))
    factors = artifact.parameters["factors"][first:last].astype(np.float64)
    lengths = np.sqrt((factors**2).sum(axis=1))
    directions = factors / np.where(lengths > 0, lengths, 1.0)[:, None]
    chosen = values.index(value)
    cosines = directions @ directions[chosen]
    allowed = (encoder.counts[first:last] >= min_count) & (lengths > 0)
    allowed[[0, 1, chosen]] = False  # unseen, missing and the value itself
    order = np.flatnonzero(allowed)[np.argsort(-cosines[allowed], kind="stable")]
    return [(values[i], float(cosines[i])) for i in order[:n]]
