"""Hooks into training, and the progress bar, which is one of them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from anyfm.core.errors import InputError, located
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine
from anyfm.training.history import History, Progress, Record

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_WIDTH = 79
logger = logging.getLogger("anyfm.training")


class Callback:
    """Subclass it and override the hooks you need; here they do nothing.

    All arguments are keywords: name those you use and take the others as ``**_``. An exception from a hook ends
    training with that exception.
    """

    def on_train_begin(self, *, engine: Engine, train: Rows, settings: TrainingSettings, history: History) -> None:
        """Before the first epoch, or the first one after resuming (`history` then holds the earlier ones)."""

    def on_step_end(self, *, epoch: int, n_done: int, n_rows: int, train_loss: float, rows_per_second: float) -> None:
        """After each call of ``engine.step``: rows of the epoch done and in all, their mean loss, and the speed."""

    def on_epoch_end(self, *, engine: Engine, progress: Progress, record: Record, improved: bool) -> None:
        """After each epoch and its validation; `improved` says whether it is the best so far."""

    def on_train_end(self, *, history: History) -> None:
        """When training ends for any reason, errors included (``history.stop_reason`` is then None)."""


class OutOfTimeError(Exception):
    """A time limit is over."""


class Deadline(Callback):
    """Ends training with OutOfTimeError when the clock `time.monotonic` passes `at`.

    Parameters
    ----------
    at : float
        In seconds.
    """

    def __init__(self, at: float) -> None:
        self.at = at

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.at

    def on_step_end(self, **_: Any) -> None:
        if self.is_over:
            raise OutOfTimeError


class ProgressBar(Callback):
    """Shows the epoch's progress, rows/s and loss on standard error, and one line per finished epoch.

    Where standard error is not a terminal, it shows the lines only.

    Parameters
    ----------
    file : text stream, optional
        Where to draw instead of standard error.
    """

    def __init__(self, *, file: TextIO | None = None) -> None:
        self._file = file
        self._bar: RichProgress | None = None
        self._lines: TextIO | None = None
        self._n_epochs = 0

    def on_train_begin(self, *, settings: TrainingSettings, history: History, **_: Any) -> None:
        file = self._file or sys.stderr
        if not file.isatty():
            self._lines = file
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._n_epochs = settings.epochs
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(file=file), transient=True)
        self._bar.add_task(self._label(history.n_epochs + 1), now="", total=None)
        self._bar.start()

    def on_step_end(
        self, *, epoch: int, n_done: int, n_rows: int, train_loss: float, rows_per_second: float, **_: Any
    ) -> None:
        if self._bar is not None:
            now = f"{_short(rows_per_second)} rows/s  loss {_score(train_loss)}"
            task = self._bar.task_ids[0]
            self._bar.update(task, description=self._label(epoch), completed=n_done, total=n_rows, now=now)

    def on_epoch_end(self, *, progress: Progress, record: Record, improved: bool, **_: Any) -> None:
        line = epoch_line(record, progress.history, improved=improved)
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        elif self._lines is not None:
            try:
                self._lines.write(line + "\n")
                self._lines.flush()
            except OSError:  # nobody reads it any longer: that is no reason to end the training
                self._lines = None

    def on_train_end(self, **_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _label(self, epoch: int) -> str:
        return f"epoch {epoch}/{self._n_epochs}"


class EpochLog(Callback):
    """Writes one line of JSON per finished epoch (its record, whether it is the best so far) and one at the end.

    Parameters
    ----------
    path : path
        The file, which is emptied first.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - open until training ends
        except OSError as error:
            problem = f"the log cannot be written: {error.strerror}"
            raise InputError(located(problem, file=os.fspath(path))) from error

    def on_epoch_end(self, *, record: Record, improved: bool, **_: Any) -> None:
        self._write({**record, "improved": improved})

    def on_train_end(self, *, history: History) -> None:
        self._write({"stop_reason": history.stop_reason, "best_epoch": history.best_epoch, "epochs": history.n_epochs})
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, values: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
        except OSError as error:  # no reason to end the training
            logger.warning("the log of the epochs cannot be written: %s", error.strerror)


def epoch_line(record: Record, history: History, *, improved: bool) -> str:
    """One epoch in one line of less than 80 characters, the monitored score starred where it is the best so far.

    The AUC follows where there is space.
    """
    parts = [f"epoch {record['epoch']:>3.0f}", f"train {_score(record['train_loss'])}"]
    speed = f"{_short(record['rows_per_second'])} rows/s"
    if history.monitor is not None:
        name = history.monitor.removeprefix("valid_")
        parts.append(f"valid {name} {_score(record[history.monitor])}{'*' if improved else ' '}")
        auc = f"auc {_score(record['valid_auc'])}" if "valid_auc" in record and name != "auc" else ""
        if auc and len("  ".join([*parts, auc, speed])) <= LINE_WIDTH:
            parts.append(auc)
    return "  ".join([*parts, speed])


def _score(value: float) -> str:
    return f"{value:.5f}" if abs(value) < 1000 else f"{value:.6g}"


def _short(number: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
