"""The bindings refuse what would make the kernels read or write out of bounds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm import _cpu
from anyfm.core.native import isa, kernels
from anyfm.core.rows import Rows
from anyfm.engines.native import NativeEngine
from anyfm.engines.scorer import NativeScorer
from anyfm.models import FM, FMSettings


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


@pytest.mark.parametrize("order", [[-1], [2], [0, 1, 2**62]])
def test_row_indices_out_of_bounds(order: list[int]) -> None:
    model = kernels.fm(5, n_factors=4, normalize=False, training=True, n_threads=2)
    rows = bound(IDS, 2, y=np.zeros(2, np.float32))
    with pytest.raises(IndexError):
        model.step(rows, np.array(order, np.int64), range=None, learning_rate=0.1, crowding=0.0)


def test_rows_checked_for_a_larger_model() -> None:
    model = kernels.linear(3, normalize=False, training=True, n_threads=2)
    with pytest.raises(ValueError, match="more features"):
        model.logits(bound(IDS, 2), np.empty(2, np.float32), threaded=False)


@pytest.mark.parametrize("ids", [[-1], [5], [0, 9]])
def test_single_row_out_of_bounds(ids: list[int]) -> None:
    model = kernels.fm(5, n_factors=4, normalize=False, training=False, n_threads=1)
    with pytest.raises(IndexError):
        model.logit(np.array(ids, np.int32))


@pytest.mark.parametrize("n_factors", [0, -1, 257])
def test_n_factors_out_of_range(n_factors: int) -> None:
    with pytest.raises(ValueError, match="n_factors"):
        kernels.fm(5, n_factors=n_factors, normalize=False, training=True, n_threads=1)


@given(data=st.data())
def test_any_rows_are_refused_or_scored(data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(-1, 5), max_size=12))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    offsets = np.array([0, *cuts, len(ids)], np.int64)
    model = kernels.fm(5, n_factors=3, normalize=False, training=False, n_threads=2)
    out = np.full(len(offsets) - 1, np.nan, np.float32)
    try:
        rows = bound(np.array(ids, np.int32), len(offsets) - 1, offsets)
    except IndexError:
        assert min(ids) < 0 or max(ids) >= 5
        return
    model.logits(rows, out, threaded=True)
    assert not np.isnan(out).any()


def scorer() -> NativeScorer:
    rng = np.random.default_rng(0)
    parameters = {
        "bias": np.float32([0.1]),
        "linear": rng.normal(size=100).astype(np.float32),
        "factors": rng.normal(size=(100, 8)).astype(np.float32),
    }
    return NativeScorer(FM(FMSettings(n_factors=8)), parameters, n_fields=4, n_threads=2)


def many_rows(seed: int, n_rows: int = 10_000) -> Rows:
    return Rows(ids=np.random.default_rng(seed).integers(0, 100, (n_rows, 4)).astype(np.int32))


def test_one_scorer_many_threads() -> None:
    shared = scorer()
    expected = [shared.logits(many_rows(seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: shared.logits(many_rows(seed % 8)), range(64)))
    for i, logits in enumerate(found):
        np.testing.assert_array_equal(logits, expected[i % 8])


def _score_in_child(shared: NativeScorer, queue: multiprocessing.Queue) -> None:
    queue.put(float(shared.logits(many_rows(1)).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_scores_though_the_threads_stayed_with_its_parent() -> None:
    shared = scorer()
    expected = float(shared.logits(many_rows(1)).sum())
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
import numpy as np
from anyfm.engines.native import NativeEngine
from anyfm.models import FM, FMSettings
from anyfm.core.rows import Rows
rng = np.random.default_rng(0)
ids = (rng.integers(0, 9, (500, 3)) + [0, 9, 18]).astype(np.int32)
rows = Rows(ids=ids, y=(rng.random(500) < .3).astype(np.float32))
engine = NativeEngine(FM(FMSettings(n_factors=12)), n_features=27, n_fields=3)
engine.prepare(rows, seed=0)
engine.step(rows, np.arange(500))
print(*engine.logits(rows)[:20])
"""
    outputs = [np.array(run_with(name, code).stdout.split(), float) for name in _cpu.supported()]
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-4, atol=1e-5)


def test_an_engine_must_be_prepared() -> None:
    engine = NativeEngine(FM(), n_features=5, n_fields=1)
    with pytest.raises(ValueError, match="prepared"):
        engine.step(Rows(ids=np.zeros((1, 1), np.int32), y=np.zeros(1, np.float32)), np.array([0]))


def test_every_thread_of_a_pool_takes_denormal_numbers_as_zero() -> None:
    model = kernels.linear(3, normalize=False, training=False, n_threads=3)
    model.table[:] = np.float32(1e-40)
    rows = kernels.BoundRows.make(
        np.tile(np.arange(3, dtype=np.int32), 30), 30, None, None, None, None, None, n_features=3, n_owners=1
    )
    out = np.empty(30, np.float32)
    model.logits(rows, out, threaded=True)
    np.testing.assert_array_equal(out, 0)


class TestFieldAwareStart:
    def started(self, *, n_threads: int = 1, seed: int = 3, without_own: bool = True) -> np.ndarray:
        n_features, n_fields, n_factors = 200, 39, 5
        model = kernels.ffm(
            n_features,
            n_fields=n_fields,
            n_factors=n_factors,
            normalize=False,
            linear=True,
            coordinates=False,
            training=True,
            n_threads=n_threads,
        )
        model.start(
            seed=seed,
            low=-0.5,
            width=1.0,
            accumulator=0.25,
            drawn=np.arange(n_features) % 7 != 0,
            field_of=(np.arange(n_features) % n_fields).astype(np.int32),
            without_own=without_own,
        )
        factors = np.full((n_features, n_fields, n_factors), np.nan, np.float32)
        model.read_factors(factors)
        return factors

    def test_draws_are_even_and_those_of_the_seed_on_any_number_of_threads(self) -> None:
        factors = self.started()
        drawn = factors[np.arange(200) % 7 != 0]
        assert -0.5 <= drawn.min() < -0.49
        assert 0.49 < drawn.max() < 0.5
        assert abs(drawn.mean()) < 0.01
        assert len(np.unique(drawn)) > 0.9 * drawn.size
        np.testing.assert_array_equal(self.started(n_threads=3), factors)
        assert (self.started(seed=4) != factors)[np.arange(200) % 7 != 0].mean() > 0.9

    def test_features_without_entries_and_own_vectors_start_at_zero(self) -> None:
        factors = self.started()
        assert not factors[::7].any()
        own = factors[np.arange(200), np.arange(200) % 39]
        assert not own.any()
        assert self.started(without_own=False)[np.arange(200), np.arange(200) % 39][1:7].all()

    def test_one_entry_per_feature_is_asked_for(self) -> None:
        model = kernels.ffm(
            4,
            n_fields=2,
            n_factors=4,
            normalize=False,
            linear=True,
            coordinates=False,
            training=True,
            n_threads=1,
        )
        start = {"seed": 0, "low": 0.0, "width": 1.0, "accumulator": 1.0, "without_own": False}
        for n_drawn, n_fields_of in ((3, 4), (4, 5)):
            with pytest.raises(ValueError, match="per feature"):
                model.start(drawn=np.ones(n_drawn, bool), field_of=np.zeros(n_fields_of, np.int32), **start)
