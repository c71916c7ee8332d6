"""What every engine promises of every model it trains."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.engines.base import State
from anyfm.models import MODELS, BaseModel, specification_logits
from tests.random_rows import (
    KINDS,
    N_FEATURES,
    N_FIELDS,
    as_ragged,
    entries,
    few_value_rows,
    learnable_rows,
    random_parameters,
    random_rows,
)

from .cases import (
    ALL_CASES,
    ANY_N_THREADS,
    CASES_OF,
    ENGINES,
    N_THREADS,
    build,
    finite_differences,
    has_linear_terms,
    has_setting,
    is_per_feature,
    make_model,
    mean_loss,
    of_every_model,
    prepared,
    rounding_bound,
    run_epoch,
    same,
    scorer,
    single_rows,
    trained,
)
from .pairwise import pairwise

TASKS = ("binary", "regression")


def test_every_model_is_a_case_of_every_engine() -> None:
    for engine in ENGINES:
        trains = {name for name, model in MODELS.items() if engine in model().engines}
        assert {case.partition("-")[0] for case in CASES_OF[engine]} == trains


# ---- one training for each combination, and everything that can be asked of it


@dataclass(frozen=True)
class Trial:
    """One way to train: a model, the rows, and the threads. 4500 rows have batches of up to 64 rows, 203 of 16."""

    engine: str
    case: str
    kind: str
    task: str
    weighted: bool
    n_rows: int
    n_threads: int


@dataclass(frozen=True)
class Outcome:
    parameters: State
    state: State
    logits: NDArray[np.float32]


def unseen(kind: str, task: str) -> Rows:
    return random_rows(kind, 101, seed=1, task=task)


@cache
def outcome(trial: Trial) -> Outcome:
    """Train two epochs, or the first rows of them."""
    model = make_model(trial.case, task=trial.task)
    train = random_rows(trial.kind, trial.n_rows, task=trial.task, weighted=trial.weighted)
    engine = prepared(trial.engine, model, train, n_threads=trial.n_threads)
    for epoch in (1, 2):
        run_epoch(engine, train, epoch, at_most=200 if trial.n_rows > 300 else 100)
    return Outcome(engine.parameters(), engine.state(), engine.logits(unseen(trial.kind, trial.task)))


TRIALS = [
    Trial(engine, *combination)
    for engine in ENGINES
    for combination in pairwise(CASES_OF[engine], KINDS, TASKS, (False, True), (203, 4500), N_THREADS[engine])
]


def of_trials(trials: list[Trial]) -> pytest.MarkDecorator:
    cases = [pytest.param(trial.engine, trial, id="-".join(map(str, vars(trial).values()))) for trial in trials]
    return pytest.mark.parametrize(("engine", "trial"), cases, indirect=["engine"])


@of_trials(TRIALS)
def test_logits_equal_the_specification(engine: str, trial: Trial) -> None:
    """The exported parameters, in the units of the target, give the engine's logits."""
    model, found, data = make_model(trial.case, task=trial.task), outcome(trial), unseen(trial.kind, trial.task)
    expected = specification_logits(model, found.parameters, data)
    assert (np.abs(found.logits - expected) <= rounding_bound(model, found.parameters, data)).all()
    assert np.ptp(expected) > 1e-3


@of_trials(TRIALS)
def test_the_scorer_equals_the_specification(engine: str, trial: Trial) -> None:
    model, found, data = make_model(trial.case, task=trial.task), outcome(trial), unseen(trial.kind, trial.task)
    bound = rounding_bound(model, found.parameters, data)
    expected = specification_logits(model, found.parameters, data)
    of_model = scorer(model, found.parameters)
    assert (np.abs(of_model.logits(data) - expected) <= bound).all()
    alone = [of_model.logit(*row) for row in single_rows(data, 5)]
    assert (np.abs(alone - expected[:5]) <= bound[:5]).all()


@of_trials([trial for trial in TRIALS if ANY_N_THREADS[trial.engine] or trial.n_threads > 1])
def test_training_gives_the_same_bytes_again(engine: str, trial: Trial) -> None:
    """On one thread, where the engine promises the same for any number; otherwise on as many threads."""
    again = outcome.__wrapped__(replace(trial, n_threads=1) if ANY_N_THREADS[engine] else trial)
    assert same(outcome(trial).state, again.state)
    assert same(outcome(trial).parameters, again.parameters)


