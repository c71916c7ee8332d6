"""The scikit-learn estimators: the common checks, raw tables, weights, early stopping, parameters by name."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import anyfm
from anyfm.core.errors import InputError, SettingError
from anyfm.core.settings import DataSettings, TrainingSettings, ValidationSettings
from anyfm.estimators import FFMClassifier, FMClassifier, FMRegressor, LinearClassifier, LinearRegressor
from anyfm.metrics import auc
from anyfm.model import load
from anyfm.models import FM, MODELS, specification_logits
from tests import estimator_stub

CLASSIFIERS = [getattr(anyfm, f"{model.__name__}Classifier") for model in MODELS.values()]
REGRESSORS = [getattr(anyfm, f"{model.__name__}Regressor") for model in MODELS.values()]
ALL = CLASSIFIERS + REGRESSORS
CITIES = np.array(["Bonn", "Köln", "Oslo", "Rome", "São Paulo"], object)

_STEPS = (
    "training takes one step per row, in shuffled order: a row of weight 2 is one step with twice the gradient, "
    "while two copies of it are two steps, the second from where the first led"
)


def expected_to_fail(_: Any) -> dict[str, str]:
    return {
        "check_sample_weight_equivalence_on_dense_data": _STEPS,
        "check_sample_weight_equivalence_on_sparse_data": _STEPS,
    }


# One class of every model, and both of FM; the other one differs by its base class, which they share.
CHECKED = [
    FMClassifier,
    *(kind for i, kinds in enumerate(zip(CLASSIFIERS, REGRESSORS, strict=True)) for kind in kinds[i % 2 : i % 2 + 1]),
]


@parametrize_with_checks([kind(n_threads=1, epochs=10) for kind in CHECKED], expected_failed_checks=expected_to_fail)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def clicks(n: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Raw columns of several kinds, where a click depends on a pair of values; some are missing."""
    rng = np.random.default_rng(seed)
    city, ad = rng.integers(0, 5, n), rng.integers(0, 4, n)
    logit = 3.0 * np.where((city + ad) % 2 == 0, 1, -1) + rng.normal(size=n)
    table = pd.DataFrame(
        {
            "city": CITIES[city],
            "ad_id": ad + 100,
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.normal(40, 12, n)),
            "genres": np.array(["a|b", "b", "a|c|d", None, "d"], object)[rng.integers(0, 5, n)],
        }
    )
    return table, pd.Series(np.where(logit > 0, "yes", "no"), name="clicked")


TAGS = {"genres": {"kind": "tags", "separator": "|"}}


# ---- tables


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_raw_tables_of_any_library_give_one_model(form: str) -> None:
    table, y = clicks()
    forms = {"pandas": lambda t: t, "polars": pl.from_pandas, "arrow": lambda t: pl.from_pandas(t).to_arrow()}
    convert = forms[form]
    model = FMClassifier(fields=TAGS, epochs=5).fit(convert(table), y)
    expected = FMClassifier(fields=TAGS, epochs=5).fit(table, y)
    np.testing.assert_array_equal(model.predict_proba(convert(table)), expected.predict_proba(table))
    assert expected.feature_names_in_.tolist() == ["city", "ad_id", "age", "genres"]
    kinds = {field.name: field.kind for field in model.model_.schema.fields}
    assert kinds == {"city": "categorical", "ad_id": "categorical", "age": "numeric", "genres": "tags"}


def test_fm_learns_what_the_linear_model_cannot() -> None:
    table, y = clicks()
    test, y_test = clicks(seed=1)
    fm, linear = FMClassifier(fields=TAGS).fit(table, y), LinearClassifier(fields=TAGS).fit(table, y)
    assert auc(y_test == "yes", fm.decision_function(test)) > 0.97
    assert auc(y_test == "yes", linear.decision_function(test)) < 0.8


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *REGRESSORS], ids=lambda kind: kind.__name__)
def test_contributions_sum_to_every_prediction(kind: Any) -> None:
    table, y = clicks(500)
    model = kind(fields=TAGS, epochs=2).fit(table, (y == "yes").astype(int))
    found = model.explain(table)
    if hasattr(model, "decision_function"):
        assert np.abs(found.logits - model.decision_function(table)).max() < 1e-5
    else:
        assert np.abs(found.predictions - model.predict(table)).max() < 1e-5
    assert found.values[0] == tuple(table["city"])
    terms = found.table().to_pandas()
    np.testing.assert_allclose(terms.groupby("row")["contribution"].sum(), found.logits)
    assert model.factors().columns[:4] == ["field", "value", "count", "linear"]


