"""What happened in training, as data: one record per epoch, which was the best, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine, State

Record = dict[str, float]


@dataclass(frozen=True)
class History:
    """The records of the finished epochs.

    Parameters
    ----------
    monitor : str, optional
        The score that early stopping watches: valid_logloss, valid_rmse (lower is better) or valid_auc (higher is
        better); None without validation rows.
    records : tuple of dict
        Per epoch: epoch (from 1), train_loss (the weighted mean loss, each row's taken before its own update),
        seconds (training only), rows_per_second, and with validation rows valid_seconds and each metric as
        valid_<metric>.
    stop_reason : str, optional
        "epochs" (all were done), "patience" or "interrupted" (by Ctrl-C); None while training goes on.
    """

    monitor: str | None = None
    records: tuple[Record, ...] = ()
    stop_reason: str | None = None

    @property
    def n_epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.records)

    @property
    def best_epoch(self) -> int:
        """The epoch whose parameters are kept, from 1: the first with the best monitored score, or without validation
        rows the last; 0 before any."""
        if self.monitor is None or not self.records:
            return self.n_epochs
        scores = [_badness(self.monitor, record) for record in self.records]
        return scores.index(min(scores)) + 1

    @property
    def best(self) -> Record:
        """The record of the best epoch; empty before any."""
        return dict(self.records[self.best_epoch - 1]) if self.records else {}

    def reason_to_stop(self, config: TrainingSettings) -> str | None:
        """ "epochs", "patience" or None: a function of the records alone, so that a resumed training agrees."""
        if self.n_epochs - self.best_epoch >= config.patience:
            return "patience"
        return "epochs" if self.n_epochs >= config.epochs else None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `from_dict` is the way back."""
        return {
            "monitor": self.monitor,
            "best_epoch": self.best_epoch,
            "stop_reason": self.stop_reason,
            "records": [dict(record) for record in self.records],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Read what `to_dict` gave."""
        records = tuple(dict(record) for record in values["records"])
        return cls(monitor=values["monitor"], records=records, stop_reason=values["stop_reason"])


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
        return self._replace(history=replace(self.history, stop_reason=reason))


def monitored(monitor: str, task: str) -> str:
    """The record's key that ``TrainingSettings.monitor`` means for a task."""
    if monitor == "auc":
        return "valid_auc"
    return "valid_logloss" if task == "binary" else "valid_rmse"


def _badness(monitor: str, record: Record) -> float:
    return -record[monitor] if monitor == "valid_auc" else record[monitor]
