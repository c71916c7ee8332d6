"""The training loop: one for every engine. fit → run_epoch → evaluate."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import DivergenceError, InputError, SettingError, got
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine
from anyfm.metrics import functions as metrics
from anyfm.metrics.scored import check_target, present_rows
from anyfm.training.callbacks import Callback
from anyfm.training.checkpoint import Checkpoint
from anyfm.training.divergence import DivergenceGuard
from anyfm.training.history import History, Progress, Record, monitored

SLICE_ROWS = 65_536  # rows handed to the engine at once: seldom enough to cost nothing, often enough for Ctrl-C

logger = logging.getLogger("anyfm.training")


def fit(
    engine: Engine,
    train: Rows,
    valid: Rows | None = None,
    config: TrainingSettings | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    resume: Checkpoint | None = None,
    start: Mapping[str, NDArray[Any]] | None = None,
    slice_rows: int = SLICE_ROWS,
) -> History:
    """Train an engine until its validation score stops getting better, and leave it at its best epoch.

    Each epoch passes once over the training rows in an order drawn from ``default_rng([seed, epoch])``, so that any
    epoch can be replayed. Rows of weight 0 count as absent.

    Early stopping: patience counts finished epochs since the best one, where only a strictly better score is better.
    With patience 3 and the best score in epoch 5, training ends after epoch 8 with the parameters of epoch 5. Without
    validation rows it runs all epochs and keeps the last.

    Ctrl-C ends training with the parameters of the best finished epoch (``stop_reason="interrupted"``); before
    the first epoch has finished there is none, and KeyboardInterrupt is passed on.

    Parameters
    ----------
    engine : Engine
        Prepared here; afterwards it holds the parameters of ``history.best_epoch``.
    train, valid : Rows
        With y; `valid` may be left out.
    config : TrainingSettings, optional
        n_epochs is the total, epochs before `resume` included.
    callbacks : sequence of Callback
    resume : Checkpoint, optional
        Go on from there: k epochs give the same bits as i epochs and, resumed, k − i.
    start : State, optional
        Begin at epoch 1 from this engine state instead of a drawn one, to train on with new data.
    slice_rows : int
        Rows per call of ``engine.step``; where an engine works in blocks, a multiple of its block.

    Returns
    -------
    History

    Raises
    ------
    InputError
        Rows cannot be used: none, no target, a bad target or weight, an id out of bounds; or the AUC is monitored
        and the validation rows hold one class.
    DivergenceError
        A loss, logit or parameter is not finite, or the loss has run away; the text says which setting to lower.
        The engine's parameters are then of no use.
    SettingError
        The settings do not fit the task or the checkpoint.
    """
    config = config if config is not None else TrainingSettings()
    monitor = _monitor(config, engine, valid)
    train = _usable(train, engine, "training")
    valid = None if valid is None else _usable(valid, engine, "validation", both_classes=monitor == "valid_auc")
    progress = _begin(engine, train, config, monitor, resume=resume, start=start)
    guard = DivergenceGuard(engine, train)
    try:
        for callback in callbacks:
            callback.on_train_begin(engine=engine, train=train, config=config, history=progress.history)
        try:
            while (reason := progress.history.reason_to_stop(config)) is None:
                epoch = progress.history.n_epochs + 1
                record = run_epoch(engine, train, epoch, config.seed, guard, callbacks=callbacks, slice_rows=slice_rows)
                if valid is not None:
                    record |= _validated(engine, valid, epoch, guard, slice_rows=slice_rows)
                progress = progress.after(record, engine)
                _tell_epoch(engine, progress, callbacks)
        except KeyboardInterrupt:
            if progress.best is None:
                raise
            reason = "interrupted"
        if progress.best is not None:
            engine.load_state(progress.best)
        guard.check_parameters()
        progress = progress.stopped(reason)
        logger.info("stopped: %s, best epoch %d", reason, progress.history.best_epoch)
    finally:
        for callback in callbacks:
            callback.on_train_end(history=progress.history)
    return progress.history


def run_epoch(
    engine: Engine,
    train: Rows,
    epoch: int,
    seed: int,
    guard: DivergenceGuard,
    *,
    callbacks: Sequence[Callback] = (),
    slice_rows: int = SLICE_ROWS,
) -> Record:
    """Pass once over the training rows, in the order of this seed and epoch, and return the epoch's record."""
    order = epoch_order(train.n_rows, seed, epoch)
    began = time.perf_counter()
    engine.begin_epoch(epoch)
    loss = weight = seconds = 0.0
    for first in range(0, train.n_rows, slice_rows):
        index = order[first : first + slice_rows]
        loss += engine.step(train, index)
        weight += len(index) if train.weight is None else float(train.weight[index].sum(dtype=np.float64))
        seconds = max(time.perf_counter() - began, 1e-9)
        n_done = first + len(index)
        guard.check_loss(loss, epoch=epoch, n_rows=n_done)
        for callback in callbacks:
            callback.on_batch_end(
                epoch=epoch,
                n_done=n_done,
                n_rows=train.n_rows,
                train_loss=loss / weight,
                rows_per_second=n_done / seconds,
            )
    guard.check_epoch(loss / weight, epoch=epoch)
    return {"epoch": epoch, "train_loss": loss / weight, "seconds": seconds, "rows_per_second": train.n_rows / seconds}


