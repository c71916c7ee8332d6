"""The trained model against the specification, in every form of input, from many threads, without torch, and fast."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest

import anyfm
from anyfm.artifact import Artifact, save_artifact
from anyfm.core.errors import ArtifactError, InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.datasets.synthetic import ad_clicks
from anyfm.model import Model, load
from anyfm.models import FFM, MODELS, FFMSettings, specification_logits

N_FEATURES, N_FIELDS = 120, 6


def an_artifact(name="fm", task="binary", seed=0):
    rng = np.random.default_rng(seed)
    kind = MODELS[name]
    model = kind(kind.settings_type(task=task)).resolve(N_FIELDS)
    parameters = {
        key: rng.normal(0, 0.3, spec.shape).astype(np.float32)
        for key, spec in model.parameter_specs(N_FEATURES, N_FIELDS).items()
    }
    if task == "regression":
        parameters["bias"] = parameters["bias"].astype(np.float64)
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
    scorer = Model(artifact)
    np.testing.assert_allclose(scorer.logits(rows), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scorer.predict(rows), expected, rtol=1e-5, atol=1e-5)
    for i in range(5):
        one = scorer.predict_ids(rows.ids[i], None if rows.values is None else rows.values[i])
        assert one == pytest.approx(expected[i], rel=1e-5, abs=1e-5)


def test_extreme_logits_give_probabilities_and_no_warning():
    artifact = an_artifact("linear")
    artifact.parameters["linear"][:] = np.linspace(-3e4, 3e4, N_FEATURES)
    scorer, rows = Model(artifact), some_rows()
    probabilities = scorer.predict(rows)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert scorer.predict_ids(np.zeros(N_FIELDS, np.int32)) == 0.0
    assert scorer.predict_ids(np.full(N_FIELDS, N_FEATURES - 1, np.int32)) == 1.0


def test_many_threads_get_what_one_gets():
    scorer, rows = Model(an_artifact()), some_rows(20_000)
    expected = Model(an_artifact()).predict(rows)

    def work(seed):
        order = np.random.default_rng(seed).permutation(rows.n_rows)[:500]
        whole = np.array_equal(scorer.predict(rows), expected)
        single = [scorer.predict_ids(rows.ids[i]) for i in order]
        return whole and np.allclose(single, expected[order], rtol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


def test_loading_gives_the_same_scores(tmp_path):
    artifact, rows = an_artifact(), some_rows()
    loaded = load(save_artifact(artifact, tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(rows), Model(artifact).predict(rows))


def test_metrics_are_those_of_the_scores():
    scorer, rows = Model(an_artifact()), some_rows(500)
    p = scorer.predict(rows).astype(float)
    expected = -np.mean(np.where(rows.y == 1, np.log(p), np.log1p(-p)))
    assert scorer.evaluate(rows)["logloss"] == pytest.approx(expected, rel=1e-5)


def test_bad_rows_are_refused():
    scorer = Model(an_artifact())
    with pytest.raises(InputError, match="feature id"):
        scorer.predict(Rows(ids=np.full((1, N_FIELDS), N_FEATURES, np.int32)))
    with pytest.raises(InputError, match="feature id"):
        scorer.predict_ids(np.full(N_FIELDS, -1, np.int32))
    with pytest.raises(InputError, match="targets"):
        scorer.evaluate(Rows(ids=np.zeros((1, N_FIELDS), np.int32)))
    with pytest.raises(ArtifactError, match="so it cannot read a table"):
        scorer.predict_one({"user": 1})


def test_scoring_loads_no_torch_and_rows_need_no_polars(tmp_path):
    path = save_artifact(an_artifact(), tmp_path / "model")
    code = f"""
import sys, numpy as np, anyfm.model
scorer = anyfm.load({str(path)!r})
scorer.predict_ids(np.zeros({N_FIELDS}, np.int32))
assert not {{"torch", "polars", "sklearn"}} & set(sys.modules), "heavy imports"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_encoded_row_takes_microseconds():
    scorer, ids = Model(an_artifact()), some_rows(1).ids[0]
    scorer.predict_ids(ids)

    def best_of(repeats):
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(200):
                scorer.predict_ids(ids)
            best = min(best, (time.perf_counter() - start) / 200)
        return best

    assert best_of(20) < 50e-6  # 10 µs on an idle machine; the limit leaves room for a busy one


