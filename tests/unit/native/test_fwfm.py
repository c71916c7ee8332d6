"""The kernel of FwFM against a double loop over the pairs of a row, its gradients against finite differences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from . import kernel_cases as cases
from .kernel_cases import FIELD_OF, N_FEATURES, N_FIELDS

KINDS = ["plain", "values", "ragged"]
FACTORS = [1, 4, 7, 16, 20, 40]
Numbers = Mapping[str, np.ndarray]


def matrix(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix of an upper triangle with its diagonal, row by row."""
    upper = np.zeros((N_FIELDS, N_FIELDS))
    upper[np.triu_indices(N_FIELDS)] = triangle
    return upper + upper.T - np.diag(np.diag(upper))


def entries(rows: Mapping[str, np.ndarray | None], i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, values and fields of row i."""
    row = cases.part(dict(rows), i, i + 1)
    values = np.ones(len(row["ids"])) if row["values"] is None else row["values"].astype(float)
    return row["ids"], values, FIELD_OF[row["ids"]]


def specified(numbers: Numbers, ids: np.ndarray, values: np.ndarray, fields: np.ndarray) -> float:
    """z = w_0 + Σ w_i x_i + Σ_{i<j} r_{f(i) f(j)} ⟨v_i, v_j⟩ x_i x_j."""
    z = float(numbers["bias"][0] + numbers["linear"][ids, 0] @ values)
    r, v = matrix(numbers["dense"]), numbers["factors"][ids]
    for i in range(len(ids)):
        for j in range(i):
            z += r[fields[i], fields[j]] * (v[i] @ v[j]) * values[i] * values[j]
    return z


def numbers_of(model: object) -> Numbers:
    state = cases.read_all(model)
    found = {"bias": state["bias"], "linear": state["linear"], "factors": state["factors"], "dense": state["dense 0"]}
    return {name: array.astype(float) for name, array in found.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_factors", FACTORS)
def test_logits_are_those_of_the_formula(kind: str, n_factors: int) -> None:
    rows, model = cases.arrays(kind, 60), cases.make("fwfm", n_factors=n_factors)
    cases.fill(model)
    numbers = numbers_of(model)
    expected = [specified(numbers, *entries(rows, i)) for i in range(60)]
    np.testing.assert_allclose(cases.logits(model, rows, 60), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_with_weights_of_one_it_is_the_factorization_machine(kind: str) -> None:
    rows, fm = cases.arrays(kind, 200), cases.fill(cases.make("fm"))
    model = cases.make("fwfm")
    for name in ("linear", "factors"):
        model.write(name, cases.read_all(fm)[name])
    model.write_dense(0, np.ones(model.n_dense, np.float32))
    model.bias[:] = fm.bias
    np.testing.assert_allclose(cases.logits(model, rows, 200), cases.logits(fm, rows, 200), rtol=1e-5, atol=1e-5)


def test_rows_are_divided_by_their_norm_where_asked_for() -> None:
    rows = cases.arrays("values", 50)
    plain, normalized = (cases.fill(cases.make("fwfm", normalize=flag)) for flag in (False, True))
    norms = np.linalg.norm(rows["values"].reshape(50, -1), axis=1, keepdims=True)
    scaled = rows | {"values": (rows["values"].reshape(50, -1) / norms).reshape(-1).astype(np.float32)}
    np.testing.assert_allclose(
        cases.logits(normalized, rows, 50), cases.logits(plain, scaled, 50), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_factors", FACTORS)
def test_one_step_goes_along_the_gradient(kind: str, n_factors: int) -> None:
    """Of the formula's loss, by central differences. A vector moves by the learning rate times g / √(0.1 + mean g²)."""
    rows = cases.arrays(kind, 40)
    row = next(i for i in range(40) if len(np.unique(entries(rows, i)[0])) == len(entries(rows, i)[0]) > 3)
    ids, values, fields = entries(rows, row)
    model, _ = cases.prepared("fwfm", rows, n_factors=n_factors)
    model.set_priors(FIELD_OF, cases.priors(model, precision=1e-9), dispersion=1.0, crowding=0.0, estimate=False)
    cases.fill(model, deviation=0.5)
    before = numbers_of(model)
    y = float(rows["y"][row])

    def loss() -> float:
        z = specified(before, ids, values, fields)
        return np.logaddexp(0, z) - y * z

    def gradient(array: np.ndarray) -> np.ndarray:
        found, step = np.zeros(array.shape), 1e-4
        for at in np.ndindex(array.shape):
            array[at] += step
            high = loss()
            array[at] -= 2 * step
            found[at] = (high - loss()) / (2 * step)
            array[at] += step
        return found

    expected = gradient(before["dense"])
    of_vectors = np.zeros((N_FEATURES, n_factors))
    for i in ids:
        of_vectors[i] = gradient(before["factors"][i])
    rates = {"learning_rate": 0.3, "crowding": 0.0, "dense_learning_rate": 0.01}
    model.step(cases.bind(rows, 40), np.array([row]), "logistic", None, **rates)
    state = cases.read_all(model)
    np.testing.assert_allclose(state["dense 1"] / 0.1, expected, rtol=1e-3, atol=2e-5)
    moved = 0.3 * of_vectors / np.sqrt(0.1 + (of_vectors**2).mean(1, keepdims=True))
    np.testing.assert_allclose(before["factors"] - state["factors"], moved, rtol=1e-3, atol=2e-5)


def test_the_weight_of_a_field_with_itself_does_not_matter_where_rows_hold_one_entry_of_each() -> None:
    rows = cases.arrays("values", 100)
    model, _ = cases.prepared("fwfm", rows)
    dense = np.empty(model.n_dense, np.float32)
    model.read_dense(0, dense)
    before = cases.logits(model, rows, 100)
    own = np.flatnonzero(np.equal(*np.triu_indices(N_FIELDS)))
    dense[own] = 77
    model.write_dense(0, dense)
    np.testing.assert_array_equal(cases.logits(model, rows, 100), before)
    cases.train(model, cases.priors(model), rows, 100)
    model.read_dense(0, dense)
    np.testing.assert_array_equal(dense[own], 77)