def evaluate(engine: Engine, rows: Rows, *, slice_rows: int = SLICE_ROWS) -> dict[str, float]:
    """All metrics of the engine's task on labelled rows, by name; see `metrics.evaluate`."""
    if rows.y is None:
        raise InputError("rows to evaluate on must have targets")
    slices = [engine.logits(rows.slice(first, first + slice_rows)) for first in range(0, rows.n_rows, slice_rows)]
    logits = np.concatenate(slices) if slices else np.empty(0, np.float32)
    return metrics.evaluate(engine.model.settings.task, rows.y, logits, rows.weight)


def epoch_order(n_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the rows in an epoch, int64 of shape (n_rows,): a function of these three numbers alone."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows).astype(np.int64, copy=False)


def _begin(
    engine: Engine,
    train: Rows,
    config: TrainingSettings,
    monitor: str | None,
    *,
    resume: Checkpoint | None,
    start: Mapping[str, NDArray[Any]] | None,
) -> Progress:
    """Prepare the engine, and say how far training has come: nowhere, or where the checkpoint stopped."""
    if resume is not None and start is not None:
        raise SettingError("training must begin from a checkpoint or from a state, got both were given")
    if resume is not None:
        resume.check(engine, train, config)
        came = resume.progress.history.monitor
        if came != monitor:
            raise SettingError(got(f"to resume, validation must watch what the checkpoint did, {came}", now=monitor))
    engine.prepare(train, seed=config.seed)
    state = start if resume is None else resume.state
    if state is not None:
        engine.load_state(state)
    return Progress(History(monitor=monitor)) if resume is None else resume.progress


def _validated(engine: Engine, valid: Rows, epoch: int, guard: DivergenceGuard, *, slice_rows: int) -> Record:
    began = time.perf_counter()
    try:
        scores = evaluate(engine, valid, slice_rows=slice_rows)
    except DivergenceError as error:
        raise guard.explain(error, epoch=epoch) from error
    return {
        **{f"valid_{name}": score for name, score in scores.items()},
        "valid_seconds": time.perf_counter() - began,
    }


def _tell_epoch(engine: Engine, progress: Progress, callbacks: Sequence[Callback]) -> None:
    history = progress.history
    record, improved = history.records[-1], history.best_epoch == history.n_epochs
    logger.info("epoch %d: %s", history.n_epochs, record)
    for callback in callbacks:
        callback.on_epoch_end(engine=engine, progress=progress, record=dict(record), improved=improved)


def _monitor(config: TrainingSettings, engine: Engine, valid: Rows | None) -> str | None:
    task = engine.model.settings.task
    if config.monitor == "auc" and task != "binary":
        raise SettingError(got("monitor='auc' needs a binary task", task=task))
    if config.monitor == "auc" and valid is None:
        raise SettingError(got("monitor='auc' needs validation rows", valid=None))
    return None if valid is None else monitored(config.monitor, task)


def _usable(rows: Rows, engine: Engine, name: str, *, both_classes: bool = False) -> Rows:
    """The rows that count, checked: those of weight 0 are left out."""
    if rows.y is None:
        raise InputError(f"the {name} rows must have targets, got y=None")
    try:
        present = present_rows(rows.weight, rows.n_rows)
        check_target(rows.y, present, task=engine.model.settings.task)
        rows.check_bounds(engine.n_features)
    except InputError as error:
        raise InputError(f"the {name} rows: {error}") from error
    rows = rows if present.all() else rows.take(np.flatnonzero(present))
    if both_classes and rows.y is not None and rows.y.min() == rows.y.max():
        raise InputError(
            got(f"monitor='auc' needs {name} rows of both classes", only_class=int(rows.y[0]), n_rows=rows.n_rows)
        )
    return rows
