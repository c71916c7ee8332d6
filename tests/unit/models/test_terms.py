"""What a model declares beside its logit: its pair terms and its MLP."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.cases import ALL_CASES, gathered, make_model
from tests.contracts.pairwise import pairwise
from tests.random_rows import KINDS, N_FIELDS, random_parameters, random_rows

DEEP = [case for case in ALL_CASES if case.startswith("deepfm") and case != "deepfm-none"]


@pytest.mark.parametrize(("case", "kind"), pairwise(ALL_CASES, KINDS))
def test_linear_terms_pair_terms_and_the_mlp_add_up_to_the_logit(case: str, kind: str) -> None:
    model, data = make_model(case), random_rows(kind, 20)
    parameters = random_parameters(model)
    batch = gathered(model, parameters, data)
    total = batch.parameters["bias"] + (batch.parameters["linear"] * batch.values).sum(axis=1)
    terms = model.pair_terms()
    assert (terms is None) == (model.name == "linear")
    if terms is not None:
        vectors, weights = terms.vectors(batch), terms.weights(batch)
        assert (weights is not None) == terms.has_weights
        form = terms.form(batch, vectors, vectors) * (1 if weights is None else weights)
        np.testing.assert_allclose(form, form.swapaxes(1, 2), atol=1e-12)
        total = total + np.triu(form, 1).sum(axis=(1, 2))
    mlp = model.mlp(parameters)
    assert (mlp is not None) == (case in DEEP)
    if mlp is not None:
        by_field = batch.by_field(batch.parameters["factors"] * batch.values[..., None], N_FIELDS)
        total = total + mlp.logits(by_field.reshape(data.n_rows, -1))
    np.testing.assert_allclose(total, model.logits(batch), rtol=1e-5, atol=1e-5)  # the MLP's weights are float32


@pytest.mark.parametrize("case", DEEP)
def test_the_gradient_of_the_mlp_agrees_with_finite_differences(case: str) -> None:
    model = make_model(case)
    mlp = model.mlp(random_parameters(model))
    assert mlp is not None
    inputs = np.random.default_rng(0).normal(0, 1, (3, N_FIELDS * model.settings.n_factors))
    found = mlp.gradients(inputs)
    for column in range(inputs.shape[1]):
        step = np.zeros_like(inputs)
        step[:, column] = 1e-6
        expected = (mlp.logits(inputs + step) - mlp.logits(inputs - step)) / 2e-6
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-3, atol=1e-4 * np.abs(found).max())
