"""The bindings refuse what would make the kernels read or write out of bounds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm import _cpu
from anyfm.core.native import isa, kernels

from . import kernel_cases as cases


def bound(ids: np.ndarray, n_rows: int, offsets: np.ndarray | None = None, **other: np.ndarray) -> object:
    arrays = {"values": None, "fields": None, "y": None, "weight": None} | other
    return kernels.BoundRows.make(ids, n_rows, offsets, **arrays, n_features=5, n_owners=2)


IDS = np.array([0, 1, 2, 3], np.int32)


@pytest.mark.parametrize(
    ("n_rows", "arrays"),
    [
        (3, {}),
        (-1, {}),
        (0, {}),
        (2, {"y": np.zeros(3, np.float32)}),
        (2, {"weight": np.zeros(1, np.float32)}),
        (2, {"values": np.zeros(3, np.float32)}),
        (2, {"fields": np.zeros(3, np.int32)}),
        (2, {"offsets": np.array([0, 4], np.int64)}),
        (2, {"offsets": np.array([0, 5, 4], np.int64)}),
        (2, {"offsets": np.array([1, 2, 4], np.int64)}),
        (2, {"offsets": np.array([0, 2, 3], np.int64)}),
    ],
)
def test_arrays_that_do_not_fit_together(n_rows: int, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"arrays|offsets"):
        bound(IDS, n_rows, **arrays)


@pytest.mark.parametrize("bad", [-1, 5, 2**31 - 1, -(2**31)])
def test_ids_out_of_bounds(bad: int) -> None:
    with pytest.raises(IndexError):
        bound(np.array([0, bad], np.int32), 1)


FM = {"n_factors": 4, "normalize": False}


def fm(n_features: int, *, training: bool = True, n_threads: int = 2) -> object:
    return kernels.make_model("fm", n_features, 2, FM, training, n_threads)


@pytest.mark.parametrize("order", [[-1], [2], [0, 1, 2**62]])
def test_row_indices_out_of_bounds(order: list[int]) -> None:
    rows = bound(IDS, 2, y=np.zeros(2, np.float32))
    with pytest.raises(IndexError):
        fm(5).step(rows, np.array(order, np.int64), "logistic", None, 0.1, 0.0, 0.0)


def test_rows_without_a_target_or_bound_for_other_threads() -> None:
    with pytest.raises(ValueError, match="with a target"):
        fm(5).step(bound(IDS, 2), np.arange(2), "logistic", None, 0.1, 0.0, 0.0)
    with pytest.raises(ValueError, match="other threads"):
        fm(5, n_threads=3).step(bound(IDS, 2, y=np.zeros(2, np.float32)), np.arange(2), "logistic", None, 0.1, 0.0, 0.0)


def test_rows_checked_for_a_larger_model() -> None:
    with pytest.raises(ValueError, match="more features"):
        fm(3).logits(bound(IDS, 2), np.empty(2, np.float32), threaded=False)


@pytest.mark.parametrize("name", ["ffm", "deepfm", "fwfm"])
def test_rows_whose_fields_were_not_checked(name: str) -> None:
    with pytest.raises(ValueError, match="fields of the model"):
        cases.make(name).logits(bound(IDS, 2), np.empty(2, np.float32), threaded=False)
    for field in (-1, 5):
        with pytest.raises(ValueError, match="field out of bounds"):
            cases.make(name).logit(IDS[:1], None, np.array([field], np.int32))
        with pytest.raises(ValueError, match="field out of bounds"):
            kernels.BoundRows.make(IDS, 4, None, None, np.array([field], np.int32), None, None, 5, 1, 5)


def test_one_logit_per_row() -> None:
    with pytest.raises(ValueError, match="one logit per row"):
        fm(5).logits(bound(IDS, 2), np.empty(3, np.float32), threaded=False)
    with pytest.raises(TypeError):
        fm(5).logits(bound(IDS, 2), np.empty(2), threaded=False)


@pytest.mark.parametrize("ids", [[-1], [5], [0, 9]])
def test_single_row_out_of_bounds(ids: list[int]) -> None:
    model = fm(5, training=False, n_threads=1)
    with pytest.raises(IndexError):
        model.logit(np.array(ids, np.int32))


def test_single_row_whose_arrays_do_not_fit_together() -> None:
    model = fm(5, training=False, n_threads=1)
    with pytest.raises(ValueError, match="length of ids"):
        model.logit(IDS, np.ones(3, np.float32))
    with pytest.raises(ValueError, match="length of ids"):
        model.logit(IDS, None, np.zeros(5, np.int32))


@given(data=st.data())
def test_any_rows_are_refused_or_scored(data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(-1, 5), max_size=12))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    offsets = np.array([0, *cuts, len(ids)], np.int64)
    model = fm(5, training=False)
    out = np.full(len(offsets) - 1, np.nan, np.float32)
    try:
        rows = bound(np.array(ids, np.int32), len(offsets) - 1, offsets)
    except IndexError:
        assert min(ids) < 0 or max(ids) >= 5
        return
    model.logits(rows, out, threaded=True)
    assert not np.isnan(out).any()


def scorer() -> object:
    return cases.fill(cases.make("fm", training=False, n_threads=2))


def scores(model: object, seed: int) -> np.ndarray:
    return cases.logits(model, cases.arrays("plain", 10_000, seed=seed), 10_000, threaded=True)


def test_one_scorer_many_threads() -> None:
    shared = scorer()
    expected = [scores(shared, seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: scores(shared, seed % 8), range(64)))
    for i, logits in enumerate(found):
        np.testing.assert_array_equal(logits, expected[i % 8])


def _score_in_child(shared: object, queue: multiprocessing.Queue) -> None:
    queue.put(float(scores(shared, 1).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_scores_though_the_threads_stayed_with_its_parent() -> None:
    shared = scorer()
    expected = float(scores(shared, 1).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_score_in_child, args=(shared, queue))
    child.start()
    assert queue.get(timeout=30) == expected
    child.join()


def run_with(isa_name: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANYFM_ISA": isa_name}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_every_build_this_processor_runs_can_be_forced() -> None:
    for name in _cpu.supported():
        done = run_with(name, "from anyfm.core.native import isa; print(isa)")
        assert done.stdout.strip() == name, done.stderr
    assert isa == os.environ.get("ANYFM_ISA", _cpu.supported()[0])


def test_an_unknown_build_is_refused_by_name() -> None:
    done = run_with("sse9", "import anyfm.core.native")
    assert "ANYFM_ISA must be one of" in done.stderr
    assert "sse9" in done.stderr


def test_the_builds_agree() -> None:
    code = """
