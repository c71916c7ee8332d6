"""The models under contract: one small class each, and the tables they are tried on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from anyfm.core.rows import Rows
from anyfm.models import (
    AFM,
    FFM,
    FM,
    AFMSettings,
    BaseModel,
    DeepFM,
    DeepFMSettings,
    FFMSettings,
    FMSettings,
    Linear,
    LinearSettings,
)

N_FIELDS, FIELD_SIZE = 5, 7
N_FEATURES = N_FIELDS * FIELD_SIZE


def models(task: str = "binary") -> dict[str, BaseModel]:
    """Every model that the native engine trains, in the sizes whose code differs."""
    return {
        "linear": Linear(LinearSettings(task=task)),
        "linear-normalized": Linear(LinearSettings(task=task, normalize=True)),
        **{f"fm-{k}": FM(FMSettings(task=task, n_factors=k)) for k in (1, 4, 7, 8, 16, 20, 37, 256)},
        "fm-normalized": FM(FMSettings(task=task, n_factors=3, normalize=True)),
        **{f"ffm-{k}": FFM(FFMSettings(task=task, n_factors=k)) for k in (1, 4, 5, 8)},
        "ffm-normalized": FFM(FFMSettings(task=task, n_factors=3, normalize=True)),
        **{
            f"afm-{k}-{t}": AFM(AFMSettings(task=task, n_factors=k, attention_factors=t, dropout=0.2))
            for k, t in ((1, 1), (4, 3), (8, 17), (16, 16), (21, 4))
        },
        "afm-normalized": AFM(AFMSettings(task=task, n_factors=3, normalize=True)),
        "ffm-libffm": FFM(FFMSettings(**FFM.presets["libffm"], task=task)),
        **{name: model for name, model in deep_models(task).items() if not model.settings.batch_norm},
    }


def deep_models(task: str = "binary") -> dict[str, BaseModel]:
    """DeepFM in the forms whose code differs; with batch normalisation torch alone trains it."""
    forms = {
        "deepfm": {"hidden_layer_sizes": (400, 400, 400)},
        "deepfm-1": {"n_factors": 1, "hidden_layer_sizes": (1,)},
        "deepfm-none": {"hidden_layer_sizes": ()},
        "deepfm-norm": {"n_factors": 5, "hidden_layer_sizes": (9, 70), "batch_norm": True, "dropout": 0.2},
        "deepfm-tanh": {"n_factors": 3, "hidden_layer_sizes": (65,), "activation": "tanh", "weight_decay": 0.1},
        "deepfm-sigmoid": {
            "n_factors": 7,
            "hidden_layer_sizes": (20, 4),
            "activation": "sigmoid",
            "dropout": 0.2,
            "batch_size": 40,
        },
    }
    return {name: DeepFM(DeepFMSettings(task=task, **settings)) for name, settings in forms.items()}


def torch_models(task: str = "binary") -> dict[str, BaseModel]:
    """The models on which the torch engine is tried: all five."""
    native = {name: model for name, model in models(task).items() if name in ("linear", "fm-1", "fm-8", "ffm-4")}
    normalized = {name: model for name, model in models(task).items() if name.endswith("-normalized")}
    afm = {"afm": AFM(AFMSettings(task=task, n_factors=5, attention_factors=3, dropout=0.2))}
    without = {"ffm-without-linear": FFM(FFMSettings(task=task, n_factors=3, linear=False, init_scale=5))}
    return {**native, **normalized, **without, **afm, **deep_models(task)}


def rows(kind: str, n_rows: int = 203, *, seed: int = 0, task: str = "binary", weighted: bool = False) -> Rows:
    """Random rows of one kind: fixed, values, ragged, ragged-values, or shared (one id may stand in any slot)."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n_rows) < 0.4) if task == "binary" else rng.normal(3, 2, n_rows)
    weight = rng.integers(0, 4, n_rows).astype(np.float32) if weighted else None
    common = {"y": y.astype(np.float32), "weight": weight}
    if kind in ("fixed", "values", "shared"):
        ids = rng.integers(0, FIELD_SIZE, (n_rows, N_FIELDS)) + FIELD_SIZE * np.arange(N_FIELDS)
        if kind == "shared":
            ids = rng.integers(0, N_FEATURES, (n_rows, N_FIELDS))
        values = rng.normal(1, 0.5, ids.shape).astype(np.float32) if kind == "values" else None
        return Rows(ids=ids.astype(np.int32), values=values, **common)
    lengths = rng.integers(0, 9, n_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(0, N_FEATURES, offsets[-1]).astype(np.int32)
    values = rng.normal(1, 0.5, len(ids)).astype(np.float32) if kind == "ragged-values" else None
    return Rows(ids=ids, offsets=offsets, values=values, fields=ids // FIELD_SIZE, **common)


KINDS = ("fixed", "values", "shared", "ragged", "ragged-values")


def batches(n: int, size: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng(7).permutation(n).astype(np.int64)
    for start in range(0, n, size):
        yield order[start : start + size]
