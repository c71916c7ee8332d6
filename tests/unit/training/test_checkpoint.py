"""The law of checkpoints: k epochs = i epochs, stop, resume, k − i epochs, bit for bit. For every engine."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from anyfm.core.errors import ArtifactError, SettingError
from anyfm.core.settings import TrainingSettings
from anyfm.engines.native import NativeEngine
from anyfm.models import FM, DeepFM, DeepFMSettings, FMSettings
from anyfm.training.callbacks import Callback
from anyfm.training.checkpoint import FILE_NAME, Checkpoint, Checkpointer, load_checkpoint, resume_from, save_checkpoint
from anyfm.training.history import History, Progress
from anyfm.training.loop import fit

TIMES = ("seconds", "valid_seconds", "rows_per_second")


ROOT = Path(__file__).parents[3]


def settings_of(**settings):
    return TrainingSettings(**{"epochs": 5, "patience": 100, **settings})


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def without_times(history):
    records = [{name: value for name, value in record.items() if name not in TIMES} for record in history.records]
    return records, history.best_epoch, history.stop_reason, history.monitor


class LastState(Callback):
    def on_epoch_end(self, *, engine, **_):
        self.state = engine.state()


def native_engine(task="binary"):
    return NativeEngine(FM(FMSettings(task=task, n_factors=4)), n_features=24, n_fields=4, n_threads=2)


def deep_engine():
    """torch, with what it has of its own: dropout, running statistics and Adam; its layers are a tuple in settings."""
    pytest.importorskip("torch")
    from anyfm.engines.torch import TorchEngine

    settings = DeepFMSettings(n_factors=4, hidden_layer_sizes=(8, 4), batch_norm=True, dropout=0.2, batch_size=32)
    return TorchEngine(DeepFM(settings), n_features=24, n_fields=4, n_threads=2)


@pytest.fixture(params=["numpy", "native", "native regression", "torch"])
def case(request, engine_of, rows_of):
    """How to make an engine, and rows for it."""
    task = "regression" if "regression" in request.param else "binary"
    make = {
        "numpy": lambda: engine_of("fm", learning_rate=1.0),
        "native": native_engine,
        "native regression": lambda: native_engine("regression"),
        "torch": deep_engine,
    }[request.param]
    return make, rows_of(150, seed=0, task=task, weighted=True), rows_of(100, seed=1, task=task)


@pytest.mark.parametrize("stop_after", [1, 2, 4])
@pytest.mark.parametrize("validated", [True, False])
def test_stopping_and_resuming_changes_no_bit(case, tmp_path, stop_after, validated):
    make, train, valid = case
    valid = valid if validated else None
    whole, last_of_whole, last_of_parts = make(), LastState(), LastState()
    expected = fit(whole, train, valid, settings_of(), callbacks=[last_of_whole])
    fit(make(), train, valid, settings_of(epochs=stop_after), callbacks=[Checkpointer(tmp_path)])
    resumed = make()  # as a new process would
    history = fit(resumed, train, valid, settings_of(), resume=load_checkpoint(tmp_path), callbacks=[last_of_parts])
    assert without_times(history) == without_times(expected)
    assert same(last_of_parts.state, last_of_whole.state)
    assert same(resumed.state(), whole.state())
    assert same(resumed.parameters(), whole.parameters())


def test_resuming_after_every_epoch_is_the_same_too(case, tmp_path):
    make, train, valid = case
    whole, last_of_whole, last_of_parts = make(), LastState(), LastState()
    expected = fit(whole, train, valid, settings_of(), callbacks=[last_of_whole])
    fit(make(), train, valid, settings_of(epochs=1), callbacks=[Checkpointer(tmp_path)])
    for n_epochs in (2, 3, 4, 5):
        parts = make()
        resume = load_checkpoint(tmp_path)
        callbacks = [Checkpointer(tmp_path), last_of_parts]
        history = fit(parts, train, valid, settings_of(epochs=n_epochs), resume=resume, callbacks=callbacks)
    assert without_times(history) == without_times(expected)
    assert same(last_of_parts.state, last_of_whole.state)
    assert same(parts.state(), whole.state())


def test_patience_counts_on_over_a_stop(rows_of, engine_of, tmp_path):
    train, valid = rows_of(60, seed=0), rows_of(300, seed=1)
    settings = settings_of(epochs=50, patience=3)
    make = lambda: engine_of("fm", learning_rate=1.0)  # noqa: E731
    whole = make()
    expected = fit(whole, train, valid, settings)
    assert expected.stop_reason == "early_stopping"
    # Stop between the best epoch and the end, so that only the checkpoint knows the best parameters.
    stopped = dataclasses.replace(settings, epochs=expected.best_epoch + 1)
    fit(make(), train, valid, stopped, callbacks=[Checkpointer(tmp_path)])
    resumed = make()
    history = fit(resumed, train, valid, settings, resume=load_checkpoint(tmp_path))
    assert without_times(history) == without_times(expected)
    assert same(resumed.state(), whole.state())


def test_a_training_that_is_over_does_no_more_and_gives_its_best(rows_of, engine_of, tmp_path):
    train, valid = rows_of(60, seed=0), rows_of(300, seed=1)
    settings = settings_of(epochs=50, patience=2)
    whole = engine_of("fm", learning_rate=1.0)
    expected = fit(whole, train, valid, settings, callbacks=[Checkpointer(tmp_path)])
    again = engine_of("fm", learning_rate=1.0)
    assert fit(again, train, valid, settings, resume=load_checkpoint(tmp_path)) == expected
    assert same(again.state(), whole.state())


KILLED = """
import os, signal, sys
import numpy as np
from anyfm.core.rows import Rows
from anyfm.training import Callback, Checkpointer, fit, loop
from tests.unit.training.test_checkpoint import deep_engine, native_engine, settings_of