def test_the_fields_of_one_row_count_for_ffm():
    model = FFM(FFMSettings(n_factors=2))
    rng = np.random.default_rng(0)
    specs = model.parameter_specs(6, 3)
    parameters = {name: rng.normal(size=spec.shape).astype(np.float32) for name, spec in specs.items()}
    scorer = Model(Artifact(model=model, parameters=parameters, n_features=6, n_fields=3))
    ids, values = np.array([0, 2, 5, 4], np.int32), np.array([1, -2, 0.5, 3], np.float32)
    fields = np.array([2, 0, 0, 1], np.int32)
    row = Rows(ids=ids, offsets=np.array([0, 4]), values=values, fields=fields)
    expected = specification_logits(model, parameters, row)[0]
    assert scorer.predict_ids(ids, values, fields) == pytest.approx(1 / (1 + np.exp(-expected)), rel=1e-5)
    with pytest.raises(InputError, match="a field must lie in 0 … 2"):
        scorer.predict_ids(ids, values)  # four slots, three fields
    with pytest.raises(InputError, match="a field must lie in 0 … 2"):
        scorer.predict_ids(ids, values, fields + 1)


# ---- raw rows


@pytest.fixture(scope="module")
def clicks():
    return pl.DataFrame(dict(ad_clicks(3_000, seed=8).columns))


@pytest.fixture(scope="module")
def trained(clicks):
    return anyfm.train(clicks, "click", search=False, epochs=2, n_factors=4)


FORMS = {
    "polars": lambda frame, folder: frame,
    "pandas": lambda frame, folder: pd.DataFrame(frame.to_dict(as_series=False)),
    "arrow": lambda frame, folder: frame.to_arrow(),
    "columns": lambda frame, folder: frame.to_dict(as_series=False),
    "arrays": lambda frame, folder: {column.name: column.to_numpy() for column in frame},
    "rows": lambda frame, folder: frame.rows(named=True),
    "tuple of rows": lambda frame, folder: tuple(frame.rows(named=True)),
    "path": lambda frame, folder: written(frame, folder / "rows.csv"),
    "text of a path": lambda frame, folder: str(written(frame, folder / "rows.parquet")),
    "list of paths": lambda frame, folder: [written(frame, folder / "rows.csv")],
}


def written(frame, path):
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_raw_rows_in_any_form_give_the_same(trained, clicks, tmp_path, form):
    part = clicks[:40]
    x = FORMS[form](part, tmp_path)
    rows = trained.artifact.encoder.encode(part, labelled=True).rows
    np.testing.assert_array_equal(trained.predict(x), trained.predict(rows))
    np.testing.assert_array_equal(trained.explain(x).logits, trained.explain(part).logits)
    assert trained.evaluate(x) == trained.evaluate(rows)
    assert trained.summarize(x).n_rows == 40


def test_one_row_is_scored_as_in_the_table(trained, clicks):
    expected = trained.predict(clicks[:50])
    rows = clicks.drop("click")[:50].rows(named=True)
    assert [trained.predict_one(row) for row in rows] == pytest.approx(list(expected), rel=1e-5)
    for row, one in zip(rows[:5], expected, strict=False):
        assert trained.predict(row).tolist() == pytest.approx([one], rel=1e-6)
    odd = {**rows[0], "site": "never seen", "age": None, "a column of no use": 1}
    assert 0 < trained.predict_one(odd) < 1
    assert trained.predict([rows[0], odd]).shape == (2,)


def test_a_row_may_hold_lists():
    table = {"tags": [["a", "b"], ["c"], ["a"], ["b", "c"]] * 20, "city": ["x", "y"] * 40, "y": [0, 1] * 40}
    model = anyfm.train(table, "y", search=False, model="linear", epochs=2, fields={"tags": "tags"})
    row = {"tags": ["a", "c"], "city": "x"}
    assert model.predict(row)[0] == pytest.approx(model.predict_one(row))