@pytest.mark.parametrize("case", ["linear", "fm-8", "ffm-4", "afm-5-3", "deepfm"])
def test_training_gives_the_same_bytes_on_more_threads_than_the_kernels_use(case: str) -> None:
    """Native kernels divide the features among eight threads at most."""
    train = random_rows("shared", 4500, weighted=True)
    states = []
    for n_threads in (1, 16):
        made = prepared("native", make_model(case), train, n_threads=n_threads)
        run_epoch(made, train, 1, at_most=200)
        states.append(made.state())
    assert same(*states)


# ---- training


@of_every_model()
@pytest.mark.parametrize("task", TASKS)
def test_training_lowers_the_loss(engine: str, case: str, task: str) -> None:
    train = random_rows("fixed", 200, task=task)
    made = prepared(engine, make_model(case, task=task), train, seed=0)
    losses = []
    for epoch in range(1, 6):
        made.begin_epoch(epoch)
        losses.append(made.step(train, np.arange(train.n_rows)))
    assert losses[-1] < losses[0]


LOSS_CASES = [
    (engine, *combination)
    for engine in ENGINES
    for combination in pairwise([c for c in CASES_OF[engine] if c != "deepfm-norm"], KINDS, TASKS, (False, True))
]


@pytest.mark.parametrize(("engine", "case", "kind", "task", "weighted"), LOSS_CASES, indirect=["engine"])
def test_step_returns_the_weighted_loss_before_the_update(
    engine: str, case: str, kind: str, task: str, weighted: bool
) -> None:
    """Of 16 rows, which are one batch of a table of 4500 rows; without dropout."""
    train = random_rows(kind, 4500, task=task, weighted=weighted)
    changes = {"dropout": 0.0} if has_setting(case, "dropout") else {}
    made = prepared(engine, make_model(case, task=task, **changes), train, seed=0)
    first = train.slice(0, 16)
    logits = specification_logits(made.model, made.parameters(), first)
    total = 16.0 if first.weight is None else float(first.weight.sum())
    assert made.step(train, np.arange(16)) == pytest.approx(total * mean_loss(logits, first, task), rel=1e-5)


# torch's code is the same for all models; those with pairs of 30 fields are slow in it.
CROWDED_CASES = [
    ("native", *combination)
    for combination in pairwise(["fm-8", "ffm-4", "afm-4-3", "deepfm-tanh"], (2, 4), (60, 300, 2500), TASKS)
] + [("torch", *combination) for combination in pairwise(["fm-8", "deepfm-tanh"], (2, 4), (60, 2500), TASKS)]


@pytest.mark.parametrize(("engine", "case", "n_values", "n_rows", "task"), CROWDED_CASES, indirect=["engine"])
def test_tables_of_few_values_do_not_diverge(engine: str, case: str, n_values: int, n_rows: int, task: str) -> None:
    """Every feature is in most rows of a batch, so that a batch's steps add up on the same logits."""
    data = few_value_rows(n_rows, n_values=n_values, task=task)
    sizes = {"n_features": 30 * n_values, "n_fields": 30}
    made = prepared(engine, make_model(case, task=task), data, seed=0, **sizes)
    rng = np.random.default_rng(0)
    for epoch in range(1, 21 if n_rows < 2500 else 6):
        made.begin_epoch(epoch)
        loss = made.step(data, rng.permutation(n_rows)) / n_rows
    assert data.y is not None
    assert loss < (0.4 if task == "binary" else 0.1 * float(np.var(data.y)))


FREE_OF_PENALTY = {
    "l2_linear": 0.0,
    "l2_factors": 0.0,
    "l2_attention": 0.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "shrinkage": 0.0,
}