def test_contributions_for_arrays_and_sparse_matrices() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (300, 3)), rng.integers(0, 2, 300)
    dense = FMClassifier(epochs=2).fit(X, y)
    assert dense.explain(X).field_names == ("x0", "x1", "x2")
    matrix = sparse.csr_array(X.astype(float))
    of_matrix = FMClassifier(epochs=2).fit(matrix, y)
    for model, given in ((dense, X), (of_matrix, matrix)):
        assert np.abs(model.explain(given).logits - model.decision_function(given)).max() < 1e-5
    with pytest.raises(NotFittedError):
        FMClassifier().explain(X)


def test_unseen_and_missing_values_are_no_error() -> None:
    table, y = clicks()
    model = FMClassifier(fields=TAGS, epochs=3).fit(table, y)
    strange = pd.DataFrame({"city": ["Ghent", None], "ad_id": [999, 101], "age": [np.nan, 1e9], "genres": ["zzz", ""]})
    assert np.isfinite(model.decision_function(strange)).all()


def test_probabilities_logits_and_classes_agree() -> None:
    table, y = clicks()
    model = FMClassifier(epochs=3).fit(table, y)
    logits, probability = model.decision_function(table), model.predict_proba(table)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(probability[:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-12)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(model.predict(table) == "yes", logits > 0)


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(np.array([True, False] * 30), id="booleans"),
        pytest.param(np.array([-1, 1] * 30), id="minus one and one"),
        pytest.param(np.array([2.0, 1.0] * 30), id="floats"),
        pytest.param(np.array(["yes", "zebra"] * 30), id="text, where the word yes is not the positive class"),
        pytest.param(pd.Series(["a", "b"] * 30, dtype="category"), id="pandas categories"),
        pytest.param(pl.Series(["a", "b"] * 30), id="polars text"),
        pytest.param(["a", "b"] * 30, id="list"),
    ],
)
def test_classes_of_any_type(y: Any) -> None:
    X = np.tile([[0.0], [1.0]], (30, 1))
    model = LinearClassifier(epochs=30).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), np.asarray(y))
    assert model.classes_.tolist() == sorted(set(np.asarray(y).tolist()))


# ---- arrays


def test_floats_in_an_array_are_numeric_and_whole_numbers_are_inferred() -> None:
    rng = np.random.default_rng(0)
    whole = np.column_stack([rng.zipf(1.3, 4000) % 1000, rng.integers(0, 2, 4000), np.arange(4000), np.ones(4000)])
    y = whole[:, 1]

    def kinds(X: Any) -> list[str]:
        encoder = LinearClassifier(epochs=1).fit(X, y).model_.artifact.encoder
        return [field.kind for field in encoder.schema.fields]

    assert kinds(whole.astype(float)) == ["numeric"] * 4
    assert kinds(whole.astype(int))[1:] == ["categorical", "numeric", "numeric"]


def test_a_regression_on_one_rising_column() -> None:
    X = np.arange(500)[:, None]
    for form in (X, X.astype(float)):
        assert LinearRegressor().fit(form, 3.0 * X[:, 0]).score(form, 3.0 * X[:, 0]) > 0.95


def test_n_bins_is_a_maximum_that_fields_override() -> None:
    X = np.random.default_rng(0).normal(size=(2000, 2))
    model = LinearRegressor(n_bins=5, fields={"x1": {"kind": "numeric", "n_bins": 7}}, epochs=1).fit(X, X[:, 0])
    assert [len(values) - 2 for values in model.linear_.values()] == [5, 7]
    assert [len(values) - 2 for values in LinearRegressor(epochs=1).fit(X, X[:, 0]).linear_.values()] == [32, 32]