class Kill(Callback):
    def on_step_end(self, *, epoch, n_done, **_):
        if epoch == 3 and n_done > 64:
            os.kill(os.getpid(), signal.SIGKILL)

arrays = np.load(sys.argv[2])
train, valid = (Rows(ids=arrays[f"{part}_ids"], y=arrays[f"{part}_y"]) for part in ("train", "valid"))
loop.ROWS_PER_STEP = 64
engine = {"native": native_engine, "torch": deep_engine}[sys.argv[1]]()
fit(engine, train, valid, settings_of(), callbacks=[Checkpointer(sys.argv[3]), Kill()])
"""


@pytest.mark.parametrize("name", ["native", "torch"])
def test_a_killed_process_resumes_from_its_last_finished_epoch(name, rows_of, set_rows_per_step, tmp_path):
    make = {"native": native_engine, "torch": deep_engine}[name]
    train, valid, directory = rows_of(150, seed=0), rows_of(100, seed=1), tmp_path / "checkpoint"
    np.savez(tmp_path / "rows.npz", train_ids=train.ids, train_y=train.y, valid_ids=valid.ids, valid_y=valid.y)
    set_rows_per_step(64)
    whole, resumed = make(), make()
    expected = fit(whole, train, valid, settings_of())
    command = [sys.executable, "-c", KILLED, name, str(tmp_path / "rows.npz"), str(directory)]
    assert resume_from(directory) is None
    assert subprocess.run(command, timeout=120, cwd=ROOT).returncode == -signal.SIGKILL
    resume = resume_from(directory)
    assert resume.progress.history.n_epochs == 2
    assert without_times(fit(resumed, train, valid, settings_of(), resume=resume)) == without_times(expected)
    assert same(resumed.state(), whole.state())


def test_checkpoints_come_every_few_epochs_and_at_the_end(rows_of, engine_of, tmp_path):
    epochs = []

    class Reading(Callback):
        def on_epoch_end(self, **_):
            if (tmp_path / FILE_NAME).exists():
                epochs.append(load_checkpoint(tmp_path).progress.history.n_epochs)
            else:
                epochs.append(0)

    fit(
        engine_of(), rows_of(50, seed=0), settings=settings_of(), callbacks=[Checkpointer(tmp_path, every=2), Reading()]
    )
    assert epochs == [0, 2, 2, 4, 5]
    with pytest.raises(SettingError, match="every must be an integer of at least 1, got every=0"):
        Checkpointer(tmp_path, every=0)


# ---- the file


def a_checkpoint(*, best="other"):
    state = {
        "factors": np.arange(6, dtype=np.float32).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "strided": np.arange(10, dtype=np.int64)[::3],
        "step": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "flags": np.array([True, False]),
        "generator": np.array([2**64 - 1], np.uint64),
        "not a number": np.array([np.nan, -0.0], np.float32),
    }
    others = {name: np.zeros_like(array) for name, array in state.items()}
    scores = (0.1 + 0.2, 0.5) if best == "state" else (0.5, 0.1 + 0.2)
    history = History("valid_auc", tuple({"epoch": i + 1, "valid_auc": score} for i, score in enumerate(scores)))
    bests = {"other": others, "state": {name: array.copy() for name, array in state.items()}}
    return Checkpoint(state, Progress(history, bests[best]), {"model": "fm", "seed": 2**63 - 1, "config": {"a": 0.1}})


@pytest.mark.parametrize("best", ["other", "state"])
def test_what_is_saved_comes_back_and_saves_to_the_same_bytes(tmp_path, best):
    checkpoint = a_checkpoint(best=best)
    path = save_checkpoint(tmp_path / "new" / "folder", checkpoint)
    loaded = load_checkpoint(path.parent)
    assert same(loaded.state, checkpoint.state)
    assert loaded.progress.history == checkpoint.progress.history
    assert loaded.identity == checkpoint.identity
    assert same(loaded.progress.best, checkpoint.progress.best)
    assert save_checkpoint(tmp_path / "again", loaded).read_bytes() == path.read_bytes()


def test_a_best_state_that_is_the_last_is_stored_once(tmp_path):
    once = save_checkpoint(tmp_path / "once", a_checkpoint(best="state"))
    twice = save_checkpoint(tmp_path / "twice", a_checkpoint(best="other"))
    assert {name.split("/")[0] for name in load_file(once)} == {"state"}
    assert {name.split("/")[0] for name in load_file(twice)} == {"state", "best"}


def test_a_crash_while_writing_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path, a_checkpoint())
    before = path.read_bytes()

    def crash(*_):
        raise OSError("no space left on device")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, crash)
            with pytest.raises(OSError, match="no space left"):
                save_checkpoint(tmp_path, a_checkpoint(best="state"))
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME], "no temporary file is left"


def test_no_checkpoint_and_damaged_ones_are_errors_that_name_the_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"there is no checkpoint \(file .*checkpoint\.safetensors"):
        load_checkpoint(tmp_path)
    path = save_checkpoint(tmp_path, a_checkpoint())
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:100], whole[:-1], whole + b"\0", b"\xff" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"cannot be read.*checkpoint\.safetensors"):
            load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (None, "cannot be read"),
        ({"anyfm": "{"}, "cannot be read"),
        ({"anyfm": "{}"}, "cannot be read"),
        ({"anyfm": json.dumps({"format_version": 2})}, "format_version must be 1, got format_version=2"),
        ({"anyfm": json.dumps({"format_version": 1})}, "cannot be read"),
        ({"anyfm": "[1]"}, "cannot be read"),
    ],
)
def test_other_safetensors_files_are_refused(tmp_path, metadata, text):
    save_file({"state/bias": np.zeros(1)}, tmp_path / FILE_NAME, metadata=metadata)
    with pytest.raises(ArtifactError, match=text):
        load_checkpoint(tmp_path)


# ---- what may not resume


def test_resuming_with_anything_else_is_refused_by_name(rows_of, engine_of, tmp_path):
    train, valid = rows_of(60, seed=0), rows_of(60, seed=1)
    fit(engine_of(), train, valid, settings_of(epochs=1), callbacks=[Checkpointer(tmp_path)])
    resume = load_checkpoint(tmp_path)
    y = train.y.copy()
    y[3] = 1 - y[3]
    cases = [
        (engine_of("linear"), train, settings_of(), "model must be that of the checkpoint, 'fm', got model='linear'"),
        (
            engine_of(learning_rate=0.01),
            train,
            settings_of(),
            "learning_rate must be that of the checkpoint, 0.5, got learning_rate=0.01",
        ),
        (engine_of(), train.slice(0, 50), settings_of(), "n_rows must be that of the checkpoint, 60, got n_rows=50"),
        (engine_of(), train.labelled(y), settings_of(), "rows_crc32 must be"),
        (engine_of(), train.take(np.arange(60)[::-1]), settings_of(), "rows_crc32 must be"),
        (engine_of(), train, settings_of(seed=1), "seed must be that of the checkpoint, 0, got seed=1"),
        (
            engine_of(),
            train,
            settings_of(monitor="auc"),
            "monitor must be that of the checkpoint, 'valid_logloss', got monitor='valid_auc'",
        ),
    ]
    for engine, rows, settings, text in cases:
        with pytest.raises(SettingError, match=f"to resume, {text}"):
            fit(engine, rows, valid, settings, resume=resume)
    with pytest.raises(SettingError, match="monitor must be that of the checkpoint, 'valid_logloss', got monitor=None"):
        fit(engine_of(), train, None, settings_of(), resume=resume)
    with pytest.raises(SettingError, match="engine must be that of the checkpoint, 'NumpyEngine', got engine='Native"):
        fit(native_engine(), train, valid, settings_of(), resume=resume)
    allowed = settings_of(epochs=2, patience=1, n_threads=3)
    assert fit(engine_of(), train, valid, allowed, resume=resume).n_epochs == 2
