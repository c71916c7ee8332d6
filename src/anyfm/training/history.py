"""What happened in training, as data: one record per epoch, the best epoch, and why training ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

import numpy as np

from anyfm.core.errors import got
from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine, State
from anyfm.metrics import METRICS

Record = dict[str, float]
STOP_REASONS = {"early_stopping": "early stopping", "epochs": "reached the epochs limit", "interrupted": "interrupted"}
MAX_SHOWN = 20


@dataclass(frozen=True, repr=False)
class History:
    """The records of the finished epochs; a sequence of them.

    Parameters
    ----------
    monitor : str, optional
        The key of the score that early stopping monitors, such as valid_logloss; None without validation rows.
    records : tuple of dict
        Per epoch: epoch (from 1), train_loss (the weighted mean loss, each row's before its own update; for regression
        half the squared error), seconds (training only), rows_per_second, and with validation rows valid_seconds and
        each metric as valid_<metric>.
    stop_reason : str, optional
        "early_stopping", "epochs" (all are done) or "interrupted" (by Ctrl-C); None before training ends.
    """

    monitor: str | None = None
    records: tuple[Record, ...] = ()
    stop_reason: str | None = None

    @property
    def n_epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.records)

    @property
    def best_epoch(self) -> int:
        """The first epoch, from 1, with the best monitored score, or without validation rows the last; 0 before any.

        Training ends with its parameters.
        """
        if self.monitor is None or not self.records:
            return self.n_epochs
        sign = -1 if METRICS[self.monitor.removeprefix("valid_")].greater_is_better else 1
        scores = [sign * record[self.monitor] for record in self.records]
        return scores.index(min(scores)) + 1

    @property
    def best(self) -> Record:
        """The record of the best epoch; empty before any."""
        return dict(self.records[self.best_epoch - 1]) if self.records else {}

    def reason_to_stop(self, settings: TrainingSettings) -> str | None:
        """ "early_stopping", "epochs" or None: a function of the records alone, so that resuming changes nothing."""
        if self.n_epochs - self.best_epoch >= settings.patience:
            return "early_stopping"
        return "epochs" if self.n_epochs >= settings.epochs else None

    def to_dict(self) -> dict[str, Any]:
        """A dict that JSON can hold; `from_dict` reads it."""
        return {
            "monitor": self.monitor,
            "best_epoch": self.best_epoch,
            "stop_reason": self.stop_reason,
            "records": [dict(record) for record in self.records],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Read what `to_dict` returned; KeyError, TypeError or ValueError for what it did not."""
        monitor, stop_reason = values["monitor"], values["stop_reason"]
        records = tuple(dict(record) for record in values["records"])
        if monitor is not None and METRICS[monitor.removeprefix("valid_")].greater_is_better is None:
            raise ValueError(got("monitor must have a best value", monitor=monitor))
        if stop_reason is not None:
            STOP_REASONS[stop_reason]
        for record in records:
            if not all(isinstance(value, (int, float)) for value in [*record.values(), record.get(monitor, 0)]):
                raise TypeError(got("the records of epochs must be numbers", record=record))
            for value in record.values():
                float(value)  # else too large to be shown
            if monitor is not None:
                record[monitor]
        return cls(monitor=monitor, records=records, stop_reason=stop_reason)

    def __len__(self) -> int:
        return self.n_epochs

    def __bool__(self) -> bool:
        return True  # a history without epochs is one too

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def __repr__(self) -> str:
        parts = [f"{self.n_epochs} epochs"]
        if self.records:
            score = "" if self.monitor is None else f", {self.monitor} {self.best[self.monitor]:.5f}"
            parts.append(f"best epoch {self.best_epoch}{score}")
        if self.stop_reason is not None:
            parts.append(STOP_REASONS[self.stop_reason])
        return f"<History: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        """A table of at most 20 epochs: evenly chosen, and the best."""
        even = np.linspace(0, self.n_epochs - 1, MAX_SHOWN - 1).round().astype(int) if self.records else []
        lines = []
        for index in sorted({*even, self.best_epoch - 1} if self.records else ()):
            tag = "th" if index + 1 == self.best_epoch else "td"
            cells = (f"<{tag}>{value:.6g}</{tag}>" for value in self.records[index].values())
            lines.append(f"<tr>{''.join(cells)}</tr>")
        names = "".join(f"<th>{escape(name)}</th>" for name in (self.records[0] if self.records else ()))
        return f"<table><caption>{escape(repr(self))}</caption><tr>{names}</tr>{''.join(lines)}</table>"


class Progress(NamedTuple):
    """How far training has come: the history and the engine's state after the best epoch.

    It is replaced whole, in one assignment, so that an interrupt cannot come between the two.
    """

    history: History
    best: State | None = None

    def after(self, record: Record, engine: Engine) -> Progress:
        """The progress after one more epoch; takes the engine's state if that epoch is the best."""
        history = replace(self.history, records=(*self.history.records, record), stop_reason=None)
        return Progress(history, engine.state() if history.best_epoch == history.n_epochs else self.best)

    def stopped(self, reason: str) -> Progress:
        """The progress at the end of training."""
        return self._replace(history=replace(self.history, stop_reason=reason))