def test_object_arrays_hold_numbers_and_text() -> None:
    X = np.array([[1.5, "a"], [2.5, "b"], [None, "a"], [0.5, None]] * 10, object)
    model = LinearClassifier(epochs=20).fit(X, [0, 1, 0, 0] * 10)
    assert model.predict(X).tolist() == [0, 1, 0, 0] * 10
    assert list(model.linear_["x1"])[2:] == ["a", "b"]


# ---- sparse matrices


def one_hot() -> tuple[Any, np.ndarray[Any, Any], pd.DataFrame]:
    table, y = clicks(2000)
    return OneHotEncoder().fit_transform(table[["city", "ad_id"]]), (y == "yes").to_numpy().astype(int), table


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csr_matrix, sparse.coo_array, sparse.csc_array])
def test_a_sparse_matrix_is_rows_of_features_with_values(convert: Any) -> None:
    rng = np.random.default_rng(0)
    X = sparse.random(300, 40, density=0.2, random_state=0, format="csr", data_rvs=rng.standard_normal)
    y = (X @ rng.normal(size=40) > 0).astype(int)
    model = FMClassifier(epochs=5).fit(convert(X), y)
    dense, factors = X.toarray(), np.array(list(model.factors_["column"].values()), float)
    pairs = 0.5 * ((dense @ factors) ** 2 - dense**2 @ factors**2).sum(axis=1)
    linear = dense @ np.array(list(model.linear_["column"].values()), float)
    np.testing.assert_allclose(model.decision_function(convert(X)), model.bias_ + linear + pairs, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.decision_function(convert(X)), model.decision_function(dense))


def test_one_hot_columns_learn_as_well_as_the_table() -> None:
    X, y, _ = one_hot()
    assert auc(y, FMClassifier().fit(X, y).decision_function(X)) > 0.95


def test_repeated_entries_of_a_sparse_matrix_are_summed_in_a_copy() -> None:
    X = sparse.csr_array((np.ones(6), np.array([1, 1, 0, 0, 1, 0]), np.array([0, 2, 3, 4, 5, 6])), shape=(5, 2))
    summed = X.copy()
    summed.sum_duplicates()
    y = np.array([0, 1, 1, 0, 1])
    repeated, expected = FMClassifier(epochs=3).fit(X, y), FMClassifier(epochs=3).fit(summed, y)
    assert X.nnz == 6
    np.testing.assert_array_equal(repeated.decision_function(X), expected.decision_function(summed))


def test_sparse_and_table_do_not_mix() -> None:
    X, y, table = one_hot()
    of_matrix, of_table = LinearClassifier(epochs=1).fit(X, y), LinearClassifier(epochs=1).fit(table, y)
    with pytest.raises(InputError, match="got a sparse matrix"), pytest.warns(UserWarning, match="feature names"):
        of_table.predict(sparse.csr_array(np.ones((2, 4))))
    with pytest.raises(InputError, match="got a table"), pytest.warns(UserWarning, match="feature names"):
        of_matrix.predict(pd.DataFrame(np.ones((2, X.shape[1])), columns=[f"c{i}" for i in range(X.shape[1])]))
    with pytest.raises(SettingError, match="fields must be none"):
        LinearClassifier(fields={"x0": "numeric"}).fit(X, y)


def test_a_sparse_matrix_has_no_fields_for_ffm() -> None:
    X, y, _ = one_hot()
    with pytest.raises(InputError, match="sparse matrix does not say which columns make a field"):
        FFMClassifier().fit(X, y)


def test_field_factors_make_up_the_logit() -> None:
    table, y = clicks()
    model = FFMClassifier(epochs=4).fit(table[["city", "ad_id"]], y)
    city, ad = model.field_factors_["city"]["Rome"], model.field_factors_["ad_id"][102]
    logit = model.bias_ + model.linear_["city"]["Rome"] + model.linear_["ad_id"][102] + city[1] @ ad[0]
    row = pd.DataFrame({"city": ["Rome"], "ad_id": [102]})
    np.testing.assert_allclose(model.decision_function(row), logit, rtol=1e-5)
    assert (city[1] != 0).any()


