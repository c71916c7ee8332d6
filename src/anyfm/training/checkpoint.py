"""Checkpoints: training that was stopped resumes bit for bit as if it had not been.

A checkpoint is one file, ``checkpoint.safetensors``: the arrays of the engine's state, and as JSON in its header the
history and the identity of the training.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from anyfm.core.atomic import replaced_file
from anyfm.core.errors import ArtifactError, SettingError, got, located
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.base import Engine, State
from anyfm.training.callbacks import Callback
from anyfm.training.history import History, Progress

FILE_NAME = "checkpoint.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that training resumes from.

    Parameters
    ----------
    state : State
        The engine's state after the last finished epoch.
    progress : Progress
        The history, and the state after its best epoch: the same as `state` where that epoch is the last.
    identity : dict
        What must be the same when training resumes, as `identity` returns it.
    trials : list of dict
        What the search for settings tried before training, so that it is not repeated.
    """

    state: State
    progress: Progress
    identity: dict[str, Any]
    trials: list[dict[str, Any]] = field(default_factory=list)

    def check(self, engine: Engine, train: Rows, settings: TrainingSettings, monitor: str | None) -> None:
        """Raise SettingError, naming the difference, unless training may resume with these.

        The number of epochs, the patience and the number of threads may differ; `monitor` is the history's.
        """
        before = {**self.identity, "monitor": self.progress.history.monitor}
        for name, value in {**identity(engine, train, settings), "monitor": monitor}.items():
            if value != before.get(name):
                rule = f"to resume, {name} must be that of the checkpoint, {before.get(name)!r}"
                raise SettingError(got(rule, **{name: value}))


class Checkpointer(Callback):
    """Saves a checkpoint after every `every` epochs, and after the last one.

    Parameters
    ----------
    directory : path
        Created if it does not exist; a checkpoint in it is replaced.
    trials : sequence of dict
        As `Checkpoint` has them.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, every: int = 1, trials: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        if every < 1:
            raise SettingError(got("every must be an integer of at least 1", every=every))
        self._directory = directory
        self._every = every
        self._trials = [dict(trial) for trial in trials]

    def on_train_begin(self, *, engine: Engine, train: Rows, settings: TrainingSettings, **_: Any) -> None:
        self._settings = settings
        self._identity = identity(engine, train, settings)

    def on_epoch_end(self, *, engine: Engine, progress: Progress, **_: Any) -> None:
        history = progress.history
        if history.n_epochs % self._every == 0 or history.reason_to_stop(self._settings) is not None:
            save_checkpoint(self._directory, Checkpoint(engine.state(), progress, self._identity, self._trials))


def identity(engine: Engine, train: Rows, settings: TrainingSettings) -> dict[str, Any]:
    """What a resumed training must share with the one before, as JSON holds it: engine, model, seed and rows."""
    model = engine.model
    values = {
        "engine": type(engine).__name__,
        "model": model.name,
        **model.settings.to_dict(),
        "n_features": engine.n_features,
        "n_fields": engine.n_fields,
        "seed": settings.seed,
        "n_rows": train.n_rows,
        "rows_crc32": _crc32(train),
    }
    identity_: dict[str, Any] = json.loads(json.dumps(values))  # tuples become lists, as in a loaded checkpoint
    return identity_


def resume_from(directory: str | os.PathLike[str]) -> Checkpoint | None:
    """The checkpoint in a directory, or None if there is none yet: ``fit(..., resume=resume_from(directory))``."""
    return load_checkpoint(directory) if (Path(directory) / FILE_NAME).exists() else None


def save_checkpoint(directory: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into a directory, replacing the one there; a crash leaves the old one whole.

    Equal checkpoints give equal bytes. Returns the file's path.
    """
    history, best = checkpoint.progress
    tensors = _prefixed("state", checkpoint.state)
    if best is not None and history.best_epoch != history.n_epochs:  # otherwise it is the same as the last state
        tensors |= _prefixed("best", best)
    header = {
        "format_version": FORMAT_VERSION,
        "identity": checkpoint.identity,
        "history": history.to_dict(),
        "trials": checkpoint.trials,
    }
    path = Path(directory) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as file:
        file.write(save(tensors, metadata={"anyfm": json.dumps(header, sort_keys=True)}))
    return path


def load_checkpoint(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint in a directory, for ``fit(..., resume=checkpoint)``.

    Raises
    ------
    ArtifactError
        There is none, or it is damaged or of another format version.
    """
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        raise ArtifactError(located("there is no checkpoint", file=str(path)))
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["anyfm"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        version = header["format_version"]
        if version == FORMAT_VERSION:
            state = _without_prefix("state", tensors)
            best = _without_prefix("best", tensors) or state
            progress = Progress(History.from_dict(header["history"]), best)
            return Checkpoint(state, progress, header["identity"], header["trials"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(located(f"the checkpoint cannot be read: {error!r}", file=str(path))) from error
    rule = got(f"the checkpoint's format_version must be {FORMAT_VERSION}", format_version=version)
    raise ArtifactError(located(rule, file=str(path)))


def _prefixed(prefix: str, state: State) -> State:
    # safetensors writes the memory of an array as it is, so it must be in C order.
    return {f"{prefix}/{name}": np.asarray(array, order="C") for name, array in state.items()}


def _without_prefix(prefix: str, tensors: State) -> State:
    return {name.removeprefix(f"{prefix}/"): array for name, array in tensors.items() if name.startswith(f"{prefix}/")}


def _crc32(rows: Rows) -> int:
    checksum = 0
    for array in (rows.ids, rows.offsets, rows.values, rows.fields, rows.y, rows.weight):
        checksum = zlib.crc32(b"\0" if array is None else array.data, checksum)
    return checksum
