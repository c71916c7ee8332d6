"""Models with random parameters over a table of users and films, of every kind of encoded row."""

from __future__ import annotations

import numpy as np
import polars as pl

from anyfm.artifact import Artifact
from anyfm.data.encoder import Encoder
from anyfm.data.schema_inference import infer_schema
from anyfm.model import Model
from anyfm.models import MODELS

N_ITEMS = 1500  # more than are scored all at once
KINDS = ("plain", "values", "ragged")
VARIANTS = {
    "linear": [{"normalize": True}],
    "fm": [{"n_factors": 3, "normalize": True}, {"n_factors": 20}],
    "ffm": [{"n_factors": 3, "normalize": True}, {"linear": False}],
    "afm": [{"n_factors": 3, "attention_factors": 2}],
    "deepfm": [{"n_factors": 3, "hidden_layer_sizes": (8, 4), "batch_norm": True}, {"hidden_layer_sizes": ()}],
}
CASES = [(name, settings) for name in MODELS for settings in ({}, *VARIANTS.get(name, ()))]
SUMS = [(name, settings) for name, settings in CASES if name in ("linear", "fm", "fwfm", "ffm")]
SUMS = [*[case for case in SUMS if not case[1].get("normalize")], ("deepfm", {"hidden_layer_sizes": ()})]


def users(n: int = 40, *, seed: int = 0) -> pl.DataFrame:
    """user, hour and words; a user is named by `user`."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "words": _tags(rng, n, "abc"),
            "user": np.arange(n),
            "hour": rng.integers(0, 24, n),
        }
    )


def films(n: int = N_ITEMS, *, seed: int = 1) -> pl.DataFrame:
    """film, kind, length and genres; many films differ in nothing the model knows but rare films' ids."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "film": [f"film {i}" for i in range(n)],
            "kind": rng.choice(["long", "short"], n),
            "length": rng.integers(1, 5, n),
            "genres": _tags(rng, n, "xyz"),
        }
    )


def crossed(context: dict, items: pl.DataFrame) -> pl.DataFrame:
    """The rows that `predict` takes: the items with the context in every row."""
    own = {name: value for name, value in context.items() if name not in items.columns}
    return items.with_columns([pl.lit(value).alias(name) for name, value in own.items()])


def model(name: str, kind: str = "plain", *, scale: float = 0.5, seed: int = 0, task="binary", **settings) -> Model:
    """A model with random parameters. plain: one value of each field; values: the length is a number; ragged: the
    words and genres are tags."""
    rng = np.random.default_rng(seed)
    table = users(300, seed=3).with_columns(pl.col("user") % 40).hstack(films(300, seed=4))
    table = table.with_columns(pl.Series("y", rng.integers(0, 2, 300)))
    overrides = {
        "user": "categorical",
        "film": "categorical",
        "length": "scaled" if kind != "plain" else "numeric",
        "words": "tags" if kind == "ragged" else "ignore",
        "genres": "tags" if kind == "ragged" else "ignore",
    }
    schema = infer_schema(table, target="y", task=task, overrides=overrides, min_count=1)
    encoder = Encoder.fit(table, schema)
    made = MODELS[name](MODELS[name].settings_type(task=task, **settings)).resolve(encoder.n_fields)
    parameters = {
        key: np.abs(array) + 0.5 if key.endswith("variance") else array
        for key, spec in made.parameter_specs(encoder.n_features, encoder.n_fields).items()
        for array in [rng.normal(0, scale, spec.shape).astype(np.float32)]
    }
    if task == "regression":
        parameters["bias"] = parameters["bias"].astype(np.float64)
    if settings.get("linear") is False:
        parameters["bias"][:] = parameters["linear"][:] = 0
    return Model(
        Artifact(
            model=made,
            parameters=parameters,
            n_features=encoder.n_features,
            n_fields=encoder.n_fields,
            encoder=encoder,
        )
    )


def _tags(rng: np.random.Generator, n: int, letters: str) -> list[str]:
    return ["|".join(rng.choice(list(letters), rng.integers(0, 4), replace=False)) for _ in range(n)]