def test_probabilities_logits_and_predictions_agree(trained, clicks):
    both = trained.predict_proba(clicks)
    assert both.shape == (3_000, 2)
    np.testing.assert_array_equal(both[:, 1], trained.predict(clicks))
    np.testing.assert_allclose(both.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(trained.decision_function(clicks), trained.logits(clicks))
    with pytest.raises(SettingError, match="predict_proba needs a classification"):
        Model(an_artifact(task="regression")).predict_proba(some_rows())


def test_text_that_looks_like_numbers_stays_text_when_scoring(tmp_path):
    rng = np.random.default_rng(0)
    codes = np.array(["007", "07", "7", "x1"])[rng.integers(0, 4, 2_000)]
    frame = pl.DataFrame({"code": codes, "y": (codes == "007").astype(int), "other": rng.integers(0, 5, 2_000)})
    model = anyfm.train(frame, "y", search=False, model="linear", fields={"code": "categorical"})
    numbers = frame.filter(pl.col("code") != "x1").head(100)
    numbers.write_csv(tmp_path / "new.csv")
    np.testing.assert_array_equal(model.predict(tmp_path / "new.csv"), model.predict(numbers))


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.rename({"gender": "gendr"}), "Did you mean 'gendr'?"),
        (lambda table: table.drop("gender"), "column 'gender'"),
        (lambda table: {**without(table.row(0, named=True), "gender"), "Gender": "F"}, "Did you mean 'Gender'?"),
        (lambda table: [table.row(0, named=True), without(table.row(1, named=True), "age")], "row 2, column 'age'"),
        (lambda table: 5, "a table must be"),
        (lambda table: [], "a table must be"),
        (lambda table: {}, "column"),
        (lambda table: "no such file.csv", "no such file.csv"),
        (lambda table: "rows.ffm", "trained on a table"),
    ],
)
def test_bad_input_is_answered_with_the_place_or_the_nearest_name(trained, clicks, change, message):
    for method in (trained.predict, trained.evaluate, trained.explain, trained.summarize):
        with pytest.raises(InputError) as caught:
            method(change(clicks))
        assert message in str(caught.value)


def test_a_key_that_is_missing_in_one_row_is_answered_with_the_nearest(trained, clicks):
    row = clicks.drop("click").row(0, named=True)
    with pytest.raises(InputError, match=r"column 'gender'\)\. Did you mean 'Gender'\? Give None"):
        trained.predict_one({**without(row, "gender"), "Gender": "F"})
    with pytest.raises(InputError, match=r"column 'age'\)\. Give None"):
        trained.predict_one(without(row, "age"))


# ---- text files