def test_libffm_s_settings_are_a_preset() -> None:
    table, y = clicks()
    model = FFMClassifier(**MODELS["ffm"].presets["libffm"], epochs=3).fit(table[["city", "ad_id"]], y)
    assert model.model_.settings.optimizer == "libffm"
    assert model.bias_ == 0
    assert model.score(table[["city", "ad_id"]], y) > 0.9


def test_an_entry_beyond_float32_is_named() -> None:
    X = sparse.csr_array(np.array([[1.0, 0.0], [0.0, 1e300], [1.0, 1.0]]))
    with pytest.raises(InputError, match=r"row 2, column '1', value 1e\+300"):
        LinearClassifier().fit(X, [0, 1, 0])


# ---- within scikit-learn


def test_cross_validation_and_search_on_a_table() -> None:
    table, y = clicks()
    scores = cross_val_score(FMClassifier(fields=TAGS), table, y, cv=3, scoring="roc_auc")
    assert scores.min() > 0.95
    grid = {"n_factors": np.array([1, 8]), "learning_rate": np.array([0.1, 0.3]), "normalize": [False, True]}
    search = GridSearchCV(FMClassifier(epochs=4), grid, scoring="neg_log_loss", cv=2).fit(table, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.model_.settings.n_factors == search.best_params_["n_factors"]


def test_pipelines_with_tables_arrays_and_sparse_matrices() -> None:
    table, y = clicks()
    assert make_pipeline("passthrough", FMClassifier()).fit(table, y).score(table, y) > 0.9
    coded = ColumnTransformer([("hot", OneHotEncoder(), ["city", "ad_id"])], sparse_threshold=1.0)
    assert make_pipeline(coded, FMClassifier()).fit(table, y).score(table, y) > 0.9
    numbers = np.random.default_rng(0).normal(size=(1500, 2))
    pipeline = make_pipeline(StandardScaler(), LinearRegressor())
    assert pipeline.fit(numbers, numbers @ [3.0, 1.0]).score(numbers, numbers @ [3.0, 1.0]) > 0.95


@pytest.mark.parametrize("kind", ALL)
def test_parameters_are_the_settings_with_their_defaults(kind: Any) -> None:
    parameters = kind().get_params()
    settings = {**MODELS[kind._model].settings_type().to_dict(), **TrainingSettings(search=False).to_dict()}
    del settings["seed"]
    if kind in CLASSIFIERS:
        del settings["task"]
    else:
        del settings["class_weight"]
        settings["task"] = "regression"
    data = {**ValidationSettings().to_dict(), **DataSettings().to_dict()}
    of_data = {name: data[name] for name in ("valid_fraction", "fields", "min_count", "n_bins")}
    assert parameters == {**settings, **of_data, "random_state": TrainingSettings.seed}
    for name in parameters:
        assert f"\n{name} : " in kind.__doc__


def test_signatures_name_types_and_defaults() -> None:
    signature = inspect.signature(FMClassifier)
    assert signature.parameters["n_factors"].default is None
    assert signature.parameters["n_factors"].annotation == int | None
    assert signature.parameters["l2_factors"].annotation == float | None
    assert {parameter.kind.name for parameter in signature.parameters.values()} == {"KEYWORD_ONLY"}
    assert list(signature.parameters)[-3:] == ["n_threads", "engine", "device"]
    assert repr(FMClassifier(n_factors=3, epochs=2)) == "FMClassifier(epochs=2, n_factors=3)"
    assert "n_factors" in FMClassifier(n_factors=3)._repr_html_()


def test_a_misspelled_parameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"'n_factor' is not a known parameter of FMClassifier. Did you mean n_factors"):
        FMClassifier(n_factor=3)
    with pytest.raises(ValueError, match="Invalid parameter 'n_factor'"):
        FMClassifier().set_params(n_factor=3)


def test_type_checkers_read_what_the_classes_have() -> None:
    assert estimator_stub.PATH.read_text(encoding="utf-8") == estimator_stub.stub(), (
        "write it anew: python -m tests.estimator_stub"
    )


