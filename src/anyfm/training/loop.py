"""The training loop, one for every engine: fit → run_epoch → engine.step."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import DivergenceError, InputError, SettingError, got
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.core.task import Task
from anyfm.engines.base import Engine
from anyfm.metrics import METRICS, UndefinedMetricError, present_rows
from anyfm.metrics import evaluate as evaluate_logits
from anyfm.training.callbacks import Callback
from anyfm.training.checkpoint import Checkpoint
from anyfm.training.divergence import DivergenceGuard
from anyfm.training.history import History, Progress, Record

ROWS_PER_STEP = 65_536
"""Rows per call of ``engine.step``: enough that a call costs nothing, few enough that Ctrl-C and the bar respond."""

logger = logging.getLogger("anyfm.training")


def fit(
    engine: Engine,
    train: Rows,
    valid: Rows | None = None,
    settings: TrainingSettings | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    resume: Checkpoint | None = None,
) -> History:
    """Train an engine with early stopping, and leave it with the parameters of its best epoch.

    Each epoch passes once over the training rows in an order drawn from ``default_rng([seed, epoch])``, so that any
    epoch can be replayed. Rows of weight 0 count as absent.

    Early stopping: patience counts finished epochs since the best one, where only a strictly better score is better.
    With patience 3 and the best score in epoch 5, training ends after epoch 8 with the parameters of epoch 5. Without
    validation rows all epochs run, and the last one is the best.

    Ctrl-C ends training with the parameters of the best finished epoch (``stop_reason="interrupted"``); before
    the first epoch has finished there is none, and KeyboardInterrupt is passed on.

    Parameters
    ----------
    engine : Engine
        Prepared here; afterwards it holds the parameters of ``history.best_epoch``.
    train, valid : Rows
        With y; `valid` may be left out.
    settings : TrainingSettings, optional
        `epochs` is the total, those before `resume` included.
    callbacks : sequence of Callback
    resume : Checkpoint, optional
        Continue from there: k epochs give the same bits as i epochs and, resumed, k − i.

    Returns
    -------
    History

    Raises
    ------
    InputError
        Rows cannot be used: none, no target, a bad target or weight, an id out of bounds; or the validation rows
        leave the monitored metric undefined, as one class does the AUC.
    DivergenceError
        A loss, logit or parameter is not finite, or the loss is too large; the text says which setting to lower.
        The engine's parameters are then of no use.
    SettingError
        The settings do not fit the task or the checkpoint.
    """
    settings = settings or TrainingSettings()
    train = _usable_rows(train, engine, "training")
    targets = target_range(engine.model.task, train, settings)
    valid = None if valid is None else _usable_rows(valid, engine, "validation")
    monitor = _monitor(settings, engine.model.task, valid)
    progress = _begin(engine, train, settings, monitor, resume)
    guard = DivergenceGuard(engine, train)
    try:
        for callback in callbacks:
            callback.on_train_begin(engine=engine, train=train, settings=settings, history=progress.history)
        try:
            while (reason := progress.history.reason_to_stop(settings)) is None:
                epoch = progress.history.n_epochs + 1
                record = run_epoch(engine, train, epoch, settings.seed, guard, callbacks)
                if valid is not None:
                    record |= _validate(engine, valid, epoch, guard, targets)
                progress = progress.after(record, engine)
                _end_epoch(engine, progress, callbacks)
        except KeyboardInterrupt:
            if progress.best is None:
                raise
            reason = "interrupted"
        if progress.best is not None:
            engine.load_state(progress.best)
        guard.check_parameters()
        progress = progress.stopped(reason)
        logger.info("%r", progress.history)
    finally:
        for callback in callbacks:
            callback.on_train_end(history=progress.history)
    return progress.history


def run_epoch(
    engine: Engine, train: Rows, epoch: int, seed: int, guard: DivergenceGuard, callbacks: Sequence[Callback]
) -> Record:
    """Pass once over the training rows, in the order of this seed and epoch, and return the epoch's record."""
    order = epoch_order(train.n_rows, seed, epoch)
    began = time.perf_counter()
    engine.begin_epoch(epoch)
    loss = weight = seconds = 0.0
    for first in range(0, train.n_rows, ROWS_PER_STEP):
        index = order[first : first + ROWS_PER_STEP]
        loss += engine.step(train, index)
        weight += len(index) if train.weight is None else float(train.weight[index].sum(dtype=np.float64))
        seconds = max(time.perf_counter() - began, 1e-9)
        n_done = first + len(index)
        guard.check_loss(loss, epoch=epoch)
        for callback in callbacks:
            callback.on_step_end(
                epoch=epoch,
                n_done=n_done,
                n_rows=train.n_rows,
                train_loss=loss / weight,
                rows_per_second=n_done / seconds,
            )
    guard.check_epoch(loss / weight, epoch=epoch)
    return {"epoch": epoch, "train_loss": loss / weight, "seconds": seconds, "rows_per_second": train.n_rows / seconds}


