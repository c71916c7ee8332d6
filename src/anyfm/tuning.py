"""The best settings of a model, found by Optuna on validation rows: `anyfm tune`.

Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019. What is searched is declared
beside each setting (`core.settings.Range`, `core.settings.Options`).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfm.artifact import check_can_save
from anyfm.core.errors import DivergenceError, MissingDependencyError, SettingError, got, located
from anyfm.core.rows import Rows
from anyfm.core.settings import (
    BudgetSettings,
    DataSettings,
    Options,
    Range,
    TrainingSettings,
    ValidationSettings,
    integer,
    optional,
    parse_settings,
    setting,
    setting_text,
)
from anyfm.engines.memory import MemoryLimitError
from anyfm.metrics import METRICS
from anyfm.model import Model
from anyfm.models import MODELS
from anyfm.pipeline import DEFAULT_BUDGET, PreparedData, fit, prepare
from anyfm.training.callbacks import Callback, Deadline, OutOfTimeError

if TYPE_CHECKING:
    import optuna

STUDY = "anyfm"
_WARMUP_EPOCHS, _STARTUP_TRIALS, _RANDOM_TRIALS = 3, 5, 10


@dataclass(frozen=True, kw_only=True)
class TuneSettings(BudgetSettings):
    """How long tuning may take, and where it is recorded."""

    trials: int | None = setting(
        None,
        optional(integer(1)),
        "number of trials of tuning, earlier ones included; none: as many as the budget allows",
    )


@dataclass(frozen=True)
class TunedTrial:
    """One trial.

    Parameters
    ----------
    number : int
        From 0.
    settings : dict
        The settings that were searched.
    value : float, optional
        The validation metric at the best epoch; None where training did not come to its end.
    n_epochs : int
    seconds : float
    outcome : str
        "trained", "pruned", "out of time", "diverged", "does not fit the memory" or "interrupted".
    """

    number: int
    settings: dict[str, Any]
    value: float | None
    n_epochs: int
    seconds: float
    outcome: str


@dataclass(frozen=True, eq=False)
class Tuning:
    """The result of `tune`.

    Parameters
    ----------
    model : Model
        Of the best trial, as it is saved.
    metric : str
        The validation metric that trials are compared by.
    trials : list of TunedTrial
        By number.
    best : TunedTrial
    """

    model: Model
    metric: str
    trials: list[TunedTrial]
    best: TunedTrial


def tune(
    source: Any,
    target: str | None = None,
    *,
    out: str | Path,
    model: str = "fm",
    storage: str | Path | None = None,
    on_data: Callable[[PreparedData], None] | None = None,
    on_trial: Callable[[TunedTrial], None] | None = None,
    **settings: Any,
) -> Tuning:
    """Search the settings of a model for the best validation metric, and save the model of every better trial.

    The first trial has the defaults. A trial that after three epochs is behind the median of earlier ones is pruned.
    Called again with the same storage, it continues: for as many trials or as much time as is asked for.

    Parameters
    ----------
    source, target
        As for `anyfm.train`.
    out : path
        The directory that the best model is saved in.
    model : str
        One of `anyfm.models.MODELS`.
    storage : path, optional
        The SQLite file that the trials are recorded in; by default ``out`` with ".tune.db" appended.
    on_data : callable, optional
        Called with the prepared data before the first trial.
    on_trial : callable, optional
        Called with every finished trial.
    **settings
        As for `anyfm.train`; those of the model that are given are not searched. ``trials``: the number of trials,
        earlier ones included; ``budget``: time such as "5m", which is the default where `trials` is not given.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed: ``pip install "anyfm[tune]"``.
    SettingError
        A setting breaks its rule, there are no validation rows, nothing is left to search, or the storage is of other
        data or settings.
    DivergenceError
        No trial came to its end.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError('tuning needs Optuna: pip install "anyfm[tune]"') from error
    began = time.monotonic()
    given = settings if target is None else {**settings, "target": target}
    kinds = (MODELS[model].settings_type, DataSettings, ValidationSettings, TrainingSettings, TuneSettings)
    own, data, validation, training, limits = parse_settings(given, *kinds, what=f"setting of {model}", also=("out",))
    space = search_space(model, set(given))
    if not space:
        raise SettingError(got("tuning needs a setting to search, and all are given", model=model))
    check_can_save(out)
    if validation.valid is None:  # few rows too: a cross-validation cannot be pruned by epoch
        validation = replace(validation, valid_fraction=validation.fraction)
    prepared = prepare(source, data, validation, seed=training.seed)
    if prepared.valid is None:
        raise SettingError(got("tuning needs validation rows", valid_fraction=0))
    if on_data is not None:
        on_data(prepared)
    metric = prepared.task.loss_metric if training.monitor == "loss" else training.monitor
    fixed = {
        name: value
        for name, value in {**own.to_dict(), **training.to_dict()}.items()
        if name in given and name != "task"
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(storage) if storage is not None else Path(f"{out}.tune.db")
    study = _study(path, model, metric, fixed, prepared, seed=training.seed)
    if not study.trials:
        study.enqueue_trial(default_point(model, space))
    budget = limits.budget if limits.budget is not None else None if limits.trials is not None else DEFAULT_BUDGET
    deadline = Deadline(np.inf if budget is None else began + budget)
    fixed = {**fixed, "search": False}
    objective = _Objective(prepared, model, fixed, space, metric, Path(out), on_trial, deadline)
    n_done = len(_trials(study))
    n_trials = None if limits.trials is None else max(0, limits.trials - n_done)
    if n_trials != 0 and not (n_done and deadline.is_over):
        study.optimize(objective, n_trials=n_trials, callbacks=[objective.stop_in_time])
    trials = _trials(study)
    done = sorted_trials([trial for trial in trials if trial.value is not None], metric)
    if not done:
        raise DivergenceError(got("no trial came to its end: lower learning_rate, or give more time", n=len(trials)))
    best = objective.best
    if best is None:  # an earlier call has found it
        best = fit(prepared, model=model, settings={**fixed, **done[0].settings})
        best.save(out)
    return Tuning(best, metric, trials, done[0])


def search_space(model: str, given: Collection[str] = ()) -> dict[str, Range | Options]:
    """What tuning searches of a model's settings, without those that are given."""
    declared = {item.name: item.metadata["tune"] for item in fields(MODELS[model].settings_type)}
    return {name: where for name, where in declared.items() if where is not None and name not in given}


def default_point(model: str, space: Mapping[str, Range | Options]) -> dict[str, Any]:
    """The defaults as a point of the space: numbers, and options as text."""
    point: dict[str, Any] = {}
    for item in fields(MODELS[model].settings_type):
        if item.name in space:
            is_range = isinstance(space[item.name], Range)
            point[item.name] = item.default if is_range else setting_text(item.default, item.metadata["rule"])
    return point


def sorted_trials(trials: Iterable[TunedTrial], metric: str) -> list[TunedTrial]:
    """The best value first; trials without one last, by number."""
    sign = -1.0 if METRICS[metric].greater_is_better else 1.0
    return sorted(trials, key=lambda trial: (np.inf if trial.value is None else sign * trial.value, trial.number))


class _Objective:
    """Trains one trial; keeps and saves the best model."""

    def __init__(
        self,
        data: PreparedData,
        model: str,
        fixed: Mapping[str, Any],
        space: Mapping[str, Range | Options],
        metric: str,
        out: Path,
        on_trial: Callable[[TunedTrial], None] | None,
        deadline: Deadline,
    ) -> None:
        self.best: Model | None = None
        self._data, self._model, self._fixed, self._space = data, model, fixed, space
        self._metric, self._out, self._on_trial, self._deadline = metric, out, on_trial, deadline

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        settings = {name: _suggested(trial, name, where) for name, where in self._space.items()}
        earlier = sorted_trials([each for each in _trials(trial.study) if each.value is not None], self._metric)
        watch = _Watch(trial, f"valid_{self._metric}")
        callbacks = [watch, *([self._deadline] if earlier else [])]
        outcome = "trained"
        try:
            model = fit(self._data, model=self._model, settings={**self._fixed, **settings}, callbacks=callbacks)
            if model.history.stop_reason == "interrupted":
                outcome = "interrupted"
        except optuna.TrialPruned:
            outcome = "pruned"
        except OutOfTimeError:
            outcome = "out of time"
        except DivergenceError:
            outcome = "diverged"
        except MemoryLimitError:
            outcome = "does not fit the memory"
        trial.set_user_attr("outcome", outcome)
        trial.set_user_attr("n_epochs", watch.n_epochs)
        if outcome == "interrupted":
            trial.study.stop()
        if outcome != "trained":
            raise optuna.TrialPruned
        value = model.metrics[self._metric]
        sign = -1.0 if METRICS[self._metric].greater_is_better else 1.0
        if not earlier or sign * value < sign * (earlier[0].value or 0.0):
            self.best = model
            model.save(self._out)
        return value

    def stop_in_time(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if self._on_trial is not None:
            self._on_trial(_tuned(trial))
        if self._deadline.is_over:
            study.stop()


class _Watch(Callback):
    """Reports every epoch to the study, and ends a trial that it prunes."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.n_epochs = 0
        self._trial, self._monitor = trial, monitor

    def on_epoch_end(self, *, record: Mapping[str, float], **_: Any) -> None:
        import optuna

        self.n_epochs += 1
        self._trial.report(record[self._monitor], self.n_epochs)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _suggested(trial: optuna.Trial, name: str, where: Range | Options) -> Any:
    if isinstance(where, Range):
        return trial.suggest_float(name, where.low, where.high, log=where.log)
    return trial.suggest_categorical(name, where.texts)


def _study(
    path: Path, model: str, metric: str, fixed: Mapping[str, Any], data: PreparedData, *, seed: int
) -> optuna.Study:
    """The study in the file, new or to be continued; SettingError if it is of another search."""
    import optuna

    assert data.valid is not None
    identity = {
        "model": model,
        "metric": metric,
        "settings": json.dumps(fixed, sort_keys=True, default=str),
        "rows": data.train.n_rows,
        "data": [_checksum(rows) for rows in (data.train, data.valid)],
    }
    is_new = not path.exists()
    if is_new and not path.absolute().parent.is_dir():
        raise SettingError(located("the folder of the storage must exist", file=str(path)))
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
        study = optuna.create_study(
            study_name=STUDY,
            storage=storage,
            direction="maximize" if METRICS[metric].greater_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_EPOCHS),
            load_if_exists=True,
        )
    except Exception as error:  # whatever SQLAlchemy raises for a file that is no database
        problem = f"the storage cannot be opened as an SQLite file of Optuna: {error}"
        raise SettingError(located(problem.partition("\n")[0], file=str(path))) from error
    # After resuming, the sampler must not draw the same points again.
    study.sampler = optuna.samplers.TPESampler(seed=(seed + len(study.trials)) % 2**32, n_startup_trials=_RANDOM_TRIALS)
    before = study.user_attrs.get("identity")
    if before is None:
        study.set_user_attr("identity", identity)
    elif before != identity:
        name = next(key for key, value in identity.items() if before.get(key) != value)
        rule = f"to continue a search, {name} must be that of the storage, {before.get(name)!r}"
        raise SettingError(located(got(rule, **{name: identity[name]}), file=str(path), remedy="Give another storage."))
    return study


def _checksum(rows: Rows) -> int:
    assert rows.y is not None
    return zlib.crc32(rows.y.tobytes(), zlib.crc32(rows.ids.tobytes()))


def _trials(study: optuna.Study) -> list[TunedTrial]:
    return [_tuned(trial) for trial in study.trials if trial.state.is_finished()]


def _tuned(trial: optuna.trial.FrozenTrial) -> TunedTrial:
    seconds = 0.0 if trial.duration is None else trial.duration.total_seconds()
    attributes = trial.user_attrs
    outcome = attributes.get("outcome", "failed")
    value = trial.value if outcome == "trained" else None
    return TunedTrial(trial.number, dict(trial.params), value, attributes.get("n_epochs", 0), seconds, outcome)
