"""Checkpoints: training that was stopped goes on bit for bit as if it had not been.

A checkpoint is one file, ``checkpoint.safetensors``: the arrays of the engine's state, and as JSON in its header the
history and the identity of the training. One file, so that replacing it is one atomic rename.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

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
    """All that training goes on from.

    Parameters
    ----------
    state : State
        The engine's state after the last finished epoch.
    progress : Progress
        The history, and the state after its best epoch: the same as `state` where that epoch is the last.
    identity : dict
        What must be the same when training resumes, as `identity` gives it.
    """

    state: State
    progress: Progress
    identity: dict[str, Any]

    def check(self, engine: Engine, train: Rows, config: TrainingSettings) -> None:
        """Raise SettingError, naming the difference, unless training may resume with these.

        The number of epochs, the patience and the number of threads may differ.
        """
        now = identity(engine, train, config)
        for name, value in now.items():
            then = self.identity.get(name)
            if value != then:
                raise SettingError(got(f"to resume, {name} must be that of the checkpoint, {then!r}", **{name: value}))


class Checkpointer(Callback):
    """Saves a checkpoint after every `every` epochs, and after the last one.

    Parameters
    ----------
    directory : path
        Made if need be; a checkpoint in it is replaced.
    """

    def __init__(self, directory: str | os.PathLike[str], *, every: int = 1) -> None:
        if every < 1:
            raise SettingError(got("every must be an integer of at least 1", every=every))
        self._directory = directory
        self._every = every

    def on_train_begin(self, *, engine: Engine, train: Rows, config: TrainingSettings, **_: Any) -> None:
        self._config = config
        self._identity = identity(engine, train, config)

    def on_epoch_end(self, *, engine: Engine, progress: Progress, **_: Any) -> None:
        history = progress.history
        if history.n_epochs % self._every == 0 or history.reason_to_stop(self._config) is not None:
            save_checkpoint(self._directory, Checkpoint(engine.state(), progress, self._identity))


def identity(engine: Engine, train: Rows, config: TrainingSettings) -> dict[str, Any]:
    """What a resumed training must share with the one before: model, settings, seed and training rows."""
    return {
        "model": engine.model.name,
        **engine.model.settings.to_dict(),
        "n_features": engine.n_features,
        "n_fields": engine.n_fields,
        "seed": config.seed,
        "monitor": config.monitor,
        "n_rows": train.n_rows,
        "rows_crc32": _crc32(train),
    }


def save_checkpoint(directory: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into a directory, replacing the one there; a crash leaves the old one whole.

    Equal checkpoints give equal bytes. Returns the file's path.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    history, best = checkpoint.progress
    # The best epoch is mostly the last one: then its state is stored once.
    best_is_state = best is not None and history.best_epoch == history.n_epochs
    tensors = _prefixed("state", checkpoint.state)
    if best is not None and not best_is_state:
        tensors |= _prefixed("best", best)
    header = {
        "format_version": FORMAT_VERSION,
        "identity": checkpoint.identity,
        "history": history.to_dict(),
        "best": "none" if best is None else "state" if best_is_state else "best",
    }
    target = folder / FILE_NAME
    _replace_file(target, save(tensors, metadata={"anyfm": json.dumps(header, sort_keys=True)}))
    return target


def load_checkpoint(directory: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint in a directory; pass it to ``fit(..., resume=checkpoint)``.

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
            best = None if header["best"] == "none" else _under(header["best"], tensors)
            progress = Progress(History.from_dict(header["history"]), best)
            return Checkpoint(_under("state", tensors), progress, header["identity"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(located(f"the checkpoint cannot be read: {error!r}", file=str(path))) from error
    rule = got(f"the checkpoint's format_version must be {FORMAT_VERSION}", format_version=version)
    raise ArtifactError(located(rule, file=str(path)))


def _prefixed(prefix: str, state: Mapping[str, np.ndarray[Any, Any]]) -> State:
    # safetensors writes the buffer as it lies, so it must lie in C order.
    return {f"{prefix}/{name}": np.asarray(array, order="C") for name, array in state.items()}


def _under(prefix: str, tensors: State) -> State:
    start = prefix + "/"
    return {name[len(start) :]: array for name, array in tensors.items() if name.startswith(start)}


def _replace_file(target: Path, content: bytes) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # the rename itself is on disk once the directory is; not on Windows
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _crc32(rows: Rows) -> int:
    checksum = 0
    for array in (rows.ids, rows.offsets, rows.values, rows.fields, rows.y, rows.weight):
        checksum = zlib.crc32(b"\0" if array is None else array.data, checksum)
    return checksum
