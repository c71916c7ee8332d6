"""The models under contract, one line each, and what the contract tests share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anyfm.core.rows import Rows
from anyfm.engines.base import Engine
from anyfm.engines.registry import make_engine
from anyfm.engines.scorer import Scorer, make_scorer
from anyfm.models import MODELS, BaseModel, Batch, ParameterSpec, gather, specification_logits
from tests.random_rows import N_FEATURES, N_FIELDS, as_ragged

ENGINES = ("native", "torch")

# A case is a model, perhaps with a suffix, and its settings. Every engine that the model names trains it.
CASES: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-normalized": {"normalize": True},
    "fm-1": {"n_factors": 1},
    "fm-8": {"n_factors": 8},
    "fm-normalized": {"n_factors": 3, "normalize": True},
    "fwfm": {"n_factors": 5},
    "ffm-4": {"n_factors": 4},
    "ffm-without-linear": {"n_factors": 3, "linear": False, "init_scale": 5},
    "ffm-normalized": {"n_factors": 3, "normalize": True},
    "afm-5-3": {"n_factors": 5, "attention_factors": 3, "dropout": 0.2},
    "afm-normalized": {"n_factors": 3, "normalize": True},
    "deepfm": {"hidden_layer_sizes": (130, 13, 66)},  # 8, 16 or 64 outputs are a panel of the kernels
    "deepfm-1": {"n_factors": 1, "hidden_layer_sizes": (1,)},
    "deepfm-none": {"hidden_layer_sizes": ()},
    "deepfm-tanh": {"n_factors": 3, "hidden_layer_sizes": (65,), "activation": "tanh", "weight_decay": 0.1},
    "deepfm-sigmoid": {
        "n_factors": 7,
        "hidden_layer_sizes": (20, 4),
        "activation": "sigmoid",
        "dropout": 0.2,
        "batch_size": 40,
    },
    "deepfm-norm": {"n_factors": 5, "hidden_layer_sizes": (9, 70), "batch_norm": True, "dropout": 0.2},
}

# Sizes in which the native kernels' code differs.
NATIVE_CASES: dict[str, dict[str, Any]] = {
    **{f"fm-{k}": {"n_factors": k} for k in (4, 7, 16, 20, 37, 256)},
    **{f"ffm-{k}": {"n_factors": k} for k in (1, 5, 8)},
    "ffm-libffm": dict(MODELS["ffm"].presets["libffm"]),
    **{
        f"afm-{k}-{t}": {"n_factors": k, "attention_factors": t, "dropout": 0.2}
        for k, t in ((1, 1), (4, 3), (8, 17), (16, 16), (21, 4))
    },
}
_ALL = {**CASES, **NATIVE_CASES}
ALL_CASES = tuple(_ALL)


def make_model(case: str, **changes: Any) -> BaseModel:
    """The model of a case, with some settings changed."""
    kind = MODELS[case.partition("-")[0]]
    return kind(kind.settings_type(**(_ALL[case] | changes)))


def has_setting(case: str, name: str) -> bool:
    return name in MODELS[case.partition("-")[0]].settings_type.names()


CASES_OF = {
    "native": [case for case in ALL_CASES if "native" in make_model(case).engines],
    "torch": [case for case in CASES if "torch" in make_model(case).engines],
}

# The native engine gives the same bytes for any number of threads. torch gives the same bytes for the same number.
ANY_N_THREADS = {"native": True, "torch": False}
N_THREADS = {"native": (1, 2, 3, 8), "torch": (1, 2)}


def has_linear_terms(case: str) -> bool:
    return getattr(make_model(case).settings, "linear", True) is not False


def of_every_model(*, engine: str | None = None) -> pytest.MarkDecorator:
    """Parametrize a test by `engine` and `case`: every model that the engine trains."""
    pairs = [(name, case) for name in ENGINES if engine in (None, name) for case in CASES_OF[name]]
    return pytest.mark.parametrize(("engine", "case"), pairs, indirect=["engine"])


def build(
    engine: str,
    model: BaseModel,
    *,
    n_threads: int = 1,
    n_features: int = N_FEATURES,
    n_fields: int = N_FIELDS,
) -> Engine:
    return make_engine(model, n_features=n_features, n_fields=n_fields, n_threads=n_threads, engine=engine)


def prepared(engine: str, model: BaseModel, train: Rows, *, seed: int = 3, **sizes: int) -> Engine:
    made = build(engine, model, **sizes)
    made.prepare(train, seed=seed)
    return made


def run_epoch(engine: Engine, train: Rows, epoch: int, *, at_most: int | None = None) -> float:
    """One epoch, or its first `at_most` rows, in calls of 128 rows. Returns the loss."""
    engine.begin_epoch(epoch)
    order = np.random.default_rng(epoch).permutation(train.n_rows).astype(np.int64)[:at_most]
    return sum(engine.step(train, order[first : first + 128]) for first in range(0, len(order), 128))


def trained(engine: str, model: BaseModel, train: Rows, *, epochs: int = 2, **arguments: int) -> Engine:
    made = prepared(engine, model, train, **arguments)
    for epoch in range(1, epochs + 1):
        run_epoch(made, train, epoch)
    return made


def scorer(
    model: BaseModel, parameters: Mapping[str, NDArray[Any]], *, n_fields: int = N_FIELDS, n_threads: int = 1
) -> Scorer:
    return make_scorer(model.resolve(n_fields), parameters, n_fields=n_fields, n_threads=n_threads)


def single_rows(data: Rows, n_rows: int) -> Iterator[tuple[Any, Any, Any]]:
    """ids, values and fields of the first rows, as a scorer takes one row."""
    for i in range(n_rows):
        row = data.slice(i, i + 1)
        yield row.ids.reshape(-1), None if row.values is None else row.values.reshape(-1), row.fields


def same(a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two states are the same bytes under the same names."""
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def mean_loss(logits: NDArray[Any], data: Rows, task: str) -> float:
    """The weighted mean of logloss or half the squared error."""
    assert data.y is not None
    z, y = logits.astype(np.float64), data.y.astype(np.float64)
    losses = np.logaddexp(0, z) - y * z if task == "binary" else (z - y) ** 2 / 2
    return float(np.average(losses, weights=data.weight))