def has_kink(model: BaseModel, parameters: State, row: Rows, name: str, gradient: NDArray[np.float64]) -> bool:
    """Whether a relu switches nearby, where float32 may see the other slope: differences of shorter steps differ."""
    shorter = finite_differences(model, parameters, row, name, step=1e-7).reshape(gradient.shape)
    return not np.allclose(shorter, gradient, rtol=1e-3, atol=1e-3 * np.abs(gradient).max())


DIRECTION_CASES = [
    (engine, *combination)
    for engine in ENGINES
    for combination in pairwise(
        [case for case in CASES_OF[engine] if case not in ("fm-256", "ffm-libffm", "deepfm-norm")],
        ("values", "repeated", "ragged-values"),
        TASKS,
    )
]


@pytest.mark.parametrize(("engine", "case", "kind", "task"), DIRECTION_CASES, indirect=["engine"])
def test_a_step_of_one_row_moves_every_vector_against_its_gradient(
    engine: str, case: str, kind: str, task: str
) -> None:
    """Adagrad divides the gradient of a vector by one number, so that the step keeps its direction."""
    model = make_model(case, task=task, **{n: value for n, value in FREE_OF_PENALTY.items() if has_setting(case, n)})
    train = random_rows(kind, 300, task=task)
    made = prepared(engine, model, train)
    run_epoch(made, train, 1)  # what starts at zero leaves it
    checked = 0
    for i in range(40, 60):
        row = train.slice(i, i + 1)
        if len(np.unique(row.ids)) < row.ids.size or row.ids.size < 2:
            continue
        before = made.parameters()
        made.step(train, np.array([i]))
        after = made.parameters()
        if has_linear_terms(case):
            assert (before["bias"] - after["bias"]) * finite_differences(model, before, row, "bias") > 0
        for name, spec in model.parameter_specs(N_FEATURES, N_FIELDS).items():
            if not is_per_feature(spec) or (name == "linear" and not has_linear_terms(case)):
                continue
            width = spec.shape[-1] if len(spec.shape) > 1 else 1
            moved = (before[name].astype(np.float64) - after[name]).reshape(-1, width)
            gradient = finite_differences(model, before, row, name).reshape(-1, width)
            lengths = [np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (moved, gradient)]
            large = (lengths[0] > 1e-4).ravel() & (lengths[1] > 1e-4).ravel()
            found, expected = (
                vectors[large] / length[large] for vectors, length in zip((moved, gradient), lengths, strict=True)
            )
            if not np.allclose(found, expected, atol=5e-3) and has_kink(model, before, row, name, gradient):
                continue
            np.testing.assert_allclose(found, expected, atol=5e-3, err_msg=name)
            assert (lengths[0] < 1e-6).ravel()[lengths[1].ravel() == 0].all(), name
            checked += large.sum()
        if checked > 10:
            break
    assert checked > 3


LONG_VECTORS = pytest.mark.xfail(reason="the factors of long vectors stay small", strict=False)
CROSSING = ("fm-1", "fm-8", "fm-37", "fm-256", "ffm-1", "ffm-8", "ffm-libffm", "fwfm", "afm-1-1", "afm-16-16", "deepfm")


@cache
def loss_after(engine: str, case: str, *, epochs: int) -> float:
    """The logloss of training rows with a crossed effect."""
    train = learnable_rows(1500, seed=0)
    made = trained(engine, make_model(case), train, epochs=epochs, n_features=24, n_fields=4)
    return mean_loss(made.logits(train), train, "binary")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=LONG_VECTORS if case == "fm-256" else ())
        for case in CROSSING
        if case in CASES_OF["native"]
    ],
)
def test_factors_learn_a_crossed_effect(case: str) -> None:
    """However many factors a model has, it is never a linear model. torch is held to the native engine below."""
    assert loss_after("native", case, epochs=5) < loss_after("native", "linear", epochs=5) - 0.05


@pytest.mark.parametrize("case", ["linear", "fm-8", "ffm-4", "afm-5-3", "deepfm-tanh"])
def test_both_engines_learn_the_same(case: str) -> None:
    pytest.importorskip("torch")
    assert loss_after("torch", case, epochs=5) == pytest.approx(loss_after("native", case, epochs=5), abs=0.015)


# ---- state


