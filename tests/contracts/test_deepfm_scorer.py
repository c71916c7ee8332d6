"""DeepFM scored by the native kernels, without torch: held to the specification."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.engines.scorer import NativeScorer
from anyfm.models import BaseModel, DeepFM, DeepFMSettings, specification_logits

from .cases import KINDS, N_FEATURES, N_FIELDS, deep_models, rows

FORMS = list(deep_models())


def drawn(model: BaseModel, seed: int = 0, *, deviation: float = 0.3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {
        name: rng.normal(0, deviation, spec.shape).astype(np.float32)
        for name, spec in model.parameter_specs(N_FEATURES, N_FIELDS).items()
    }
    return {name: np.abs(array) + 0.5 if name.endswith("_variance") else array for name, array in made.items()}


def scorer(model: BaseModel, parameters: dict[str, np.ndarray], *, n_threads: int = 2) -> NativeScorer:
    return NativeScorer(model, parameters, n_fields=N_FIELDS, n_threads=n_threads)


def sensitivity(model: BaseModel, parameters: dict[str, np.ndarray], data: Rows) -> np.ndarray:
    """What a logit is at most, with every number of the sum taken positive: what rounding is relative to.

    All activations are at most as steep as the identity, and no larger but for sigmoid's ½.
    """
    positive = {name: np.abs(array) for name, array in parameters.items()}
    values = np.ones(data.ids.shape, np.float32) if data.values is None else np.abs(data.values)
    folded = model.layers(parameters)
    for layer, (weights, bias) in enumerate(folded):
        positive[f"hidden_{layer}_weights"], positive[f"hidden_{layer}_bias"] = np.abs(weights), np.abs(bias) + 0.5
    plain = DeepFM(DeepFMSettings(n_factors=model.settings.n_factors, hidden=model.settings.hidden))
    names = plain.parameter_specs(N_FEATURES, N_FIELDS)
    size = Rows(ids=data.ids, offsets=data.offsets, values=values, fields=data.fields)
    return specification_logits(plain, {name: positive[name] for name in names}, size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMS)
def test_scores_equal_the_specification(name: str, kind: str) -> None:
    """A float32 sum of n terms is off by at most n ε of the sum of their sizes, and layers add theirs up."""
    model, data = deep_models()[name], rows(kind)
    parameters = drawn(model)
    expected = specification_logits(model, parameters, data)
    n_terms = N_FIELDS * model.settings.n_factors + sum(model.settings.hidden_layer_sizes) + 16
    tolerance = n_terms * np.finfo(np.float32).eps * (1 + sensitivity(model, parameters, data))
    assert (np.abs(scorer(model, parameters).logits(data) - expected) <= tolerance).all()


@pytest.mark.parametrize("name", FORMS)
def test_scores_equal_the_specification_to_the_last_digits(name: str) -> None:
    model, data = deep_models()[name], rows("values")
    parameters = drawn(model, deviation=0.05)
    expected = specification_logits(model, parameters, data)
    np.testing.assert_allclose(scorer(model, parameters).logits(data), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMS)
def test_same_bytes_on_any_threads_in_any_slices_and_alone(name: str, kind: str) -> None:
    model, data = deep_models()[name], rows(kind, 5000)
    parameters = drawn(model)
    whole = scorer(model, parameters, n_threads=1).logits(data)
    for n_threads in (2, 3):
        assert scorer(model, parameters, n_threads=n_threads).logits(data).tobytes() == whole.tobytes()
    one = scorer(model, parameters)
    cuts = [0, 1, 8, 100, 205, 206, 5000]
    parts = [one.logits(data.slice(a, b)) for a, b in pairwise(cuts)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    for i in range(4):
        row = data.slice(i, i + 1)
        values = None if row.values is None else row.values.reshape(-1)
        assert np.float32(one.logit(row.ids.reshape(-1), values, row.fields)) == whole[i]


def test_no_rows_and_rows_without_entries() -> None:
    model = deep_models()["deepfm-tanh"]
    parameters = drawn(model)
    one = scorer(model, parameters)
    assert one.logits(Rows(ids=np.zeros((0, N_FIELDS), np.int32))).shape == (0,)
    empty = Rows(ids=np.zeros(0, np.int32), offsets=np.zeros(3, np.int64), fields=np.zeros(0, np.int32))
    np.testing.assert_allclose(one.logits(empty), specification_logits(model, parameters, empty), rtol=1e-6)


def test_a_perceptron_that_is_not_finite_shows() -> None:
    model, data = deep_models()["deepfm"], rows("fixed", 3)
    parameters = drawn(model)
    parameters["hidden_0_bias"][3] = np.nan
    assert np.isnan(scorer(model, parameters).logits(data)).all()


@pytest.mark.parametrize("bad", [-1, N_FIELDS])
def test_fields_out_of_bounds_are_refused(bad: int) -> None:
    model = deep_models()["deepfm-1"]
    one, data = scorer(model, drawn(model)), rows("ragged", 10)
    assert data.fields is not None
    data.fields[3] = bad
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*row .*{bad}"):
        one.logits(data)
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*{bad}"):
        one.logit(data.ids[:5], None, data.fields[:5])
    with pytest.raises(InputError, match="feature id"):
        one.logit(np.array([N_FEATURES], np.int32))


def test_more_slots_than_fields_are_refused() -> None:
    model = deep_models()["deepfm-1"]
    with pytest.raises(InputError, match="field"):
        scorer(model, drawn(model)).logits(Rows(ids=np.zeros((3, N_FIELDS + 1), np.int32)))
