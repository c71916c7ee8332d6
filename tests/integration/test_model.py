"""The predictor against the models' slow specification, from many threads, without torch, and fast."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anyfm.artifact import Artifact, save_artifact
from anyfm.core.errors import ArtifactError, InputError
from anyfm.core.rows import Rows
from anyfm.models import FFM, MODELS, FFMSettings, specification_logits
from anyfm.predictor import Predictor, load

N_FEATURES, N_FIELDS = 120, 6


def an_artifact(name="fm", task="binary", seed=0):
    rng = np.random.default_rng(seed)
    kind = MODELS[name]
    model = kind(kind.settings_type(task=task)).for_fields(N_FIELDS)
    parameters = {
        key: rng.normal(0, 0.3, spec.shape).astype(np.float32)
        for key, spec in model.parameter_specs(N_FEATURES, N_FIELDS).items()
    }
    return Artifact(model=model, parameters=parameters, n_features=N_FEATURES, n_fields=N_FIELDS)


def some_rows(n_rows=200, seed=1, *, values=False):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, N_FEATURES, (n_rows, N_FIELDS)).astype(np.int32)
    y = (rng.random(n_rows) < 0.4).astype(np.float32)
    return Rows(ids=ids, y=y, values=rng.random(ids.shape, np.float32) if values else None)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_tables_and_single_rows_agree_with_the_specification(name, values, task):
    artifact, rows = an_artifact(name, task), some_rows(values=values)
    logits = specification_logits(artifact.model, artifact.parameters, rows)
    expected = 1 / (1 + np.exp(-logits)) if task == "binary" else logits
    predictor = Predictor(artifact)
    np.testing.assert_allclose(predictor.logits(rows), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(predictor.predict(rows), expected, rtol=1e-5, atol=1e-5)
    for i in range(5):
        one = predictor.predict_ids(rows.ids[i], None if rows.values is None else rows.values[i])
        assert one == pytest.approx(expected[i], rel=1e-5, abs=1e-5)


def test_extreme_logits_give_probabilities_and_no_warning():
    artifact = an_artifact("linear")
    artifact.parameters["linear"][:] = np.linspace(-3e4, 3e4, N_FEATURES)
    predictor, rows = Predictor(artifact), some_rows()
    probabilities = predictor.predict(rows)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert predictor.predict_ids(np.zeros(N_FIELDS, np.int32)) == 0.0
    assert predictor.predict_ids(np.full(N_FIELDS, N_FEATURES - 1, np.int32)) == 1.0


def test_many_threads_get_what_one_gets():
    predictor, rows = Predictor(an_artifact()), some_rows(20_000)
    expected = predictor.predict(rows)

    def work(seed):
        order = np.random.default_rng(seed).permutation(rows.n_rows)[:500]
        whole = np.array_equal(predictor.predict(rows), expected)
        single = [predictor.predict_ids(rows.ids[i]) for i in order]
        return whole and np.allclose(single, expected[order], rtol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


def test_loading_gives_the_same_scores(tmp_path):
    artifact, rows = an_artifact(), some_rows()
    loaded = load(save_artifact(artifact, tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(rows), Predictor(artifact).predict(rows))


def test_metrics_are_those_of_the_scores():
    predictor, rows = Predictor(an_artifact()), some_rows(500)
    p = predictor.predict(rows).astype(float)
    expected = -np.mean(np.where(rows.y == 1, np.log(p), np.log1p(-p)))
    assert predictor.evaluate(rows)["logloss"] == pytest.approx(expected, rel=1e-5)


def test_bad_rows_are_refused():
    predictor = Predictor(an_artifact())
    with pytest.raises(InputError, match="feature id"):
        predictor.predict(Rows(ids=np.full((1, N_FIELDS), N_FEATURES, np.int32)))
    with pytest.raises(InputError, match="feature id"):
        predictor.predict_ids(np.full(N_FIELDS, -1, np.int32))
    with pytest.raises(InputError, match="targets"):
        predictor.evaluate(Rows(ids=np.zeros((1, N_FIELDS), np.int32)))
    with pytest.raises(ArtifactError, match="already encoded"):
        predictor.predict_one({"user": 1})


def test_scoring_loads_no_torch_and_rows_need_no_polars(tmp_path):
    path = save_artifact(an_artifact(), tmp_path / "model")
    code = f"""
import sys, numpy as np, anyfm.predictor
predictor = anyfm.predictor.load({str(path)!r})
predictor.predict_ids(np.zeros({N_FIELDS}, np.int32))
assert not {{"torch", "polars", "sklearn"}} & set(sys.modules), "heavy imports"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_encoded_row_takes_microseconds():
    predictor, ids = Predictor(an_artifact()), some_rows(1).ids[0]
    predictor.predict_ids(ids)

    def best_of(repeats):
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(200):
                predictor.predict_ids(ids)
            best = min(best, (time.perf_counter() - start) / 200)
        return best

    assert best_of(20) < 50e-6  # 10 µs on an idle machine; the limit leaves room for a busy one


def test_the_fields_of_one_row_count_for_ffm():
    model = FFM(FFMSettings(n_factors=2))
    rng = np.random.default_rng(0)
    specs = model.parameter_specs(6, 3)
    parameters = {name: rng.normal(size=spec.shape).astype(np.float32) for name, spec in specs.items()}
    predictor = Predictor(Artifact(model=model, parameters=parameters, n_features=6, n_fields=3))
    ids, values = np.array([0, 2, 5, 4], np.int32), np.array([1, -2, 0.5, 3], np.float32)
    fields = np.array([2, 0, 0, 1], np.int32)
    row = Rows(ids=ids, offsets=np.array([0, 4]), values=values, fields=fields)
    expected = specification_logits(model, parameters, row)[0]
    assert predictor.predict_ids(ids, values, fields) == pytest.approx(1 / (1 + np.exp(-expected)), rel=1e-5)
    with pytest.raises(InputError, match="a field must lie in 0 … 2"):
        predictor.predict_ids(ids, values)  # four slots, three fields
    with pytest.raises(InputError, match="a field must lie in 0 … 2"):
        predictor.predict_ids(ids, values, fields + 1)
