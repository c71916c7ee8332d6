"""What the native scorer promises beyond test_engines.py: what it refuses, and what it lets through."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import InputError
from anyfm.core.rows import Rows
from anyfm.models import specification_logits
from tests.random_rows import N_FEATURES, N_FIELDS, random_parameters, random_rows

from .cases import ALL_CASES, has_linear_terms, make_model, scorer

BY_FIELD = [case for case in ALL_CASES if make_model(case).needs_fields and case != "deepfm-none"]


def drawn(case: str, *, deviation: float = 0.3) -> dict[str, np.ndarray]:
    return random_parameters(make_model(case), deviation=deviation, dtype=np.float32)


@pytest.mark.parametrize("case", ALL_CASES)
def test_scores_of_small_parameters_equal_the_specification_to_the_last_digits(case: str) -> None:
    model, data, parameters = make_model(case), random_rows("values"), drawn(case, deviation=0.05)
    expected = specification_logits(model, parameters, data)
    np.testing.assert_allclose(scorer(model, parameters).logits(data), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("case", ALL_CASES)
def test_no_rows_and_rows_without_entries(case: str) -> None:
    model, parameters = make_model(case), drawn(case)
    of_model = scorer(model, parameters)
    assert of_model.logits(Rows(ids=np.zeros((0, N_FIELDS), np.int32))).shape == (0,)
    empty = Rows(ids=np.zeros(0, np.int32), offsets=np.zeros(3, np.int64), fields=np.zeros(0, np.int32))
    expected = specification_logits(model, parameters, empty)
    np.testing.assert_allclose(of_model.logits(empty), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ALL_CASES)
def test_parameters_that_are_not_finite_show(case: str) -> None:
    """Of AFM's attention they do not: its relu takes what is not a number for 0."""
    model, data = make_model(case), random_rows("fixed", 3)
    for name in drawn(case):
        if name.startswith("attention_") or (name == "linear" and not has_linear_terms(case)):
            continue
        parameters = drawn(case)
        parameters[name][:] = np.nan
        assert np.isnan(scorer(model, parameters).logits(data)).all(), name


@pytest.mark.parametrize("bad", [-1, N_FIELDS])
@pytest.mark.parametrize("case", BY_FIELD)
def test_fields_out_of_bounds_are_refused(case: str, bad: int) -> None:
    of_model, data = scorer(make_model(case), drawn(case)), random_rows("ragged", 10)
    assert data.fields is not None
    data.fields[3] = bad
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*row .*{bad}"):
        of_model.logits(data)
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*{bad}"):
        of_model.logit(data.ids[:5], None, data.fields[:5])


@pytest.mark.parametrize("case", BY_FIELD)
def test_more_slots_than_fields_are_refused(case: str) -> None:
    with pytest.raises(InputError, match="field"):
        scorer(make_model(case), drawn(case)).logits(Rows(ids=np.zeros((3, N_FIELDS + 1), np.int32)))


@pytest.mark.parametrize("bad", [-1, N_FEATURES, 2**31 - 1])
@pytest.mark.parametrize("case", ALL_CASES)
def test_ids_out_of_bounds_are_refused(case: str, bad: int) -> None:
    of_model, data = scorer(make_model(case), drawn(case)), random_rows("fixed", 10)
    data.ids[6, 2] = bad
    with pytest.raises(InputError, match=rf"feature id .*row 7.*{bad}"):
        of_model.logits(data)
    with pytest.raises(InputError, match="feature id"):
        of_model.logit(np.array([0, bad], np.int32))
