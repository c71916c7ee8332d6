"""Every model for the tests of the compiled kernels: its options, rows for it, and the start of its training."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyfm.core.native import kernels

N_FIELDS = 5
FIELD_SIZE = 20
N_FEATURES = N_FIELDS * FIELD_SIZE
FIELD_OF = np.repeat(np.arange(N_FIELDS, dtype=np.int32), FIELD_SIZE)

OPTIONS: dict[str, dict[str, Any]] = {
    "linear": {"normalize": False},
    "fm": {"n_factors": 6, "normalize": False},
    "ffm": {"n_factors": 4, "normalize": False, "linear": True, "libffm": False},
    "afm": {"n_factors": 6, "attention_factors": 5, "normalize": False},
    "deepfm": {
        "n_factors": 6,
        "hidden_layer_sizes": [9, 7],
        "activation": "relu",
        "batch_size": 4096,
        "shrinkage": 10.0,
    },
    "fwfm": {"n_factors": 6, "normalize": False},
}


def make(name: str, *, training: bool = True, n_threads: int = 1, n_features: int = N_FEATURES, **other: Any) -> Any:
    """The kernel of one model, with `other` in place of its options in OPTIONS."""
    return kernels.make_model(name, n_features, N_FIELDS, OPTIONS[name] | other, training, n_threads)


def fill(model: Any, *, seed: int = 0, deviation: float = 0.3) -> Any:
    """Give every parameter of `model` a random value."""
    rng = np.random.default_rng(seed)
    for name, width, _ in model.parameters:
        model.write(name, rng.normal(0, deviation, (N_FEATURES, width)).astype(np.float32))
    if model.n_dense:
        model.write_dense(0, rng.normal(0, deviation, model.n_dense).astype(np.float32))
    model.bias[0] = rng.normal()
    return model


def read_all(model: Any) -> dict[str, np.ndarray]:
    """Every number of `model` that training changes."""
    state = {f"table {i}": table.copy() for i, table in enumerate(model.tables)} | {"bias": model.bias.copy()}
    for name, width, _ in model.parameters:
        state[name] = np.full((N_FEATURES, width), np.nan, np.float32)
        model.read(name, state[name])
    for line in range(3 if model.n_dense else 0):
        state[f"dense {line}"] = np.full(model.n_dense, np.nan, np.float32)
        model.read_dense(line, state[f"dense {line}"])
    return state


def arrays(kind: str, n_rows: int, *, seed: int = 0) -> dict[str, np.ndarray | None]:
    """Rows by the names of BoundRows.make: "plain", with "values", "ragged", or "weighted"."""
    rng = np.random.default_rng(seed)
    rows: dict[str, np.ndarray | None] = {"offsets": None, "values": None, "fields": None, "weight": None}
    if kind == "ragged":
        lengths = rng.integers(0, 9, n_rows)
        rows["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows["ids"] = rng.integers(0, N_FEATURES, lengths.sum()).astype(np.int32)
        rows["fields"] = FIELD_OF[rows["ids"]]
    else:
        drawn = rng.integers(0, FIELD_SIZE, (n_rows, N_FIELDS)) + np.arange(N_FIELDS) * FIELD_SIZE
        rows["ids"] = drawn.astype(np.int32).reshape(-1)
    if kind in ("values", "ragged"):
        rows["values"] = rng.normal(0, 1, len(rows["ids"])).astype(np.float32)
    if kind == "weighted":
        rows["weight"] = rng.choice([0, 0.5, 3], n_rows).astype(np.float32)
    rows["y"] = (rng.random(n_rows) < 0.4).astype(np.float32)
    return rows


def part(rows: dict[str, np.ndarray | None], first: int, last: int) -> dict[str, np.ndarray | None]:
    """Rows first … last − 1."""
    offsets = rows["offsets"]
    n_slots = N_FIELDS if offsets is None else 0
    begin, end = (first * n_slots, last * n_slots) if offsets is None else (offsets[first], offsets[last])
    cut = {"ids": (begin, end), "values": (begin, end), "y": (first, last), "weight": (first, last)}
    if offsets is not None:
        cut["fields"] = (begin, end)
    found = {
        name: array if array is None or name not in cut else array[slice(*cut[name])] for name, array in rows.items()
    }
    return found | {"offsets": None if offsets is None else offsets[first : last + 1] - offsets[first]}


def bind(rows: dict[str, np.ndarray | None], n_rows: int, *, n_owners: int = 1, n_features: int = N_FEATURES) -> Any:
    return kernels.BoundRows.make(n_rows=n_rows, n_features=n_features, n_owners=n_owners, n_fields=N_FIELDS, **rows)


def logits(model: Any, rows: dict[str, np.ndarray | None], n_rows: int, *, threaded: bool = False) -> np.ndarray:
    out = np.full(n_rows, np.nan, np.float32)
    model.logits(bind(rows, n_rows), out, threaded)
    return out


def counts(rows: dict[str, np.ndarray | None]) -> np.ndarray:
    return np.bincount(rows["ids"], minlength=N_FEATURES).astype(np.float32)


def priors(model: Any, *, precision: float = 5.0, strength: float = 2.0, fraction: float = 1.0) -> list[Any]:
    """One prior for each vector of `model`."""
    n_vectors = sum(n for _, _, n in model.parameters)
    return [
        kernels.Prior([precision] * N_FIELDS, precision, strength, precision / 100, precision * 100, fraction)
        for _ in range(n_vectors)
    ]


def prepared(
    name: str, rows: dict[str, np.ndarray | None], *, n_threads: int = 1, **other: Any
) -> tuple[Any, list[Any]]:
    """A model at the start of its training on `rows`, and its priors."""
    model = make(name, n_threads=n_threads, **other)
    model.reset(counts(rows), [1.0, 0.1][: len(model.parameters)])
    fill(model, deviation=0.1)
    known = priors(model)
    model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.01, estimate=False)
    return model, known


def train(model: Any, known: list[Any], rows: dict[str, np.ndarray | None], n_rows: int, *, n_epochs: int = 2) -> float:
    """Train for some epochs; gives the loss of the last."""
    order = np.random.default_rng(1).permutation(n_rows)
    bound = bind(rows, n_rows, n_owners=model.n_threads)
    loss = 0.0
    for epoch in range(n_epochs):
        if epoch > 0:
            model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.01, estimate=True, n_epochs=epoch)
        loss = model.step(bound, order, "logistic", None, learning_rate=0.1, crowding=0.01, dense_learning_rate=0.01)
    return loss