STATE_CASES = [
    (engine, *combination)
    for engine in ENGINES
    for combination in pairwise(CASES_OF[engine], TASKS, (False, True), (1, 2), ("values", "ragged", "repeated"))
]


@pytest.mark.parametrize(("engine", "case", "task", "weighted", "done", "kind"), STATE_CASES, indirect=["engine"])
def test_epochs_after_load_state_are_the_same_bytes(
    engine: str, case: str, task: str, weighted: bool, done: int, kind: str
) -> None:
    """k epochs = i epochs, state and load_state into another engine, k - i epochs."""
    train = random_rows(kind, 100, task=task, weighted=weighted)
    model = make_model(case, task=task)
    straight = prepared(engine, model, train)
    for epoch in range(1, done + 1):
        run_epoch(straight, train, epoch)
    saved = straight.state()
    copied = {name: array.copy() for name, array in saved.items()}

    resumed = build(engine, model, n_threads=2 if ANY_N_THREADS[engine] else 1)
    resumed.prepare(random_rows(kind, 100, seed=8, task=task), seed=98)  # forgotten by the next call
    resumed.prepare(train, seed=99)
    resumed.load_state(saved)
    assert same(straight.state(), resumed.state())
    for epoch in range(done + 1, 4):
        assert run_epoch(straight, train, epoch) == run_epoch(resumed, train, epoch)
    assert same(straight.state(), resumed.state())
    assert same(straight.parameters(), resumed.parameters())
    assert same(saved, copied), "state gives copies"
    assert not same(saved, straight.state())


@of_every_model()
def test_parameters_are_copies_of_the_declared_shapes(engine: str, case: str) -> None:
    train = random_rows("fixed")
    made = prepared(engine, make_model(case), train)
    found = made.parameters()
    specs = made.model.parameter_specs(N_FEATURES, N_FIELDS)
    assert {name: array.shape for name, array in found.items()} == {name: spec.shape for name, spec in specs.items()}
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    for array in found.values():
        array[:] = np.nan
    assert all(np.isfinite(array).all() for array in made.parameters().values())


def test_the_state_of_another_model_is_refused(engine: str) -> None:
    train = random_rows("fixed")
    with pytest.raises(SettingError, match="must have shape"):
        prepared(engine, make_model("fm-8"), train).load_state(prepared(engine, make_model("linear"), train).state())


# ---- weights


@pytest.mark.parametrize(
    ("engine", "case", "kind", "task"),
    [(engine, *combination) for engine in ENGINES for combination in pairwise(CASES_OF[engine], KINDS, TASKS)],
    indirect=["engine"],
)
def test_rows_of_weight_zero_teach_nothing(engine: str, case: str, kind: str, task: str) -> None:
    train = random_rows(kind, 128, task=task)
    weight = np.ones(128, np.float32)
    weight[64:] = 0
    assert train.y is not None
    data = train.labelled(train.y, weight)
    made = prepared(engine, make_model(case, task=task), data, seed=0)
    before = made.parameters()
    assert made.step(data, np.arange(64, 128)) == 0
    assert same(before, made.parameters())


@of_every_model()
def test_a_weight_counts_in_the_gradient(engine: str, case: str) -> None:
    """Half of the rows have feature 0, of which targets of 1 weigh more; the others feature 1, where those of 0 do."""
    ids, y = np.meshgrid(np.arange(2, dtype=np.int32), np.arange(2, dtype=np.float32))
    ids, y = np.tile(ids.ravel(), 100), np.tile(y.ravel(), 100)
    cells = np.stack([ids, np.full(400, 2, np.int32)], axis=1)
    train = Rows(ids=cells, y=y, weight=np.where(ids != y, 4, 1).astype(np.float32))
    made = trained(engine, make_model(case), train, epochs=4, n_features=3, n_fields=2)
    logits = made.logits(Rows(ids=np.array([[0, 2], [1, 2]], np.int32)))
    if has_linear_terms(case):
        assert logits[0] > 0.3
        assert logits[1] < -0.3
    else:
        assert logits[0] > logits[1]


