"""Numbers at the ends of what is sensible: targets far from zero, huge values, weights and ids."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.core.errors import DivergenceError, InputError
from anyfm.estimators import FMRegressor
from anyfm.models import MODELS

N = 3000


def numbers(n: int = N) -> pl.DataFrame:
    random = np.random.default_rng(1)
    a, b = random.integers(0, 20, n), random.integers(0, 20, n)
    y = np.sin(a) + np.cos(b) + 0.05 * random.normal(size=n)
    return pl.DataFrame({"a": [f"a{x}" for x in a], "b": [f"b{x}" for x in b], "y": y})


def clicks(n: int = N) -> pl.DataFrame:
    return numbers(n).with_columns(y=(pl.col("y") > 0).cast(pl.Int8))


def r2(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - ((predicted - y) ** 2).mean() / y.var())


class TestOffsets:
    @pytest.mark.parametrize("offset", [0.0, -1e3, 1e7, -1e8, 1e9, 1e12])
    @pytest.mark.parametrize("scale", [1.0, 1e-2])
    def test_a_target_far_from_zero_is_learned_and_measured_as_well(self, offset, scale, tmp_path):
        if scale < 1 and abs(offset) > 1e10:
            pytest.skip("float64 has no digits left")
        frame = numbers().with_columns(y=pl.col("y") * scale + offset)
        y = frame["y"].to_numpy()
        model = anyfm.train(frame, "y", search=False, epochs=8)
        assert r2(y, model.predict(frame)) > 0.98
        assert model.metrics["r2"] > 0.98
        assert model.metrics["rmse"] < 0.2 * scale
        model.save(tmp_path / "m")
        loaded = anyfm.load(tmp_path / "m")
        assert np.array_equal(loaded.predict(frame), model.predict(frame))
        assert loaded.predict_one(frame.row(0, named=True)) == pytest.approx(model.predict(frame[:1])[0], rel=1e-15)
        assert loaded.evaluate(frame)["r2"] == pytest.approx(r2(y, model.predict(frame)))
        assert loaded.explain(frame[:5]).logits == pytest.approx(model.predict(frame[:5]), abs=1e-5 * scale, rel=1e-15)

    @pytest.mark.parametrize("name", list(MODELS))
    def test_of_every_model(self, name):
        frame = numbers().with_columns(y=pl.col("y") + 1e9)
        assert anyfm.train(frame, "y", model=name, search=False, epochs=8).metrics["r2"] > 0.9

    def test_the_torch_engine_and_estimators(self):
        frame = numbers().with_columns(y=pl.col("y") + 1e9)
        X, y = frame.drop("y"), frame["y"].to_numpy()
        assert r2(y, FMRegressor(epochs=8, search=False).fit(X, y).predict(X)) > 0.98
        pytest.importorskip("torch")
        assert anyfm.train(frame, "y", engine="torch", search=False, epochs=8).metrics["r2"] > 0.9

    def test_text_whose_labels_lose_their_digits_is_refused(self, tmp_path):
        path = tmp_path / "t.svm"
        path.write_text("".join(f"{1e9 + i % 7:.0f} {i % 7}:1\n" for i in range(70)))
        with pytest.raises(InputError, match=r"Subtract 1,000,000,000 from all"):
            anyfm.train(path, epochs=1)
        path.write_text("".join(f"{1e3 + i % 7:.0f} {i % 7}:1\n" for i in range(70)))
        anyfm.train(path, epochs=1)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("size", [1e20, 1e38, 1e300, float("inf")])
def test_huge_numbers_of_a_scaled_field_give_finite_scores(name, size):
    frame = clicks(400).with_columns(x=pl.Series(np.random.default_rng(0).normal(size=400)))
    model = anyfm.train(frame, "y", model=name, fields={"x": "scaled"}, search=False, epochs=1)
    huge = frame[:2].with_columns(x=pl.Series([size, -size]))
    assert np.isfinite(model.predict(huge)).all()
    assert model.predict_one(huge.row(0, named=True)) == pytest.approx(model.predict(huge)[0])


class TestWeights:
    @pytest.mark.parametrize("weight", [1e30, 1e13, 3e38])
    def test_weights_beyond_float32_are_named(self, weight):
        frame = clicks(400).with_columns(w=pl.lit(weight))
        with pytest.raises(InputError, match="large weights by their mean"):
            anyfm.train(frame, "y", weight="w", epochs=1)
        with pytest.raises(InputError, match="divide all by their mean"):
            anyfm.metrics.METRICS["auc"](np.array([0, 1]), np.zeros(2), np.full(2, weight))

    @pytest.mark.parametrize("weight", [1e-3, 1e3, 1e6, 1e11])
    def test_other_weights_train(self, weight, caplog):
        frame = clicks().with_columns(w=pl.lit(weight))
        model = anyfm.train(frame, "y", weight="w", search=False, epochs=2)
        with caplog.at_level(logging.WARNING):
            assert np.isfinite(model.predict(frame)).all()
        assert ("Divide the weights by their mean" in caplog.text) == (weight < 1)


class TestIds:
    @pytest.mark.parametrize("ids", [[2, 25], np.array([2, 25], np.uint8), np.array([2, 9, 25, 9])[::2], (2, 25)])
    def test_whole_numbers_of_any_type(self, ids):
        model = anyfm.train(clicks(400), "y", search=False, epochs=1)
        assert model.predict_ids(ids) == model.predict_ids(np.array([2, 25], np.int32))

    @pytest.mark.parametrize(
        "ids",
        [[2.0, 3.0], [2**40, 3], [-1, 3], [2**32 + 2, 3], ["2", "3"], [[2, 3]], [True, False], [2**64, 1], [None]],
    )
    def test_what_is_no_id_is_refused(self, ids, tmp_path):
        model = anyfm.train(clicks(400), "y", search=False, epochs=1)
        with pytest.raises(InputError, match=r"ids must be|id must lie"):
            model.predict_ids(np.array(ids))
        path = tmp_path / "t.svm"
        path.write_text("".join(f"{i % 2} {2**40 + i % 7}:1\n" for i in range(70)))
        of_text = anyfm.train(path, epochs=1)
        if ids[0] != 2**40:
            with pytest.raises(InputError, match="ids must be"):
                of_text.predict_ids(np.array(ids))
        assert 0 < of_text.predict_ids(np.array([2**40, 2**40 + 3])) < 1


def test_divergence_is_about_the_learning_rate_only_where_it_is():
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        anyfm.train(numbers(), "y", learning_rate=1e6, search=False, epochs=3)


@pytest.mark.parametrize(("name", "warns"), [("fm", False), ("afm", True)])
def test_many_pairs_are_told_of_before_training(name, warns, caplog):
    random = np.random.default_rng(0)
    fields = {f"c{i}": random.choice(["a", "b"], 40) for i in range(1100)}
    frame = pl.DataFrame({**fields, "y": [0, 1] * 20})
    small = {"n_factors": 2, "attention_factors": 2} if name == "afm" else {}
    anyfm.train(frame, "y", model=name, search=False, epochs=1, learning_rate=0.01, **small)
    assert ("may take hours" in caplog.text) == warns