def test_a_registered_model_has_estimators_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tiny(FM):
        name = "tiny"
        title = "Tiny machine"

    monkeypatch.setattr(MODELS, "_models", {**MODELS._models, "tiny": Tiny})
    table, y = clicks(200)
    model = anyfm.TinyClassifier(n_factors=2, epochs=1).fit(table, y)
    assert (model.model_.name, model.factors_["city"]["Rome"].shape) == ("tiny", (2,))
    assert "TinyRegressor" in dir(anyfm)
    assert type(model).__doc__.startswith("Tiny machine for two classes")
    assert (type(model).__module__, type(model).__qualname__) == ("anyfm.estimators", "TinyClassifier")
    assert type(model)._model == "tiny"
    with pytest.raises(AttributeError, match="no attribute 'UnknownClassifier'"):
        anyfm.UnknownClassifier  # noqa: B018


def test_a_clone_keeps_parameters_and_forgets_the_model() -> None:
    table, y = clicks(200)
    model = FMClassifier(n_factors=3, fields={"ad_id": "categorical"}, epochs=1).fit(table, y)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "model_")


# ---- weights


@pytest.mark.parametrize("kind", ALL)
def test_weight_zero_is_absence_bit_for_bit(kind: Any) -> None:
    table, y = clicks(1500)
    y = y if kind in CLASSIFIERS else (y == "yes") * 2.5
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    present = weight > 0
    weighted = kind(epochs=3).fit(table, y, sample_weight=weight)
    removed = kind(epochs=3).fit(table[present], y[present], sample_weight=weight[present])
    np.testing.assert_array_equal(weighted.predict(table), removed.predict(table))
    assert weighted.model_.artifact.encoder.counts.tolist() == removed.model_.artifact.encoder.counts.tolist()


def test_weights_count_as_copies_in_the_counts_of_values() -> None:
    table = pd.DataFrame({"city": ["a"] * 20 + ["b"] * 20 + ["once"]})
    y = [0] * 20 + [1] * 21
    plain = LinearClassifier(epochs=1).fit(table, y)
    weighted = LinearClassifier(epochs=1).fit(table, y, sample_weight=[1] * 40 + [2])
    assert "once" not in plain.linear_["city"]
    assert "once" in weighted.linear_["city"]


