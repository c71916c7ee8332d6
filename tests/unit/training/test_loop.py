"""The loop, driven with the numpy engine of conftest.py: when it stops, what it keeps, what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm import metrics
from anyfm.core.errors import DivergenceError, InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.core.task import get_task
from anyfm.engines.base import Engine
from anyfm.models import FM, FMSettings, Linear
from anyfm.training.callbacks import Callback
from anyfm.training.divergence import advice
from anyfm.training.history import History
from anyfm.training.loop import epoch_order, evaluate, fit

TIMES = ("seconds", "valid_seconds", "rows_per_second")


def settings_of(**settings):
    return TrainingSettings(**{"epochs": 4, "patience": 100, **settings})


def same(one, other):
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def without_times(history):
    return [{name: value for name, value in record.items() if name not in TIMES} for record in history.records]


class Recorder(Callback):
    def __init__(self):
        self.events, self.states = [], []

    def on_train_begin(self, **event):
        self.events.append(("train_begin", event))

    def on_step_end(self, **event):
        self.events.append(("step_end", event))

    def on_epoch_end(self, *, engine, **event):
        self.events.append(("epoch_end", event))
        self.states.append(engine.state())

    def on_train_end(self, **event):
        self.events.append(("train_end", event))

    def names(self):
        return [name for name, _ in self.events]


@pytest.fixture
def scripted(numpy_engine, engine_of):
    """An engine whose validation logits follow a script of logloss-like scores, one per epoch."""

    def build(qualities):
        class Scripted(numpy_engine):
            epoch = 0

            def begin_epoch(self, epoch):
                super().begin_epoch(epoch)
                self.epoch = epoch
                self._parameters["bias"][:] = epoch  # marks which epoch a state is of

            def step(self, rows, order):
                return 0.5 * len(order)

            def logits(self, rows):
                if self.epoch == 0:
                    return np.zeros(rows.n_rows, np.float32)
                return np.float32(qualities[self.epoch - 1]) * (2 * rows.y - 1)  # larger is better

        return engine_of("linear", kind=Scripted)

    return build


@pytest.mark.parametrize("name", ["linear", "fm"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_training_learns_and_the_history_says_so(rows_of, engine_of, name, task):
    train, valid = rows_of(800, seed=0, task=task), rows_of(400, seed=1, task=task)
    learning_rate = {("fm", "binary"): 0.4, ("linear", "regression"): 0.02}.get((name, task), 0.1)
    engine = engine_of(name, task=task, learning_rate=learning_rate)
    history = fit(engine, train, valid, settings_of(epochs=6))
    key = "valid_logloss" if task == "binary" else "valid_rmse"
    first, last = history.records[0], history.records[-1]
    assert last["train_loss"] < first["train_loss"]
    assert history.best[key] < first[key]
    assert history.monitor == key
    assert history.stop_reason == "epochs"
    assert [record["epoch"] for record in history.records] == [1, 2, 3, 4, 5, 6]
    assert all(record["rows_per_second"] == pytest.approx(800 / record["seconds"]) for record in history.records)
    constant = np.full(400, get_task(task).statistics(valid.y, np.ones(400)).base_logit)
    assert history.best[key] < metrics.METRICS[key.removeprefix("valid_")](valid.y, constant) * (
        0.95 if name == "linear" else 0.85
    )


def test_the_engine_is_left_at_its_best_epoch(rows_of, engine_of):
    train, valid = rows_of(60, seed=0), rows_of(300, seed=1)
    recorder, engine = Recorder(), engine_of("fm", learning_rate=1.0)
    history = fit(engine, train, valid, settings_of(epochs=12), callbacks=[recorder])
    assert 1 <= history.best_epoch < 12, "the data were chosen so that the model overfits"
    assert same(engine.state(), recorder.states[history.best_epoch - 1])
    assert not same(engine.state(), recorder.states[-1])
    scores = [record["valid_logloss"] for record in history.records]
    assert history.best_epoch == scores.index(min(scores)) + 1
    assert evaluate(engine, valid)["logloss"] == min(scores)


def test_without_validation_all_epochs_run_and_the_last_is_the_best(rows_of, engine_of):
    recorder, engine = Recorder(), engine_of()
    history = fit(engine, rows_of(100, seed=0), settings=settings_of(patience=1), callbacks=[recorder])
    assert history.monitor is None
    assert history.n_epochs == history.best_epoch == 4
    assert same(engine.state(), recorder.states[-1])
    assert set(history.records[0]) == {"epoch", "train_loss", "seconds", "rows_per_second"}


@pytest.mark.parametrize(
    ("qualities", "patience", "n_run", "best"),
    [
        ([1, 2, 3, 2, 2, 9], 2, 5, 3),  # two epochs after the best
        ([1, 2, 3, 2, 9, 1], 2, 6, 5),  # one bad epoch is forgiven
        ([3, 2, 1, 1, 1, 1], 1, 2, 1),
        ([2, 2, 2, 2, 2, 2], 3, 4, 1),  # equal is not better
        ([1, 2, 3, 4, 5, 6], 1, 6, 6),
    ],
)
def test_patience_counts_epochs_since_the_best(rows_of, scripted, qualities, patience, n_run, best):
    engine = scripted(qualities)
    history = fit(engine, rows_of(40, seed=0), rows_of(40, seed=1), settings_of(epochs=6, patience=patience))
    assert (history.n_epochs, history.best_epoch) == (n_run, best)
    assert history.stop_reason == ("early_stopping" if n_run - best >= patience else "epochs")
    assert engine.parameters()["bias"][0] == best


def test_monitoring_auc_looks_at_the_order_alone(rows_of, scripted):
    # As logloss epoch 3 is best; as AUC epochs 2 and 3 are equal, and the first of them counts.
    train, valid = rows_of(40, seed=0), rows_of(40, seed=1)
    qualities = [0.0, 1.0, 2.0, -5.0]
    by_auc = fit(scripted(qualities), train, valid, settings_of(monitor="auc"))
    by_loss = fit(scripted(qualities), train, valid, settings_of(monitor="loss"))
    assert [record["valid_auc"] for record in by_auc.records] == [0.5, 1.0, 1.0, 0.0]
    assert (by_auc.monitor, by_auc.best_epoch) == ("valid_auc", 2)
    assert (by_loss.monitor, by_loss.best_epoch) == ("valid_logloss", 3)


def test_each_epoch_sees_every_row_once_in_its_own_order(rows_of, engine_of, numpy_engine, set_rows_per_step):
    seen = []

    class Watching(numpy_engine):
        def step(self, rows, order):
            seen.append(order.copy())
            return super().step(rows, order)

    train = rows_of(100, seed=0)
    set_rows_per_step(32)
    fit(engine_of(kind=Watching), train, settings=settings_of(epochs=2, seed=7))
    assert [len(order) for order in seen] == [32, 32, 32, 4] * 2
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    np.testing.assert_array_equal(np.sort(first), np.arange(100))
    np.testing.assert_array_equal(first, np.random.default_rng([7, 1]).permutation(100))
    np.testing.assert_array_equal(second, np.random.default_rng([7, 2]).permutation(100))
    assert first.dtype == np.int64


@given(st.integers(0, 2**63 - 1), st.integers(1, 1000))
def test_any_epoch_can_be_replayed(seed, epoch):
    np.testing.assert_array_equal(epoch_order(20, seed, epoch), epoch_order(20, seed, epoch))
    assert not np.array_equal(epoch_order(20, seed, epoch), epoch_order(20, seed, epoch + 1))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(rows_of, engine_of):
    train, valid = rows_of(200, seed=0), rows_of(100, seed=1)
    runs = []
    for seed in (0, 0, 1):
        engine = engine_of()
        runs.append((without_times(fit(engine, train, valid, settings_of(seed=seed))), engine.state()))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])
    assert not same(runs[0][1], runs[2][1])


def test_train_loss_is_the_weighted_mean_of_each_loss_before_its_step(rows_of, engine_of):
    train = rows_of(200, seed=0, weighted=True)
    start = engine_of(learning_rate=1e-9)  # so small that no step changes a loss
    history = fit(start, train, settings=settings_of(epochs=1))
    expected = metrics.logloss(train.y, start.logits(train), train.weight)
    assert history.records[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(metrics.logloss(train.y, start.logits(train)), rel=1e-4)


def test_train_loss_does_not_depend_on_the_rows_per_step(rows_of, engine_of, set_rows_per_step):
    train = rows_of(200, seed=0, weighted=True)
    losses = []
    for n_rows in (16, 64, 1000):
        set_rows_per_step(n_rows)
        losses.append(fit(engine_of(), train, settings=settings_of())[-1]["train_loss"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)


@pytest.mark.parametrize("ragged", [False, True])
def test_rows_of_weight_zero_are_absent_bit_for_bit(rows_of, engine_of, ragged):
    def spoiled(rows):
        """The rows among others of weight 0 with impossible targets."""
        n = rows.n_rows
        order = np.random.default_rng(5).permutation(np.repeat([True, False], [n, n // 2]))
        index = np.where(order, np.cumsum(order) - 1, 0)
        mixed = rows.take(index)
        weight = np.where(order, mixed.weight, 0).astype(np.float32)
        return mixed.labelled(np.where(order, mixed.y, np.nan).astype(np.float32), weight)

    def shaped(rows):
        if not ragged:
            return rows
        offsets = np.arange(rows.n_rows + 1, dtype=np.int64) * rows.ids.shape[1]
        return dataclasses.replace(rows, ids=rows.ids.reshape(-1), offsets=offsets)

    train, valid = shaped(rows_of(120, seed=0, weighted=True)), shaped(rows_of(80, seed=1, weighted=True))
    clean, mixed = Counting(), Counting()
    assert without_times(fit(clean, train, valid, settings_of())) == without_times(
        fit(mixed, spoiled(train), spoiled(valid), settings_of())
    )
    assert clean.log == mixed.log


class Counting(Engine):
    """Remembers what it is given, and predicts the mean target."""

    def __init__(self):
        self.model, self.n_features, self.n_fields = Linear(), 24, 4

    def prepare(self, train, *, seed):
        self.log, self.mean = [("prepare", train.y.tobytes())], float(train.y.mean())

    def begin_epoch(self, epoch):
        self.log.append(("epoch", epoch))

    def step(self, rows, order):
        self.log.append(("step", rows.take(order).ids.tobytes(), rows.y[order].tobytes()))
        return 0.1 * len(order)

    def logits(self, rows):
        return np.full(rows.n_rows, self.mean, np.float32)

    def parameters(self):
        return {"bias": np.zeros(1, np.float32)}

    def state(self):
        return self.parameters()

    def load_state(self, state):
        pass


# ---- interrupts


def interrupting(numpy_engine, *, at_step=None, at_logits=None):
    class Interrupting(numpy_engine):
        steps = scored = 0

        def step(self, rows, order):
            self.steps += 1
            if self.steps == at_step:
                super().step(rows, order[:7])  # something of the epoch is done already
                raise KeyboardInterrupt
            return super().step(rows, order)

        def logits(self, rows):
            self.scored += 1
            if self.scored == at_logits:
                raise KeyboardInterrupt
            return super().logits(rows)

    return Interrupting


@pytest.mark.parametrize("validated", [True, False])
def test_ctrl_c_keeps_the_best_finished_epoch(rows_of, engine_of, numpy_engine, set_rows_per_step, validated):
    set_rows_per_step(64)
    train, valid = rows_of(100, seed=0), rows_of(100, seed=1) if validated else None
    whole, engine = engine_of(), engine_of(kind=interrupting(numpy_engine, at_step=3 * 2 + 2))
    recorder = Recorder()
    expected = fit(whole, train, valid, settings_of(epochs=3))
    history = fit(engine, train, valid, settings_of(epochs=9), callbacks=[recorder])
    assert history.stop_reason == "interrupted"
    assert without_times(history) == without_times(expected)
    assert same(engine.state(), whole.state())
    assert recorder.names()[-1] == "train_end"
    assert recorder.events[-1][1]["history"].stop_reason == "interrupted"


def test_ctrl_c_in_validation_drops_the_epoch_that_was_not_measured(rows_of, engine_of, numpy_engine):
    train, valid = rows_of(100, seed=0), rows_of(100, seed=1)
    whole, engine = engine_of(), engine_of(kind=interrupting(numpy_engine, at_logits=4))  # one call is the guard's
    fit(whole, train, valid, settings_of(epochs=2))
    history = fit(engine, train, valid, settings_of())
    assert (history.stop_reason, history.n_epochs) == ("interrupted", 2)
    assert same(engine.state(), whole.state())


def test_ctrl_c_in_a_callback_after_the_epoch_keeps_that_epoch(rows_of, engine_of):
    class Interrupting(Callback):
        def on_epoch_end(self, *, record, **_):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

    history = fit(engine_of(), rows_of(100, seed=0), settings=settings_of(), callbacks=[Interrupting()])
    assert (history.stop_reason, history.n_epochs, history.best_epoch) == ("interrupted", 2, 2)


def test_ctrl_c_in_the_first_epoch_is_passed_on(rows_of, engine_of, numpy_engine, set_rows_per_step):
    recorder, engine = Recorder(), engine_of(kind=interrupting(numpy_engine, at_step=2))
    set_rows_per_step(16)
    with pytest.raises(KeyboardInterrupt):
        fit(engine, rows_of(100, seed=0), settings=settings_of(), callbacks=[recorder])
    assert recorder.names() == ["train_begin", "step_end", "train_end"]


# ---- divergence


def test_a_learning_rate_far_too_high_is_an_error_with_a_remedy(rows_of, engine_of):
    engine = engine_of("fm", task="regression", learning_rate=50.0)
    with pytest.raises(DivergenceError, match=r"epoch \d+.* Lower learning_rate \(now 50\), for example to 10"):
        fit(engine, rows_of(500, seed=0, task="regression"), settings=settings_of(epochs=50))


def test_a_loss_that_grows_too_large_is_an_error_before_it_overflows(rows_of, engine_of, numpy_engine):
    class Growing(numpy_engine):
        def step(self, rows, order):
            return 10.0 * len(order)  # 10 nats a row, where knowing nothing costs 0.69

    with pytest.raises(DivergenceError, match=r"epoch 1 is 10, more than 10 times.*Lower learning_rate"):
        fit(engine_of(kind=Growing), rows_of(100, seed=0), settings=settings_of())


def test_a_bad_start_that_gets_better_is_no_divergence(rows_of, engine_of):
    rows = rows_of(300, seed=0, task="regression")
    tiny = rows.labelled(rows.y * np.float32(1e-4))  # the drawn factors are far larger than these targets
    history = fit(engine_of(task="regression", learning_rate=0.05), tiny, settings=settings_of(epochs=5))
    assert history.records[-1]["train_loss"] < history.records[0]["train_loss"]


def test_a_good_start_that_gets_worse_than_ten_times_is_no_divergence(rows_of, engine_of, numpy_engine):
    class Good(numpy_engine):
        def logits(self, rows):
            return np.float32(10) * (2 * rows.y - 1)  # a loss of 5e-5

        def step(self, rows, order):
            return 0.6 * len(order)  # still less than a model that has learned nothing

    assert fit(engine_of(kind=Good), rows_of(100, seed=0), settings=settings_of()).n_epochs == 4


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_an_error_in_its_step(rows_of, engine_of, numpy_engine, loss, set_rows_per_step):
    class Breaking(numpy_engine):
        steps = 0

        def step(self, rows, order):
            self.steps += 1
            return float(loss) if self.steps == 6 else super().step(rows, order)

    recorder = Recorder()
    set_rows_per_step(32)
    with pytest.raises(DivergenceError, match=rf"became {loss} in epoch 2\. Lower learning_rate"):
        fit(engine_of(kind=Breaking), rows_of(100, seed=0), settings=settings_of(), callbacks=[recorder])
    assert recorder.names()[-1] == "train_end"
    assert recorder.events[-1][1]["history"].stop_reason is None


def test_validation_logits_that_are_not_finite_are_never_the_best_so_far(rows_of, engine_of, numpy_engine):
    class Breaking(numpy_engine):
        scored = 0

        def logits(self, rows):
            self.scored += 1
            logits = super().logits(rows)
            logits[3] = np.nan if self.scored == 3 else logits[3]
            return logits

    with pytest.raises(DivergenceError, match=r"validation after epoch 2: .*1 of 50 are not \(row 4.*learning_rate"):
        fit(engine_of(kind=Breaking), rows_of(100, seed=0), rows_of(50, seed=1), settings_of())


def test_a_parameter_broken_by_the_very_last_step_is_found(rows_of, engine_of, numpy_engine):
    class Breaking(numpy_engine):
        def step(self, rows, order):
            loss = super().step(rows, order)
            self._parameters["linear"][3] = np.inf
            return loss

    with pytest.raises(DivergenceError, match="parameters 'linear' that are not finite"):
        fit(engine_of(kind=Breaking), rows_of(100, seed=0), settings=settings_of(epochs=1))


def test_initial_parameters_that_are_not_finite_are_found_before_training(rows_of, engine_of, numpy_engine):
    class Broken(numpy_engine):
        def prepare(self, train, *, seed):
            super().prepare(train, seed=seed)
            self._parameters["bias"][:] = np.nan

    with pytest.raises(DivergenceError, match=r"the initial parameters give logits that are not finite\. Lower"):
        fit(engine_of(kind=Broken), rows_of(50, seed=0), settings=settings_of())


def test_advice_names_large_values_targets_and_starts(rows_of):
    rows = rows_of(10, seed=0, task="regression")
    values = np.ones(rows.ids.shape, np.float32)
    values[3, 2] = -4e5
    rows = dataclasses.replace(rows, values=values).labelled(rows.y + np.float32(2e4))
    text = advice(FM(FMSettings(task="regression", learning_rate=0.5, init_scale=3.0)), rows)
    assert "learning_rate (now 0.5), for example to 0.1" in text
    assert "4e+05" in text
    assert "turn normalize on" in text
    assert "Targets reach 2" in text
    assert "init_scale (now 3)" in text
    plain = advice(Linear(), rows_of(10, seed=0))
    assert "learning_rate" in plain
    assert "values" not in plain


# ---- callbacks and history


def test_every_hook_is_called_in_order(rows_of, engine_of, set_rows_per_step):
    set_rows_per_step(64)
    recorder = Recorder()
    train, valid = rows_of(100, seed=0), rows_of(50, seed=1)
    history = fit(engine_of(), train, valid, settings_of(epochs=2), callbacks=[recorder])
    assert recorder.names() == ["train_begin", *["step_end", "step_end", "epoch_end"] * 2, "train_end"]
    batches = [event for name, event in recorder.events if name == "step_end"]
    assert [(event["epoch"], event["n_done"], event["n_rows"]) for event in batches] == [
        (1, 64, 100),
        (1, 100, 100),
        (2, 64, 100),
        (2, 100, 100),
    ]
    assert all(event["rows_per_second"] > 0 for event in batches)
    ends = [event for name, event in recorder.events if name == "epoch_end"]
    assert [event["record"] for event in ends] == list(history.records)
    assert [batches[1]["train_loss"], batches[3]["train_loss"]] == [event["record"]["train_loss"] for event in ends]
    assert ends[0]["improved"] is True
    assert recorder.events[-1][1]["history"] == history


def test_an_error_in_a_callback_ends_training_for_all_callbacks(rows_of, engine_of):
    class Failing(Callback):
        def on_epoch_end(self, **_):
            raise OSError("disk full")

    recorder = Recorder()
    with pytest.raises(OSError, match="disk full"):
        fit(engine_of(), rows_of(50, seed=0), settings=settings_of(), callbacks=[Failing(), recorder])
    assert recorder.names()[-1] == "train_end"


def test_epochs_are_logged_and_nothing_is_printed(rows_of, engine_of, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="anyfm"):
        fit(engine_of(), rows_of(50, seed=0), settings=settings_of(epochs=2))
    assert [record.message[:7] for record in caplog.records] == ["epoch 1", "epoch 2", "<Histor"]
    assert capsys.readouterr() == ("", "")


def test_history_is_data(rows_of, engine_of):
    history = fit(engine_of(), rows_of(50, seed=0), rows_of(50, seed=1), settings_of())
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    assert history.to_dict()["best_epoch"] == history.best_epoch
    assert history.best == history.records[history.best_epoch - 1]
    empty = History(monitor="valid_auc")
    assert (empty.best_epoch, empty.best, empty.n_epochs, list(empty)) == (0, {}, 0, [])


def test_history_is_a_sequence_of_records_that_pandas_reads(rows_of, engine_of):
    history = fit(engine_of(), rows_of(50, seed=0), rows_of(50, seed=1), settings_of())
    assert len(history) == history.n_epochs == 4
    assert list(history) == list(history.records)
    assert history[-1] == history.records[3]
    frame = pd.DataFrame(history.records)
    assert list(frame["epoch"]) == [1, 2, 3, 4]
    assert frame.equals(pd.DataFrame(list(history)))


def test_history_is_shown_in_a_line_and_as_a_table_of_twenty_epochs():
    scores = [0.5 - 0.01 * (epoch == 37) for epoch in range(1, 101)]
    records = tuple({"epoch": i + 1, "train_loss": 0.25, "valid_logloss": score} for i, score in enumerate(scores))
    history = History("valid_logloss", records, "early_stopping")
    assert repr(history) == "<History: 100 epochs; best epoch 37, valid_logloss 0.49000; early stopping>"
    page = history._repr_html_()
    lines = re.findall("<tr><(td|th)>([0-9]+)</", page)
    epochs = [int(epoch) for _, epoch in lines]
    assert len(epochs) == 20
    assert epochs == sorted(epochs)
    assert {1, 37, 100} <= set(epochs)
    assert [int(epoch) for tag, epoch in lines if tag == "th"] == [37]
    assert "<th>train_loss</th>" in page
    assert all(f"<td>{epoch}</td>" in History(None, records[:19])._repr_html_() for epoch in range(1, 19))
    assert repr(History()) == "<History: 0 epochs>"
    assert "<td>" not in History()._repr_html_()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 5), st.sampled_from(["loss", "auc"]))
def test_where_patience_ends_is_as_a_naive_loop_has_it(scores, patience, monitor):
    key, sign = ("valid_auc", -1) if monitor == "auc" else ("valid_logloss", 1)
    settings = TrainingSettings(epochs=len(scores), patience=patience)
    history = History(monitor=key)
    for epoch, score in enumerate(scores, start=1):
        if history.reason_to_stop(settings) is not None:
            break
        record = {"epoch": epoch, key: float(score)}
        history = dataclasses.replace(history, records=(*history.records, record))
    best, waited, stopped = np.inf, 0, len(scores)
    for epoch, score in enumerate(scores, start=1):
        best, waited = (sign * score, 0) if sign * score < best else (best, waited + 1)
        if waited == patience:
            stopped = epoch
            break
    assert history.n_epochs == stopped
    assert history.best[key] * sign == best
    assert history.reason_to_stop(settings) == ("early_stopping" if waited == patience else "epochs")


# ---- what is refused


def changed(rows, **columns):
    return dataclasses.replace(rows, **columns)


def test_errors_about_unusable_rows_name_the_rows(rows_of, engine_of):
    good = rows_of(20, seed=0)
    y, ids = good.y.copy(), good.ids.copy()
    y[4], ids[6, 1] = 2.0, 24
    nan = good.y.copy()
    nan[0] = np.nan
    negative = np.ones(20, np.float32)
    negative[2] = -1
    cases = [
        (changed(good, y=None), "must have targets"),
        (changed(good, y=y), r"0 or 1.*row 5, value 2.0"),
        (changed(good, y=nan), r"0 or 1.*row 1, value nan"),
        (changed(good, ids=ids), r"0 … 23 \(row 7, value 24\)"),
        (changed(good, weight=negative), r"weight.*row 3, value -1.0"),
        (changed(good, weight=np.zeros(20, np.float32)), "at least one row of positive weight"),
        (good.slice(0, 0), "n_rows=0"),
    ]
    for rows, text in cases:
        with pytest.raises(InputError, match=f"the training rows.*{text}"):
            fit(engine_of(), rows, good)
        with pytest.raises(InputError, match=f"the validation rows.*{text}"):
            fit(engine_of(), good, rows)
    with pytest.raises(InputError, match=r"finite number.*row 1"):
        fit(engine_of(task="regression"), changed(good, y=nan))
    with pytest.raises(InputError, match="must have targets"):
        evaluate(engine_of(), changed(good, y=None))


def test_the_monitor_is_any_metric_of_the_task_and_its_direction_is_the_metrics(rows_of, scripted, engine_of):
    train, valid = rows_of(40, seed=0), rows_of(40, seed=1)
    for name in ("logloss", "auc", "normalized_entropy", "calibration_error"):
        history = fit(scripted([-1.0, 1.0, -5.0]), train, valid, settings_of(monitor=name, epochs=3))
        assert (history.monitor, history.best_epoch) == (f"valid_{name}", 2)
    rows = rows_of(60, seed=2, task="regression")
    for name in ("rmse", "mae", "r2"):
        engine = engine_of(task="regression", learning_rate=0.3)
        history = fit(engine, rows, rows_of(60, seed=3, task="regression"), settings_of(monitor=name, epochs=8))
        scores = [record[f"valid_{name}"] for record in history]
        assert history.best_epoch == np.argmax(scores if name == "r2" else np.negative(scores)) + 1
        assert len(set(scores)) == 8


def test_a_monitor_needs_its_task_validation_rows_and_a_defined_metric(rows_of, engine_of):
    rows = rows_of(20, seed=0)
    with pytest.raises(SettingError, match="metric of a regression task: rmse, mae, r2, got monitor='auc'"):
        fit(engine_of(task="regression"), rows, rows, settings_of(monitor="auc"))
    with pytest.raises(SettingError, match="logloss, auc, normalized_entropy, calibration_error, got monitor='rmse'"):
        fit(engine_of(), rows, rows, settings_of(monitor="rmse"))
    with pytest.raises(SettingError, match="got monitor='calibration_ratio'"):  # neither greater nor smaller is better
        fit(engine_of(), rows, rows, settings_of(monitor="calibration_ratio"))
    with pytest.raises(SettingError, match="monitor must be one of loss, logloss, auc"):
        settings_of(monitor="accuracy")
    constant = rows.labelled(np.full(20, 2, np.float32))
    with pytest.raises(InputError, match=r"r2.*target that varies, got y=2"):
        fit(engine_of(task="regression"), rows, constant, settings_of(monitor="r2"))
    with pytest.raises(SettingError, match="needs validation rows"):
        fit(engine_of(), rows, settings=settings_of(monitor="auc"))
    with pytest.raises(InputError, match=r"both classes, got only_class=1"):
        fit(engine_of(), rows, rows.labelled(np.ones(20, np.float32)), settings_of(monitor="auc"))
    assert fit(engine_of(), rows, rows.labelled(np.ones(20, np.float32)), settings_of()).n_epochs == 4


def test_rows_without_entries_are_legal():
    empty = Rows(
        ids=np.array([1, 2], np.int32),
        offsets=np.array([0, 0, 2, 2], np.int64),
        y=np.array([0, 1, 1], np.float32),
    )
    assert fit(Counting(), empty, empty, settings_of()).n_epochs == 4


def test_evaluate_does_not_depend_on_the_rows_per_step(rows_of, engine_of, set_rows_per_step):
    rows, engine = rows_of(100, seed=0, weighted=True), engine_of()
    fit(engine, rows, settings=settings_of(epochs=1))
    scores = []
    for n_rows in (1, 7, 100, 1000):
        set_rows_per_step(n_rows)
        scores.append(evaluate(engine, rows))
    assert all(one == other for one, other in itertools.pairwise(scores))
    assert scores[0] == metrics.evaluate(get_task("binary"), rows.y, engine.logits(rows), rows.weight)
