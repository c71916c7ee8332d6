"""Models with random parameters, of every kind that there is, and rows for them."""

from __future__ import annotations

import numpy as np

from anyfm.artifact import Artifact
from anyfm.core.rows import Rows
from anyfm.models import FM, MODELS, BaseModel
from anyfm.models.pairs import InnerProducts

N_FIELDS, FIELD_SIZE = 5, 7
N_FEATURES = N_FIELDS * FIELD_SIZE
KINDS = ("fixed", "values", "shared", "ragged", "ragged-values")
# BaseModel: the settings it is tried with, besides its defaults.
VARIANTS = {
    "linear": [{"normalize": True}],
    "fm": [{"n_factors": 3, "normalize": True}],
    "ffm": [{"n_factors": 3, "normalize": True}, {"linear": False}],
    "afm": [{"n_factors": 3, "attention_factors": 2}],
    "deepfm": [
        {"n_factors": 3, "hidden_layer_sizes": (8, 4), "batch_norm": True},
        {"hidden_layer_sizes": (6,), "activation": "tanh"},
    ],
}
CASES = [(name, settings) for name in MODELS for settings in ({}, *VARIANTS.get(name, ()))]


def model(name: str, **settings: object) -> BaseModel:
    return MODELS[name](MODELS[name].settings_type(**settings))


def artifact(
    name: str, *, seed: int = 0, n_fields: int = N_FIELDS, n_features: int = N_FEATURES, **settings
) -> Artifact:
    """A model with random parameters, without an encoder."""
    rng = np.random.default_rng(seed)
    made = model(name, **settings).resolve(n_fields)
    parameters = {
        key: np.abs(array) + 0.5 if key.endswith("variance") else array
        for key, spec in made.parameter_specs(n_features, n_fields).items()
        for array in [rng.normal(0.2, 0.5, spec.shape).astype(np.float32)]
    }
    if settings.get("linear") is False:
        parameters["bias"][:] = parameters["linear"][:] = 0
    return Artifact(model=made, parameters=parameters, n_features=n_features, n_fields=n_fields)


def rows(kind: str, n_rows: int = 83, *, seed: int = 0, weighted: bool = False) -> Rows:
    """Random rows: fixed, values, shared (slots of other fields), ragged (several or no values a field)."""
    rng = np.random.default_rng(seed)
    common = {
        "y": (rng.random(n_rows) < 0.4).astype(np.float32),
        "weight": rng.integers(0, 4, n_rows).astype(np.float32) if weighted else None,
    }
    if not kind.startswith("ragged"):
        fields = np.array([0, 1, 1, 3, 4]) if kind == "shared" else np.arange(N_FIELDS)
        ids = rng.integers(0, FIELD_SIZE, (n_rows, len(fields))) + FIELD_SIZE * fields
        values = rng.normal(1, 0.5, ids.shape).astype(np.float32) if kind == "values" else None
        slots = fields.astype(np.int32) if kind == "shared" else None
        return Rows(ids=ids.astype(np.int32), values=values, fields=slots, **common)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n_rows))]).astype(np.int64)
    ids = rng.integers(0, N_FEATURES, offsets[-1]).astype(np.int32)
    values = rng.normal(1, 0.5, len(ids)).astype(np.float32) if kind == "ragged-values" else None
    return Rows(ids=ids, offsets=offsets, values=values, fields=ids // FIELD_SIZE, **common)


def field_pair_weights(n_fields: int) -> np.ndarray:
    """Weights of pairs of fields, some negative, without that of a field with itself."""
    numbers = np.arange(n_fields) - 1.5
    weights = np.outer(numbers, numbers)
    np.fill_diagonal(weights, np.nan)
    return weights


class _WeightedProducts(InnerProducts):
    """⟨u_i, u_j⟩ multiplied by the weight of the pair of fields."""

    def form(self, batch, one, other):
        weights = np.nan_to_num(field_pair_weights(int(batch.fields.max(initial=0)) + 1))
        return super().form(batch, one, other) * weights[batch.fields[:, :, None], batch.fields[:, None]]

    def field_pair_weights(self, parameters, n_fields):
        return field_pair_weights(n_fields)


class WeightedFM(FM):
    """A factorization machine with fixed weights of pairs of fields."""

    def pair_terms(self):
        return _WeightedProducts(self.settings.n_factors)