def test_weights_move_the_prediction() -> None:
    table = pd.DataFrame({"city": ["a", "b"] * 500})
    y = np.array([0, 0, 1, 1] * 250)
    model = LinearClassifier().fit(table, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_allclose(model.predict_proba(table)[:, 1], 0.75, atol=0.03)


@pytest.mark.parametrize(
    ("weight", "message"),
    [([1.0] * 59 + [-1.0], "Negative"), ([0.0] * 60, "non-zero|class"), ([1.0] * 59, "shape"), ([np.nan] * 60, "NaN")],
)
def test_bad_weights_are_refused(weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearClassifier().fit(np.tile([[0.0], [1.0]], (30, 1)), [0, 1] * 30, sample_weight=weight)


# ---- validation and history


def test_history_and_early_stopping_on_held_out_rows() -> None:
    table, y = clicks()
    model = FMClassifier(patience=2, learning_rate=1.0).fit(table, y)
    losses = [record["valid_logloss"] for record in model.history_.records]
    assert model.best_epoch_ == int(np.argmin(losses)) + 1
    assert model.history_.n_epochs == model.best_epoch_ + 2 < 50
    assert model.model_.artifact.training["valid_rows"] == 300


def test_the_eval_set_chooses_the_epoch() -> None:
    table, y = clicks()
    other, y_other = clicks(500, seed=1)
    weight = np.arange(500) % 3
    model = FMClassifier(patience=2, learning_rate=1.0).fit(table, y, eval_set=(other, y_other, weight))
    assert model.model_.artifact.training["rows"] == 3000
    p = np.where(y_other == "yes", *model.predict_proba(other).T[::-1])
    expected = -np.average(np.log(p), weights=weight)
    best = model.history_.records[model.best_epoch_ - 1]
    np.testing.assert_allclose(best["valid_logloss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "fraction", "valid_rows"), [(1999, None, 0), (2000, None, 200), (1000, 0.1, 100), (1000, 0.0, 0)]
)
def test_small_data_are_not_divided(n: int, fraction: float | None, valid_rows: int) -> None:
    table, y = clicks(n)
    model = LinearClassifier(epochs=4, patience=4, valid_fraction=fraction).fit(table, y)
    assert model.model_.artifact.training["valid_rows"] == valid_rows
    assert model.model_.artifact.training["n_folds"] == (5 if n == 1999 else 0)
    if not valid_rows:
        assert model.history_.n_epochs == 4 or n == 1999
        assert not any(name.startswith("valid") for name in model.history_.records[0])


def test_a_rare_class_is_on_both_sides_of_the_division() -> None:
    X, y = np.random.default_rng(0).normal(size=(1000, 2)), np.arange(1000) % 100 == 0
    for seed in range(10):  # one class alone would be an error
        LinearClassifier(epochs=1, monitor="auc", random_state=seed).fit(X, y)


@pytest.mark.parametrize("bad", [5, (np.ones((2, 1)),), "ab"])
def test_an_eval_set_of_another_form_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="eval_set must be"):
        LinearClassifier().fit(np.tile([[0.0], [1.0]], (30, 1)), [0, 1] * 30, eval_set=bad)


def test_an_unknown_class_in_the_eval_set_is_named() -> None:
    table, y = clicks(100)
    with pytest.raises(InputError, match="'maybe'"):
        LinearClassifier().fit(table, y, eval_set=(table[:1], ["maybe"]))


# ---- seeds


def test_the_same_seed_gives_the_same_model_on_any_number_of_threads() -> None:
    table, y = clicks(1500)

    def logits(**parameters: Any) -> Any:
        return FMClassifier(epochs=2, **parameters).fit(table, y).decision_function(table)

    np.testing.assert_array_equal(logits(n_threads=1), logits(n_threads=2))
    np.testing.assert_array_equal(
        logits(random_state=np.random.RandomState(7)), logits(random_state=np.random.RandomState(7))
    )
    assert (logits(random_state=1) != logits(random_state=2)).any()
    assert (logits(random_state=None) != logits(random_state=None)).any()


# ---- parameters by field and value, saving and loading


def test_factors_by_field_and_value_make_up_the_logit() -> None:
    table, y = clicks()
    model = FMClassifier(epochs=4).fit(table[["city", "ad_id"]], y)
    assert list(model.factors_) == ["city", "ad_id"]
    assert set(model.linear_["ad_id"]) == {"<unseen>", "<missing>", 100, 101, 102, 103}
    logit = (
        model.bias_
        + model.linear_["city"]["Rome"]
        + model.linear_["ad_id"][102]
        + model.factors_["city"]["Rome"] @ model.factors_["ad_id"][102]
    )
    row = pd.DataFrame({"city": ["Rome"], "ad_id": [102]})
    np.testing.assert_allclose(model.decision_function(row), logit, rtol=1e-5)
    with pytest.raises(KeyError):
        model.factors_["town"]


@pytest.mark.parametrize("kind", ALL)
def test_scores_are_those_of_the_specification(kind: Any) -> None:
    table, y = clicks(1200)
    y = y if kind in CLASSIFIERS else np.random.default_rng(0).normal(5, 2, len(y))
    model = kind(epochs=3, fields=TAGS).fit(table, y)
    artifact = model.model_.artifact
    rows = artifact.encoder.encode(pl.from_pandas(table), labelled=False).rows
    expected = specification_logits(artifact.model, artifact.parameters, rows)
    logits = model.decision_function(table) if kind in CLASSIFIERS else model.predict(table)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_a_saved_model_scores_the_same(kind: Any, tmp_path: Path) -> None:
    table, y = clicks(1200)
    y = y if kind in CLASSIFIERS else (y == "yes") * 2.5
    model = kind(epochs=3, fields=TAGS).fit(table, y)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    expected = model.predict_proba(table)[:, 1] if kind in CLASSIFIERS else model.predict(table)
    np.testing.assert_allclose(loaded.predict(table), expected, rtol=1e-6)
    labelled = table.assign(clicked=y)
    scores = loaded.evaluate(labelled)
    error = np.mean((model.predict(table) - y) ** 2) ** 0.5 if kind in REGRESSORS else None
    np.testing.assert_allclose(
        scores["rmse" if kind in REGRESSORS else "auc"],
        error if error is not None else auc(y == "yes", model.decision_function(table)),
        rtol=1e-5,
    )


def test_a_model_of_a_sparse_matrix_can_be_saved(tmp_path: Path) -> None:
    X, y, _ = one_hot()
    model = FMClassifier(epochs=2).fit(X, y)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").artifact.n_features == X.shape[1]


@pytest.mark.parametrize("through", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_pickled_and_copied_models_score_the_same(through: Any) -> None:
    table, y = clicks(300)
    model = FMClassifier(epochs=2, fields=TAGS).fit(table, y)
    twin = through(model)
    np.testing.assert_array_equal(twin.decision_function(table), model.decision_function(table))
    assert twin.factors_["city"]["Rome"].tolist() == model.factors_["city"]["Rome"].tolist()
    assert not hasattr(through(FMClassifier()), "model_")


# ---- what is refused


def test_more_than_two_classes_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match=r"Only binary classification is supported.*multiclass"):
        FMClassifier().fit(X, [0, 1, 2] * 10)
    with pytest.raises(InputError, match="one class"):
        FMClassifier().fit(X, [1] * 30)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_factors": 0}, "n_factors must be auto or an integer"),
        ({"valid_fraction": 1.0}, "valid_fraction must be auto or a number of at least 0 and below 1"),
        ({"valid_fraction": "some"}, "valid_fraction must be"),
        ({"n_bins": 1}, "n_bins must be auto or an integer"),
        ({"min_count": 0}, "min_count must be an integer"),
        ({"patience": 0}, "patience must be"),
        ({"fields": {"x0": "color"}}, "kind must be one of"),
        ({"fields": {"town": "numeric"}}, "'town'"),
        ({"random_state": "luck"}, "luck"),
        ({"random_state": -1}, "seed must be"),
    ],
)
def test_fit_refuses_wrong_parameters(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FMClassifier(**parameters).fit(np.tile([[0.0], [1.0]], (30, 1)), [0, 1] * 30)


def test_other_columns_than_in_training_are_refused() -> None:
    table, y = clicks(100)
    model = LinearClassifier(epochs=1).fit(table, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["ad_id", "city", "age", "genres"]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table.rename(columns={"city": "town"}))


def test_an_array_stands_for_the_columns_in_order() -> None:
    table, y = clicks(100)
    model = LinearClassifier(epochs=2).fit(table[["city", "ad_id"]], y)
    with pytest.warns(UserWarning, match="valid feature names"):
        logits = model.decision_function(table[["city", "ad_id"]].to_numpy())
    np.testing.assert_array_equal(logits, model.decision_function(table[["city", "ad_id"]]))


def test_columns_with_numbers_for_names() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    model = LinearClassifier(epochs=2).fit(pd.DataFrame(X), y)
    assert list(model.linear_) == ["0", "1"]
    np.testing.assert_array_equal(model.predict(pd.DataFrame(X)), model.predict(X))


def test_the_target_may_have_the_name_of_a_column() -> None:
    table, y = clicks(100)
    model = LinearClassifier(epochs=1).fit(table, y.rename("city"))
    assert model.model_.schema.target.name == "city_"


def test_one_row_is_too_few() -> None:
    table, y = clicks(1)
    with pytest.raises(ValueError, match="n_samples=1"):
        LinearClassifier().fit(table, y)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_constant_target_of_a_regression_is_predicted(kind: Any) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    np.testing.assert_allclose(kind(learning_rate=0.1).fit(X, np.full(60, 7.0)).predict(X), 7.0, atol=0.01)


@pytest.mark.parametrize("n", [200, 1000, 50_000])
def test_fm_regression_of_few_values(n: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (n, 10)).astype(float)
    y = X @ rng.normal(size=10) + rng.normal(size=n)
    assert FMRegressor().fit(X, y).score(X, y) > 0.5


def test_the_package_gives_estimators_and_load_when_asked() -> None:
    assert anyfm.FMClassifier is FMClassifier
    assert {kind.__name__ for kind in ALL} <= set(dir(anyfm))
    assert all(hasattr(anyfm, name) for name in anyfm.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        anyfm.nothing  # noqa: B018