@pytest.fixture(scope="module")
def of_text(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("text"), np.random.default_rng(0)
    lines = [f"{i % 2} 0:{i % 2}:1 1:{k}:1\n" for i, k in enumerate(rng.integers(2, 6, 400))]
    (folder / "rows.ffm").write_text("".join(lines))
    (folder / "rows.txt").write_text("".join(lines))
    return anyfm.train(folder / "rows.ffm", search=False, model="ffm", epochs=3), folder


def test_a_model_of_text_reads_text_by_suffix_or_in_its_own_format(of_text):
    model, folder = of_text
    rows = model.read_text(folder / "rows.ffm").rows
    for x in (folder / "rows.ffm", str(folder / "rows.ffm"), folder / "rows.txt", [folder / "rows.txt"]):
        np.testing.assert_array_equal(model.predict(x), model.predict(rows))
        assert model.evaluate(x)["auc"] == 1.0
        np.testing.assert_allclose(model.explain(x).logits, model.logits(rows), rtol=1e-5, atol=1e-6)
        assert model.summarize(x).importance is not None
    (folder / "unknown.ffm").write_text("7 0:1:1 0:99:1 5:3:1\n")  # any label, an id and a field beyond training
    assert model.predict(folder / "unknown.ffm").shape == (1,)
    assert model.read_text(folder / "unknown.ffm", labelled=False).n_unseen == 2
    with pytest.raises(InputError, match="label"):
        model.evaluate(folder / "unknown.ffm")


def test_a_model_of_text_refuses_tables_and_files_without_fields(of_text):
    model, folder = of_text
    (folder / "rows.svm").write_text("1 0:1\n")
    with pytest.raises(SettingError, match="ffm needs the field of every entry"):
        model.predict(folder / "rows.svm")
    for method, x in ((model.predict, {"a": [1]}), (model.read, {"a": [1]}), (model.predict_one, {"a": 1})):
        with pytest.raises(ArtifactError, match="so it cannot read a table"):
            method(x)


# ---- history, saving, showing


def test_a_model_saved_and_loaded_is_the_same(trained, clicks, tmp_path):
    trained.save(tmp_path / "first")
    loaded = anyfm.load(tmp_path / "first")
    loaded.save(tmp_path / "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["model.json", "vocabulary.parquet", "weights.safetensors"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    np.testing.assert_array_equal(loaded.predict(clicks), trained.predict(clicks))
    assert (loaded.metrics, loaded.training_data) == (trained.metrics, trained.training_data)
    assert (loaded.name, loaded.task, loaded.settings) == (trained.name, trained.task, trained.settings)
    assert loaded.schema == trained.schema
    assert (loaded.seconds, loaded.rows_per_second) == ({}, 0.0)
    with pytest.raises(ArtifactError, match="there is a model already"):
        trained.save(tmp_path / "first", overwrite=False)


def test_the_history_is_one_after_training_and_after_loading(trained, tmp_path):
    loaded = load(trained.save(tmp_path / "model"))
    assert type(loaded.history) is type(trained.history)
    assert loaded.history.best_epoch == trained.history.best_epoch
    assert loaded.history.best["valid_logloss"] == trained.history.best["valid_logloss"]
    assert "seconds" in trained.history.records[0]
    assert "seconds" not in loaded.history.records[0]
    assert Model(an_artifact()).history.n_epochs == 0


@pytest.mark.parametrize("through", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_pickled_and_copied_models_score_the_same(trained, clicks, through):
    expected = trained.predict(clicks)
    twin = through(trained)
    np.testing.assert_array_equal(twin.predict(clicks), expected)
    assert twin.seconds == trained.seconds


def test_values_alike_and_factors(trained):
    assert len(trained.nearest("ad_category", "cars", n=3)) == 3
    assert trained.factors().columns[:4] == ["field", "value", "count", "linear"]


def test_it_shows_itself_in_a_line_and_in_a_table(trained, of_text):
    assert repr(trained).startswith("<anyfm.Model fm, binary, 8 fields, ")
    assert "parameters" in repr(trained)
    assert "validation auc" in trained._repr_html_()
    for model in (of_text[0], Model(an_artifact("linear", "regression"))):
        assert len(repr(model)) < 100
        assert model._repr_html_().startswith("<table>")


def test_the_report_is_a_page_and_compares_models(trained, clicks, tmp_path):
    pytest.importorskip("plotly")
    other = anyfm.train(clicks, "click", search=False, model="linear", epochs=1)
    other.save(tmp_path / "other")
    page = trained.report(clicks, tmp_path / "page.html", others=[other, trained, tmp_path / "other"])
    text = page.read_text(encoding="utf-8")
    assert "<html" in text
    for name in ("fm (1)", "fm (2)", "linear", "other"):
        assert name in text


def test_a_report_without_plotly_names_the_command(trained, clicks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"pip install .anyfm\[report\]"):
        trained.report(clicks, tmp_path / "page.html")


def test_importing_the_package_loads_nothing_heavy():
    code = """
import sys, anyfm
assert not {"numpy", "torch", "polars", "sklearn"} & set(sys.modules)
anyfm.Model, anyfm.load
assert not {"torch", "polars", "sklearn", "anyfm.explain", "anyfm.report", "anyfm.training"} & set(sys.modules)
anyfm.train
assert not {"torch", "sklearn"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_raw_row_needs_no_polars_call(trained, clicks, monkeypatch):
    row = clicks.drop("click").row(0, named=True)
    expected = trained.predict_one(row)
    for name in ("DataFrame", "Series"):
        monkeypatch.setattr(pl, name, None)
    assert trained.predict_one(row) == expected