@of_every_model()
@pytest.mark.parametrize("kind", ["values", "ragged-values"])
def test_a_step_changes_the_features_of_its_rows_only(engine: str, case: str, kind: str) -> None:
    train = random_rows(kind, 300)
    made = trained(engine, make_model(case), train, epochs=1)
    order = np.array([i for i in range(300) if 0 not in entries(train, i)[0]])[:20]
    seen = np.unique(train.take(order).ids)
    before = made.parameters()
    made.step(train, order)
    after = made.parameters()
    specs = made.model.parameter_specs(N_FEATURES, N_FIELDS)
    rest = np.setdiff1d(np.arange(N_FEATURES), seen)
    assert 0 in rest
    for name in (name for name, spec in specs.items() if is_per_feature(spec)):
        assert before[name][rest].tobytes() == after[name][rest].tobytes(), name
    assert not same(before, after)


@pytest.mark.parametrize("case", ["afm-5-3", "deepfm-sigmoid"])
def test_dropout_differs_from_epoch_to_epoch(engine: str, case: str) -> None:
    """The loss of the same rows with the same parameters: learning rates are next to nothing."""
    train, sizes = learnable_rows(300, seed=0), {"n_features": 24, "n_fields": 4}
    still = dict.fromkeys(("learning_rate", "mlp_learning_rate", "attention_learning_rate"), 1e-12)
    still = {name: value for name, value in still.items() if has_setting(case, name)}
    losses = {}
    for dropout in (0.0, 0.5):
        changes = {"dropout": dropout, "init_scale": 5, "l2_factors": 0.0}
        state = trained(engine, make_model(case, **changes), train, epochs=3, **sizes).state()
        made = prepared(engine, make_model(case, **changes, **still), train, **sizes)
        made.load_state(state)
        losses[dropout] = []
        for epoch in (4, 5, 6):
            made.begin_epoch(epoch)
            losses[dropout].append(made.step(train, np.arange(8)))
    assert losses[0.0] == pytest.approx([losses[0.0][0]] * 3, rel=1e-6)
    assert min(abs(np.diff(losses[0.5]))) > 1e-3


@pytest.mark.parametrize(
    ("engine", "case", "kind", "task"),
    [
        (engine, *combination)
        for engine in ENGINES
        for combination in pairwise(CASES_OF[engine], ("values", "ragged-values"), TASKS)
    ],
    indirect=["engine"],
)
def test_weights_are_copies_to_the_statistics_of_training(engine: str, case: str, kind: str, task: str) -> None:
    """Counts, scale and base rate of rows of weight n are those of n copies: training starts from the same parameters.

    Steps differ: Adagrad adds up the square of a threefold gradient, or three squares.
    """
    weighted = random_rows(kind, task=task, weighted=True)
    assert weighted.y is not None
    assert weighted.weight is not None
    copies = weighted.take(np.repeat(np.arange(weighted.n_rows), weighted.weight.astype(np.int64)))
    assert copies.y is not None
    start = prepared(engine, make_model(case, task=task), weighted).parameters()
    other = prepared(engine, make_model(case, task=task), copies.labelled(copies.y)).parameters()
    for name in start:
        np.testing.assert_allclose(start[name], other[name], rtol=1e-4, atol=1e-6, err_msg=name)


# ---- relations between models, and between forms of the same rows


@pytest.mark.parametrize("other", ["afm-5-3", "deepfm", "deepfm-none"])
@pytest.mark.parametrize("task", TASKS)
def test_training_starts_as_a_factorization_machine(engine: str, other: str, task: str) -> None:
    """AFM where rows are of one length: equal attention, and a projection that undoes the division."""
    train = random_rows("fixed", 300, task=task)
    model = make_model(other, task=task, init_scale=5)
    fm = make_model("fm-8", task=task, init_scale=5, n_factors=model.settings.n_factors)
    starts = [prepared(engine, each, train, seed=4) for each in (fm, model)]
    if task == "binary":
        np.testing.assert_array_equal(*(start.parameters()["factors"] for start in starts))
    of_fm, of_other = (start.logits(train) for start in starts)
    np.testing.assert_allclose(of_other, of_fm, rtol=1e-5, atol=1e-5)
    assert np.ptp(of_fm) > 0.01


