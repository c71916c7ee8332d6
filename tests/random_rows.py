"""Random rows, random parameters and small tables with a known effect, for all tests.

Every function takes a seed and gives the same arrays for the same arguments.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from anyfm.core.rows import Rows
from anyfm.models import BaseModel

N_FIELDS, FIELD_SIZE = 5, 7
N_FEATURES = N_FIELDS * FIELD_SIZE
"""The default table: five fields of seven features each, feature ids in the order of the fields."""

KINDS = ("fixed", "values", "shared", "repeated", "ragged", "ragged-values")
"""The kinds of rows that `random_rows` makes."""


def random_rows(
    kind: str = "fixed",
    n_rows: int = 203,
    *,
    seed: int = 0,
    task: str = "binary",
    weighted: bool = False,
    n_fields: int = N_FIELDS,
    field_size: int = FIELD_SIZE,
) -> Rows:
    """Random rows of one kind with a random target.

    Parameters
    ----------
    kind : {"fixed", "values", "shared", "repeated", "ragged", "ragged-values"}
        fixed: one feature of every field, slot s is field s. values: the same with values around 1, some of them 0.
        shared: any feature in any slot. repeated: the slots state their fields, one field has two slots and one has
        none. ragged: zero to about two features a field, the same feature perhaps twice. ragged-values: with values.
    n_rows : int
    seed : int
    task : {"binary", "regression"}
        The target: 1 with probability 0.4, or N(3, 2²).
    weighted : bool
        Whether rows have weights 0, 1, 2 or 3.
    n_fields, field_size : int
        Features ``field_size * f`` … ``field_size * (f + 1) - 1`` are those of field f.
    """
    rng = np.random.default_rng(seed)
    y = (rng.random(n_rows) < 0.4) if task == "binary" else rng.normal(3, 2, n_rows)
    weight = rng.integers(0, 4, n_rows).astype(np.float32) if weighted else None
    labels = {"y": y.astype(np.float32), "weight": weight}
    if kind.startswith("ragged"):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 2 * n_fields - 1, n_rows))]).astype(np.int64)
        ids = rng.integers(0, n_fields * field_size, offsets[-1]).astype(np.int32)
        values = _random_values(rng, ids.shape) if kind == "ragged-values" else None
        return Rows(ids=ids, offsets=offsets, values=values, fields=ids // np.int32(field_size), **labels)
    fields = np.arange(n_fields, dtype=np.int32)
    if kind == "repeated" and n_fields > 2:
        fields[2] = 1
    ids = rng.integers(0, field_size, (n_rows, n_fields)) + field_size * fields
    if kind == "shared":
        ids = rng.integers(0, n_fields * field_size, (n_rows, n_fields))
    return Rows(
        ids=ids.astype(np.int32),
        values=_random_values(rng, ids.shape) if kind == "values" else None,
        fields=fields if kind == "repeated" else None,
        **labels,
    )


def _random_values(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = rng.normal(1, 0.5, shape).astype(np.float32)
    values[rng.random(shape) < 0.03] = 0
    return values


def random_parameters(
    model: BaseModel,
    *,
    n_features: int = N_FEATURES,
    n_fields: int = N_FIELDS,
    seed: int = 0,
    deviation: float = 0.5,
    dtype: DTypeLike = np.float64,
) -> dict[str, NDArray[np.floating]]:
    """Parameters of `model` from N(0, deviation²); variances are positive, and linear terms switched off are 0."""
    rng = np.random.default_rng(seed)
    specs = model.parameter_specs(n_features, n_fields)
    drawn = {name: rng.normal(0, deviation, spec.shape).astype(dtype) for name, spec in specs.items()}
    for name, array in drawn.items():
        if name.endswith("_variance"):
            drawn[name] = np.abs(array) + 0.5
        elif name in ("bias", "linear") and getattr(model.settings, "linear", True) is False:
            array[:] = 0
    return drawn


def as_ragged(rows: Rows) -> Rows:
    """Fixed-width rows in the ragged form."""
    n_rows, n_slots = rows.ids.shape
    fields = np.arange(n_slots, dtype=np.int32) if rows.fields is None else rows.fields
    return replace(
        rows,
        ids=rows.ids.reshape(-1),
        offsets=np.arange(n_rows + 1, dtype=np.int64) * n_slots,
        values=None if rows.values is None else rows.values.reshape(-1),
        fields=np.tile(fields, n_rows),
    )


def entries(rows: Rows, i: int) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
    """The ids, values and fields of row i."""
    row = rows.slice(i, i + 1)
    ids = row.ids.reshape(-1)
    values = np.ones(len(ids)) if row.values is None else row.values.reshape(-1).astype(np.float64)
    fields = np.arange(len(ids), dtype=np.int32) if row.fields is None else row.fields
    return ids, values, fields


def learnable_rows(
    n_rows: int, *, seed: int, task: str = "binary", weighted: bool = False, n_fields: int = 4, field_size: int = 6
) -> Rows:
    """Rows whose logit has a linear effect of every field and one crossed effect, of the first two fields.

    The effects do not depend on `seed`, so that two seeds give training and test rows of one table.
    """
    rng = np.random.default_rng(seed)
    values = rng.integers(0, field_size, (n_rows, n_fields))
    effects = np.random.default_rng(99).standard_normal((n_fields, field_size))
    high = values[:, :2] < field_size / 2
    z = effects[np.arange(n_fields), values].sum(axis=1) + np.where(high[:, 0] == high[:, 1], 1.5, -1.5)
    y = rng.random(n_rows) < 1 / (1 + np.exp(-z)) if task == "binary" else z + rng.standard_normal(n_rows)
    weight = rng.integers(1, 4, n_rows).astype(np.float32) if weighted else None
    ids = (values + field_size * np.arange(n_fields)).astype(np.int32)
    return Rows(ids=ids, y=y.astype(np.float32), weight=weight)


def few_value_rows(n_rows: int, *, n_values: int, task: str = "binary", n_fields: int = 30) -> Rows:
    """Rows of many fields with few values each, so that every feature is in most rows of a batch; a linear target."""
    rng = np.random.default_rng(n_rows)
    values = rng.integers(0, n_values, (n_rows, n_fields))
    y = values @ rng.normal(size=n_fields)
    y = (y > np.median(y)).astype(float) if task == "binary" else y
    return Rows(ids=(values + n_values * np.arange(n_fields)).astype(np.int32), y=y.astype(np.float32))