def is_per_feature(spec: ParameterSpec) -> bool:
    """Whether the first axis of a parameter is the feature."""
    return spec.per_feature


def gathered(model: BaseModel, parameters: Mapping[str, NDArray[Any]], data: Rows) -> Batch:
    """The batch of `data`, its parameters in float64."""
    specs = model.parameter_specs(len(parameters["linear"]), N_FIELDS)
    return gather(parameters, data, specs, normalize=_normalizes(model))


def finite_differences(
    model: BaseModel, parameters: Mapping[str, NDArray[Any]], row: Rows, name: str, *, step: float = 1e-5
) -> NDArray[np.float64]:
    """The derivatives of one row's weighted loss by one parameter array, by central differences; the array's shape."""
    batch = gathered(model, parameters, row)
    array = batch.parameters[name]  # of the row's entries, where it is per feature
    gradient = np.zeros(array.shape)
    weight = 1.0 if row.weight is None else float(row.weight[0])
    unweighted = replace(row, weight=None)
    for index in np.ndindex(array.shape):
        at, losses = array[index], []
        for moved in (at + step, at - step):
            array[index] = moved
            losses.append(mean_loss(model.logits(batch), unweighted, model.settings.task))
        array[index] = at
        gradient[index] = weight * (losses[0] - losses[1]) / (2 * step)
    if not is_per_feature(model.parameter_specs(len(parameters["linear"]), N_FIELDS)[name]):
        return gradient
    of_features = np.zeros(parameters[name].shape)
    np.add.at(of_features, row.ids.reshape(-1), gradient[0])
    return of_features