def test_deepfm_without_hidden_layers_trains_as_fm(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "native":
        request.applymarker(pytest.mark.xfail(reason="DeepFM's learning rate rises in the first epoch", strict=False))
    train = random_rows("fixed")
    deep = make_model("deepfm-none")
    fm = make_model("fm-8", n_factors=deep.settings.n_factors, learning_rate=deep.settings.learning_rate)
    one, other = (trained(engine, model, train).parameters() for model in (fm, deep))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


@of_every_model()
def test_fixed_and_ragged_forms_of_the_same_rows_train_alike(engine: str, case: str) -> None:
    fixed = random_rows("values", 100)
    forms = [trained(engine, make_model(case), data) for data in (fixed, as_ragged(fixed))]
    np.testing.assert_allclose(forms[0].logits(fixed), forms[1].logits(fixed), rtol=1e-3, atol=1e-4)


@of_every_model()
def test_values_of_one_are_the_same_as_none(engine: str, case: str) -> None:
    plain = random_rows("fixed", 100)
    ones = replace(plain, values=np.ones(plain.ids.shape, np.float32))
    forms = [trained(engine, make_model(case), data) for data in (plain, ones)]
    np.testing.assert_allclose(forms[0].logits(plain), forms[1].logits(ones), rtol=1e-3, atol=1e-4)


@of_every_model()
@pytest.mark.parametrize("absent", [True, False])
def test_a_feature_never_trained_has_no_factors(engine: str, case: str, absent: bool) -> None:
    """It is in no row, or in rows of weight 0 only."""
    train = random_rows("fixed", 100)
    has_it = (train.ids == 3).any(axis=1)
    assert train.y is not None
    data = replace(train, ids=np.where(train.ids == 3, 4, train.ids).astype(np.int32))
    if not absent:
        data = train.labelled(train.y, np.where(has_it, 0, 1).astype(np.float32))
    found = trained(engine, make_model(case), data).parameters()
    for name in found.keys() & {"linear", "factors", "field_factors"}:
        assert not found[name][3].any() or (case == "ffm-libffm" and name == "field_factors")  # libffm draws them all
        assert found[name][4].any() or name == "linear"


# ---- scoring


SPLIT_CASES = pairwise(ALL_CASES, KINDS)


@pytest.mark.parametrize(("case", "kind"), SPLIT_CASES)
def test_scores_are_the_same_bytes_on_any_threads_in_any_slices_and_alone(case: str, kind: str) -> None:
    model, data = make_model(case), random_rows(kind, 4500)
    parameters = random_parameters(model, deviation=0.3, dtype=np.float32)
    whole = scorer(model, parameters, n_threads=1).logits(data)
    for n_threads in (2, 3, 8):
        assert scorer(model, parameters, n_threads=n_threads).logits(data).tobytes() == whole.tobytes()
    of_model = scorer(model, parameters)
    cuts = [0, 1, 8, 100, 205, 206, 4500]
    parts = [of_model.logits(data.slice(a, b)) for a, b in itertools.pairwise(cuts)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    alone = np.array([of_model.logit(*row) for row in single_rows(data, 6)], np.float32)
    assert alone.tobytes() == whole[:6].tobytes()


@pytest.mark.parametrize(("case", "kind"), SPLIT_CASES)
def test_scores_of_random_parameters_equal_the_specification(case: str, kind: str) -> None:
    model, data = make_model(case), random_rows(kind)
    parameters = random_parameters(model, deviation=0.3, dtype=np.float32)
    expected = specification_logits(model, parameters, data)
    found = scorer(model, parameters).logits(data)
    assert (np.abs(found - expected) <= rounding_bound(model, parameters, data)).all()


@of_every_model()
def test_an_engine_s_logits_do_not_depend_on_slices(engine: str, case: str) -> None:
    data = random_rows("values", 4500)
    made = prepared(engine, make_model(case), data)
    whole = made.logits(data)
    parts = [made.logits(data.slice(a, b)) for a, b in ((0, 1), (1, 100), (100, 205), (205, 4500))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_no_rows_and_rows_without_entries(engine: str) -> None:
    for case in ("fm-8", "deepfm-tanh"):
        made = build(engine, make_model(case))
        assert made.logits(Rows(ids=np.zeros((0, N_FIELDS), np.int32))).shape == (0,)
        empty = Rows(ids=np.zeros(0, np.int32), offsets=np.zeros(3, np.int64), fields=np.zeros(0, np.int32))
        np.testing.assert_array_equal(made.logits(empty), np.zeros(2, np.float32))


# ---- what is refused


@pytest.mark.parametrize("bad", [-1, N_FEATURES, 2**31 - 1])
@pytest.mark.parametrize("case", ["fm-8", "deepfm-1"])
def test_ids_out_of_bounds_name_their_row(engine: str, case: str, bad: int) -> None:
    data = random_rows("fixed", 10)
    data.ids[6, 2] = bad
    made = build(engine, make_model(case))
    with pytest.raises(InputError, match=rf"row 7.*{bad}"):
        made.logits(data)
    made.prepare(random_rows("fixed", 10), seed=0)
    with pytest.raises(InputError, match=rf"row 7.*{bad}"):
        made.step(data, np.arange(10))


@pytest.mark.parametrize("bad", [-1, N_FIELDS])
@pytest.mark.parametrize("case", ["ffm-4", "deepfm-1"])
def test_fields_out_of_bounds_are_refused(engine: str, case: str, bad: int) -> None:
    data = random_rows("ragged", 10)
    assert data.fields is not None
    data.fields[3] = bad
    made = build(engine, make_model(case))
    with pytest.raises(InputError, match=f"a field must lie in 0 … {N_FIELDS - 1} .*row .*{bad}"):
        made.logits(data)


def test_ragged_rows_of_ffm_must_state_their_fields(engine: str) -> None:
    data = replace(random_rows("ragged", 10), fields=None)
    with pytest.raises(SettingError, match="state a field per entry"):
        build(engine, make_model("ffm-4")).logits(data)


def test_rows_without_a_target_cannot_train(engine: str) -> None:
    without = Rows(ids=np.zeros((3, 2), np.int32))
    made = build(engine, make_model("fm-8"))
    with pytest.raises(SettingError, match="target"):
        made.prepare(without, seed=0)
    made.prepare(random_rows("fixed"), seed=0)
    with pytest.raises(ValueError, match="target"):  # of which SettingError is one
        made.step(without, np.arange(3))


def test_an_engine_must_be_prepared_before_its_first_step(engine: str) -> None:
    with pytest.raises(SettingError, match="prepared"):
        build(engine, make_model("fm-8")).step(random_rows("fixed"), np.arange(3))


# ---- large ids


LARGE = np.arange(2**24 - 4, 2**24 + 4, dtype=np.int32)  # float32 holds every integer up to 2²⁴ only


def test_training_tells_ids_near_two_to_the_24_apart(engine: str) -> None:
    train = Rows(ids=np.tile(LARGE, 40)[:, None], y=np.tile(LARGE % 2, 40).astype(np.float32))
    made = trained(engine, make_model("linear"), train, epochs=1, n_features=2**24 + 4, n_fields=1)
    assert (np.sign(made.logits(train.slice(0, 8))) == [-1, 1] * 4).all()
    weights = made.parameters()["linear"]
    assert (np.sign(weights[-8:]) == [-1, 1] * 4).all()
    assert not weights[:-8].any()


def test_scoring_tells_ids_near_two_to_the_24_apart() -> None:
    parameters = {"bias": np.zeros(1), "linear": np.zeros(2**24 + 4), "factors": np.zeros((2**24 + 4, 1))}
    parameters["linear"][LARGE] = np.arange(8)
    parameters["factors"][LARGE, 0] = 1 + np.arange(8)
    parameters = {name: array.astype(np.float32) for name, array in parameters.items()}
    pairs = np.stack([LARGE, np.roll(LARGE, 1)], axis=1)
    i, j = np.arange(8), np.roll(np.arange(8), 1)
    found = scorer(make_model("fm-1"), parameters, n_fields=2).logits(Rows(ids=pairs))
    np.testing.assert_allclose(found, i + j + (1 + i) * (1 + j), rtol=1e-6)