def target_range(task: Task, train: Rows, settings: TrainingSettings) -> tuple[float, float] | None:
    """The smallest and the largest target of the rows of weight above 0; None where predictions are not clipped."""
    if not settings.clip_predictions or train.y is None or task.logit_range(0.0, 1.0) is None:
        return None
    y = train.y if train.weight is None else train.y[train.weight > 0]
    return float(y.min()), float(y.max())


def evaluate(engine: Engine, rows: Rows, targets: tuple[float, float] | None = None) -> dict[str, float]:
    """The metrics of the engine's task on rows with targets, by name; see `metrics.evaluate`.

    Predictions are clipped to the range `targets`, if it is given.
    """
    if rows.y is None:
        raise InputError("rows to evaluate on must have targets")
    starts = range(0, rows.n_rows, ROWS_PER_STEP)
    parts = [engine.logits(rows.slice(first, first + ROWS_PER_STEP)) for first in starts]
    logits = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return evaluate_logits(engine.model.task, rows.y, clipped(engine.model.task, logits, targets), rows.weight)


def clipped(task: Task, logits: NDArray[Any], targets: tuple[float, float] | None) -> NDArray[Any]:
    """The logits within those of a range of targets, if it is given."""
    limits = None if targets is None else task.logit_range(*targets)
    return logits if limits is None else logits.clip(*limits)


def epoch_order(n_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the rows in an epoch, int64 of shape (n_rows,): a function of these three numbers alone."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows).astype(np.int64, copy=False)


def _usable_rows(rows: Rows, engine: Engine, name: str) -> Rows:
    """The rows without those of weight 0, checked for the engine's task and number of features."""
    if rows.y is None:
        raise InputError(f"the {name} rows must have targets, got y=None")
    try:
        present = present_rows(rows.weight, rows.n_rows)
        engine.model.task.check_target(rows.y, present)
        rows.check_bounds(engine.n_features)
    except InputError as error:
        raise InputError(f"the {name} rows: {error}") from error
    return rows if present.all() else rows.take(np.flatnonzero(present))


def _begin(
    engine: Engine, train: Rows, settings: TrainingSettings, monitor: str | None, resume: Checkpoint | None
) -> Progress:
    """Prepare the engine, and return the progress so far: none, or that of the checkpoint."""
    if resume is not None:
        resume.check(engine, train, settings, monitor)
    engine.prepare(train, seed=settings.seed)
    if resume is None:
        return Progress(History(monitor=monitor))
    engine.load_state(resume.state)
    return resume.progress


def _validate(
    engine: Engine, valid: Rows, epoch: int, guard: DivergenceGuard, targets: tuple[float, float] | None
) -> Record:
    began = time.perf_counter()
    try:
        scores = evaluate(engine, valid, targets)
    except DivergenceError as error:
        raise guard.error(f"validation after epoch {epoch}: {error}") from error
    seconds = time.perf_counter() - began
    return {**{f"valid_{name}": score for name, score in scores.items()}, "valid_seconds": seconds}


def _end_epoch(engine: Engine, progress: Progress, callbacks: Sequence[Callback]) -> None:
    history = progress.history
    record, improved = history.records[-1], history.best_epoch == history.n_epochs
    logger.info("epoch %d: %s", history.n_epochs, record)
    for callback in callbacks:
        callback.on_epoch_end(engine=engine, progress=progress, record=dict(record), improved=improved)


def _monitor(settings: TrainingSettings, task: Task, valid: Rows | None) -> str | None:
    """The record's key that `settings.monitor` means for these validation rows; None without any."""
    name = task.loss_metric if settings.monitor == "loss" else settings.monitor
    options = [metric for metric in task.metrics if METRICS[metric].greater_is_better is not None]
    if name not in options:
        rule = f"monitor must be loss or a metric of a {task.name} task: {', '.join(options)}"
        raise SettingError(got(rule, monitor=name))
    if valid is None or valid.y is None:
        if settings.monitor != "loss":
            raise SettingError(got(f"monitor={name!r} needs validation rows", valid=None))
        return None
    try:
        METRICS[name](valid.y, np.zeros(valid.n_rows), valid.weight)  # whether it is defined depends on y alone
    except UndefinedMetricError as error:
        raise InputError(f"monitor={name!r}: the validation rows: {error}") from error
    return f"valid_{name}"