def rounding_bound(
    model: BaseModel, parameters: Mapping[str, NDArray[Any]], data: Rows, *, n_fields: int = N_FIELDS
) -> NDArray[np.float64]:
    r"""How far a logit computed in float32 may be from the exact one, for each row: shape (n_rows,).

    A sum of n products in float32 is off by at most γ Σ|terms| with γ = n u / (1 - n u), u = 2⁻²⁴, in whatever order
    it is added up (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, §3.1). Each number that enters a
    logit passes through at most n roundings, n being the lengths of all sums one after the other, and a logit is a sum
    of sums whose terms are, in absolute value, those of the same model with |θ| and |x|. Two corrections:

    - FM's identity ½ [(Σ v x)² - Σ (v x)²] has terms that cancel. Rows with every entry twice have a sum of absolute
      terms that is at least as large as theirs.
    - An activation is at most as steep as the identity; so relu, with ½ more for sigmoid's offset, bounds every layer.
    """
    plain = replace(model.settings, task="regression", **({"normalize": False} if _normalizes(model) else {}))
    sizes = {name: array.shape for name, array in parameters.items()}
    lengths = np.diff(data.offsets) if data.offsets is not None else np.array([data.ids.shape[1]])
    n_slots = int(lengths.max(initial=0))
    specs = model.parameter_specs(len(parameters["linear"]), n_fields)
    n_roundings = 16 + n_slots * (n_slots + 1) // 2
    n_roundings += sum(sum(shape[1:] if is_per_feature(specs[name]) else shape) for name, shape in sizes.items())
    unit = np.finfo(np.float32).eps / 2
    gamma = n_roundings * unit / (1 - n_roundings * unit)

    absolute = {name: np.abs(array).astype(np.float64) for name, array in parameters.items()}
    doubled = _every_entry_twice(data, normalize=_normalizes(model))
    if model.name == "afm":
        return gamma * _attention_terms(absolute, specs, doubled)
    if model.name == "deepfm":
        for layer in range(len(model.settings.hidden_layer_sizes)):
            of = {name: parameters.get(f"hidden_{layer}_{name}", 0.0) for name in LAYER_ARRAYS}
            slope = of["scale"] / np.sqrt(of["variance"] + 1e-5) if model.settings.batch_norm else 1.0
            absolute[f"hidden_{layer}_weights"] = np.abs(of["weights"] * slope).astype(np.float64)
            bias = np.abs(of["bias"] * slope) + np.abs(of["mean"] * slope) + np.abs(of["shift"])
            absolute[f"hidden_{layer}_bias"] = bias + 0.5
        plain = replace(plain, activation="relu", batch_norm=False)
        kept = type(model)(plain).parameter_specs(len(parameters["linear"]), n_fields)
        absolute = {name: absolute[name] for name in kept}
    terms: NDArray[np.float64] = specification_logits(type(model)(plain), absolute, doubled)
    return gamma * terms


LAYER_ARRAYS = ("weights", "bias", "scale", "shift", "mean", "variance")


def _normalizes(model: BaseModel) -> bool:
    return bool(getattr(model.settings, "normalize", False))


def _every_entry_twice(data: Rows, *, normalize: bool) -> Rows:
    """|x| of every entry, divided by its row's norm where the model does so, every entry twice."""
    ragged = data if data.offsets is not None else as_ragged(data)
    assert ragged.offsets is not None
    lengths = np.diff(ragged.offsets)
    x = np.ones(len(ragged.ids)) if ragged.values is None else np.abs(ragged.values).astype(np.float64)
    if normalize:
        row_of = np.repeat(np.arange(ragged.n_rows), lengths)
        norms = np.sqrt(np.bincount(row_of, x**2, minlength=ragged.n_rows))
        x = x / np.where(norms > 0, norms, 1)[row_of]
    return replace(
        ragged,
        ids=np.repeat(ragged.ids, 2),
        offsets=2 * ragged.offsets,
        values=np.repeat(x, 2).astype(np.float32),
        fields=None if ragged.fields is None else np.repeat(ragged.fields, 2),
    )


def _attention_terms(absolute: Mapping[str, NDArray[Any]], specs: Any, doubled: Rows) -> NDArray[np.float64]:
    """AFM's pooled pairs are at most the largest pair, and a weight is relatively as wrong as its score absolutely."""
    batch = gather(absolute, doubled, specs)
    scaled = batch.parameters["factors"] * batch.values[..., None]
    products = (scaled[:, :, None] * scaled[:, None]).reshape(len(scaled), -1, scaled.shape[2])
    hidden = products @ absolute["attention_weights"] + absolute["attention_bias"]
    scores = (hidden @ absolute["attention_output"]).max(axis=1, initial=0)
    largest = (products @ absolute["projection"]).max(axis=1, initial=0)
    linear = (batch.parameters["linear"] * batch.values).sum(axis=1)
    return np.asarray(absolute["bias"][0] + linear + largest * (1 + 2 * scores))
