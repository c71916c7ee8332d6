"""Choosing settings on validation rows: the model's candidates race against its defaults by successive halving.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016: all
candidates train for a few epochs, the better half for more. If the best is then ahead of the defaults, both train to
the end, since a fast start need not end well. It replaces the defaults only if its mean loss is lower by more than one
standard error of the difference.

Where rows are few, the race is run in every fold of a cross-validation, and also chooses the number of epochs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import DivergenceError
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine
from anyfm.training.callbacks import Callback
from anyfm.training.divergence import DivergenceGuard
from anyfm.training.loop import run_epoch

ROUNDS = ((100_000, (3, 9)), (500_000, (2, 5)), (None, (1, 2)))
"""Epochs that a candidate has trained for after each round, for tables of up to so many training rows.

All rows are used: in a sample every value occurs less often, so that a search there prefers larger penalties.
"""
SPLIT_ROWS = 20_000
"""Validation rows from which on settings are chosen on one half, and epochs and metrics on the other.

Of fewer rows, a half chooses epochs badly: that costs more than the optimism of a choice among a few candidates.
"""

MAX_ROWS_APART = 500_000
"""Training rows up to which a candidate with another optimizer is tried. It does not race: losses of two optimizers
after few epochs do not compare, so that it is trained to the end."""
logger = logging.getLogger("anyfm.training")
Fold = tuple[Rows, Rows]
"""Rows to train on, and rows to validate on."""


@dataclass(frozen=True)
class Trial:
    """One candidate of a search.

    Parameters
    ----------
    settings : dict
        What differs from the defaults; empty for the defaults.
    loss : float, optional
        The lowest mean validation loss; None if training diverged.
    n_epochs : int
        How many epochs it trained for.
    best_epoch : int
        The epoch of the lowest loss.
    chosen : bool
    """

    settings: dict[str, Any]
    loss: float | None
    n_epochs: int
    best_epoch: int
    chosen: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """Read what `to_dict` returned."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in values["settings"].items()}
        return cls(settings, **{name: values[name] for name in ("loss", "n_epochs", "best_epoch", "chosen")})

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in self.settings.items()}
        return {**asdict(self), "settings": settings}


def search(
    make: Callable[[Mapping[str, Any]], Engine],
    candidates: Sequence[Mapping[str, Any]],
    folds: Sequence[Fold],
    settings: TrainingSettings,
    *,
    callbacks: Sequence[Callback] = (),
) -> tuple[list[Trial], NDArray[np.float32]]:
    """Race the candidates and the defaults; exactly one trial is chosen. Deterministic for any number of threads.

    Parameters
    ----------
    make : callable
        Makes an engine of a candidate's settings, which override the defaults.
    candidates : sequence of mapping
        Without the defaults.
    folds : sequence of (Rows, Rows)
        Training and validation rows, with y: one pair, or the folds of a cross-validation. The chosen candidate is then
        trained to the end in every fold.
    settings : TrainingSettings
    callbacks : sequence of Callback
        Of which `on_step_end` is called.

    Returns
    -------
    trials : list of Trial
    logits : float32 array
        Of the validation rows, fold by fold, in the best epoch of the chosen candidate.

    Raises
    ------
    DivergenceError
        Every candidate diverged; it is that of the defaults.
    """
    n_rows = folds[0][0].n_rows
    if n_rows > MAX_ROWS_APART:
        candidates = [candidate for candidate in candidates if "optimizer" not in candidate]
    rounds = next(epochs for most_rows, epochs in ROUNDS if most_rows is None or n_rows <= most_rows)
    runners = [_Runner(make, dict(candidate), folds, settings, callbacks) for candidate in ({}, *candidates)]
    default, chosen = runners[0], runners[0]
    apart = [runner for runner in runners if "optimizer" in runner.settings]
    racing = [runner for runner in runners if runner not in apart]
    for n_epochs in rounds if candidates else ():
        for runner in racing:
            runner.train(n_epochs)
        challengers = sorted((runner for runner in racing if runner is not default), key=lambda each: each.loss)
        racing = [default, *challengers[: max(1, len(challengers) // 2)]]
    finalists = [default, *apart]
    if (best := min(racing, key=lambda runner: runner.loss)) is not default:
        finalists.append(best)
    if len(finalists) > 1:
        for runner in finalists:
            runner.train(settings.epochs)
        best = min(finalists, key=lambda runner: runner.loss)
        chosen = best if _is_better(best, default) else default
    if len(folds) > 1:
        chosen.train(settings.epochs)
    if chosen.error is not None:
        raise chosen.error
    trials = [runner.trial(chosen=runner is chosen) for runner in runners]
    logger.info("search: %s", trials)
    return trials, chosen.logits


class _Runner:
    """One candidate in training."""

    def __init__(
        self,
        make: Callable[[Mapping[str, Any]], Engine],
        candidate: dict[str, Any],
        folds: Sequence[Fold],
        settings: TrainingSettings,
        callbacks: Sequence[Callback],
    ) -> None:
        self._callbacks = callbacks
        self.settings = candidate
        self.loss = np.inf
        self.error: DivergenceError | None = None
        self.losses: NDArray[np.float64] | None = None  # of each validation row, in the best epoch
        self.logits = np.empty(0, np.float32)  # of the same
        weights = (np.ones(valid.n_rows) if valid.weight is None else valid.weight for _, valid in folds)
        self.weight = np.concatenate([*weights])
        self._n_epochs = self._best_epoch = 0
        self._stopped = False
        self._training = settings
        self._folds = []
        for train, valid in folds:
            engine = make(candidate)
            engine.prepare(train, seed=settings.seed)
            self._folds.append((engine, train, valid, DivergenceGuard(engine, train)))

    def train(self, n_epochs: int) -> None:
        """Train until so many epochs are done, or until patience ends."""
        try:
            while not self._stopped and self._n_epochs < min(n_epochs, self._training.epochs):
                self._n_epochs += 1
                for engine, train, _, guard in self._folds:
                    run_epoch(engine, train, self._n_epochs, self._training.seed, guard, self._callbacks)
                self._validate()
                self._stopped = self._n_epochs - self._best_epoch >= self._training.patience
        except DivergenceError as error:
            self.loss, self.losses, self.error, self._stopped = np.inf, None, error, True

    def _validate(self) -> None:
        task = self._folds[0][0].model.task
        logits = np.concatenate([engine.logits(valid) for engine, _, valid, _ in self._folds])
        y = np.concatenate([valid.y for _, _, valid, _ in self._folds if valid.y is not None])
        losses = np.asarray(task.loss(logits.astype(np.float64), y.astype(np.float64)))
        loss = float(np.average(losses, weights=self.weight))
        if loss < self.loss:
            self.loss, self.losses, self.logits, self._best_epoch = loss, losses, logits, self._n_epochs

    def trial(self, *, chosen: bool) -> Trial:
        loss = self.loss if np.isfinite(self.loss) else None
        return Trial(self.settings, loss, self._n_epochs, self._best_epoch, chosen)


def _is_better(candidate: _Runner, default: _Runner) -> bool:
    """Whether the candidate's mean loss is lower by more than one standard error of the paired difference."""
    if candidate.losses is None or default.losses is None:
        return candidate.losses is not None
    difference = default.losses - candidate.losses
    weight = candidate.weight.astype(np.float64)
    mean = np.average(difference, weights=weight)
    variance = np.average((difference - mean) ** 2, weights=weight)
    return bool(mean > np.sqrt(variance * (weight**2).sum()) / weight.sum())
