"""LightGBM on the raw columns of a problem, its settings chosen among a handful by the loss on the validation rows.

It sees what the models here see before they encode it: numbers as they are; categories as integer codes named in
`categorical_feature`, kinds as the schema has them; a column of tags as one column of 0 and 1 for each tag. What is
missing, and what training did not have, is missing to it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm import metrics
from anyfm.data.schema import Field
from anyfm.pipeline import PreparedData

MOST_TREES, PATIENCE = 1000, 30
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_leaves": 31},
    {"num_leaves": 7},
    {"num_leaves": 31, "learning_rate": 0.05, "feature_fraction": 0.5, "min_data_in_leaf": 50},
    {"num_leaves": 127, "max_cat_threshold": 256, "cat_smooth": 1, "cat_l2": 1},
)
"""Beside LightGBM's defaults."""


def installed() -> bool:
    return importlib.util.find_spec("lightgbm") is not None


def boosted(
    data: PreparedData, train: pl.DataFrame, valid: pl.DataFrame, test: pl.DataFrame, y_test: NDArray[np.float32]
) -> dict[str, float]:
    """The scores on the test rows, and the validation loss as "valid", of the settings whose validation loss is least.

    `train`, `valid` and `test` are the raw tables behind `data`.
    """
    import lightgbm

    assert data.valid is not None
    assert data.schema is not None
    columns, categorical = _columns(data.schema.used, train, [train, valid, test])
    regression = not data.task.is_classification
    common = {
        "objective": "regression" if regression else "binary",
        "metric": "l2" if regression else "binary_logloss",
        "verbosity": -1,
        "seed": 0,
    }
    runs: list[tuple[float, Any]] = []
    for settings in SETTINGS:
        training = lightgbm.Dataset(columns[0], data.train.y, categorical_feature=categorical, free_raw_data=False)
        held_out = lightgbm.Dataset(columns[1], data.valid.y, reference=training)
        trees = lightgbm.train(
            {**common, **settings},
            training,
            num_boost_round=MOST_TREES,
            valid_sets=[held_out],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        runs.append((next(iter(trees.best_score["valid_0"].values())), trees))
    loss, best = min(runs, key=lambda run: run[0])
    scores = metrics.evaluate(data.task, y_test, best.predict(columns[2], raw_score=True))
    return scores | {"valid": float(np.sqrt(loss)) if regression else float(loss)}


def _columns(
    fields: tuple[Field, ...], train: pl.DataFrame, frames: list[pl.DataFrame]
) -> tuple[list[NDArray[np.float64]], list[int]]:
    """Each frame as an array (n_rows, n_columns) of numbers, and which of the columns are categories."""
    made: list[list[NDArray[np.float64]]] = [[] for _ in frames]
    categorical = []
    for field in fields:
        if field.kind == "categorical":
            categorical.append(len(made[0]))
        for into, parts in zip(made, _coded(field, train, frames), strict=True):
            into += parts
    return [np.column_stack(parts) for parts in made], categorical


def _coded(field: Field, train: pl.DataFrame, frames: list[pl.DataFrame]) -> list[list[NDArray[np.float64]]]:
    """The columns that `field` becomes in each frame."""
    if field.kind == "tags":
        lists = [frame[field.name].cast(pl.String).str.split(field.separator or "|") for frame in [train, *frames]]
        tags = lists[0].explode().drop_nulls().unique().sort()
        return [[tagged.list.contains(tag).cast(pl.Float64).to_numpy() for tag in tags] for tagged in lists[1:]]
    if field.kind == "categorical":
        values = train[field.name].drop_nulls().unique().sort()
        codes = pl.DataFrame({"value": values, "code": np.arange(len(values), dtype=np.float64)})
        joined = [
            frame.select(value=field.name).join(codes, on="value", how="left", maintain_order="left")
            for frame in frames
        ]
        return [[part["code"].fill_null(np.nan).to_numpy()] for part in joined]
    return [[frame[field.name].cast(pl.Float64).fill_null(np.nan).to_numpy()] for frame in frames]