from tests.unit.native import kernel_cases as cases
rows = cases.arrays("values", 500)
for name in cases.OPTIONS:
    model, known = cases.prepared(name, rows)
    cases.train(model, known, rows, 500, n_epochs=1)
    print(*cases.logits(model, rows, 500)[:20])
"""
    outputs = [np.array(run_with(name, code).stdout.split(), float) for name in _cpu.supported()]
    assert len(outputs[0]) == 20 * len(cases.OPTIONS)
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-4, atol=1e-5)


class TestUniform:
    def drawn(self, n: int, *, seed: int = 3, offset: int = 0) -> np.ndarray:
        out = np.full(n, np.nan, np.float32)
        kernels.uniform(out, seed, low=-0.5, width=1.0, offset=offset)
        return out

    def test_draws_are_even_and_those_of_the_seed(self) -> None:
        drawn = self.drawn(30_000)
        assert -0.5 <= drawn.min() < -0.49
        assert 0.49 < drawn.max() < 0.5
        assert abs(drawn.mean()) < 0.01
        assert len(np.unique(drawn)) > 0.9 * drawn.size
        assert (self.drawn(30_000, seed=4) != drawn).mean() > 0.9

    def test_a_number_depends_on_its_place_alone(self) -> None:
        """Also where several threads draw, from 2^18 numbers for each on."""
        whole = self.drawn(1_500_000)
        cuts = [0, 1, 7, 600_000, 1_500_000]
        parts = [self.drawn(b - a, offset=a) for a, b in pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)

    def test_only_arrays_that_can_be_written_in_place(self) -> None:
        with pytest.raises(TypeError):
            kernels.uniform(np.zeros(4), 0, 0.0, 1.0, 0)
