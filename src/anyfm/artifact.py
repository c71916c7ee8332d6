"""The saved model: a directory of three plain files, none of which holds code.

``model.json`` says what the model is (format version, settings, schema, metrics, checksums), ``weights.safetensors``
holds the parameters and ``vocabulary.parquet`` the values of every field. Equal artifacts are equal bytes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm import __version__
from anyfm.core.atomic import NotSyncedError, check_writable, is_being_replaced, leftovers, replace_directory
from anyfm.core.errors import AnyfmError, ArtifactError, ForkedProcessError, got, located
from anyfm.models import MODELS, BaseModel

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder

FORMAT = "anyfm-model"
FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
VOCABULARY_FILE = "vocabulary.parquet"
_FILES = (MODEL_FILE, WEIGHTS_FILE, VOCABULARY_FILE)
_RELOAD_SECONDS, _SAVING_SECONDS = 10.0, 1.0
FEATURE_IDS = "feature_ids"
"""The name of `Artifact.feature_ids` beside the parameters."""
DEVIATION = "std."
"""What the names of `Artifact.deviations` begin with beside the parameters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifact:
    """A trained model with all it takes to score raw rows.

    Parameters
    ----------
    model : BaseModel
    parameters : mapping of str to float32 array
        Shapes as in `BaseModel.parameter_specs`.
    n_features, n_fields : int
    encoder : Encoder, optional
        Turns raw tables into rows; absent for a model of rows that were encoded elsewhere.
    feature_ids : uint64 array of shape (n_features,), optional
        The ids in text files of which the model's ids are the numbers, ascending.
    deviations : mapping of str to float32 array
        The standard deviations of the per-feature parameters, shape (n_features,) or (n_features, n_vectors); empty
        where they were not measured.
    training, metrics, history : mapping
        The settings and rows of the training, metrics by part ("valid"), and the records of the epochs: plain data for
        JSON, without times, so that equal trainings give equal bytes.
    anyfm_version : str
        The version that trained the model.

    Raises
    ------
    ArtifactError
        The parameters do not fit the model or the encoder, or are not finite numbers.
    """

    model: BaseModel
    parameters: Mapping[str, NDArray[Any]]
    n_features: int
    n_fields: int
    encoder: Encoder | None = None
    feature_ids: NDArray[np.uint64] | None = None
    deviations: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    anyfm_version: str = __version__

    def __post_init__(self) -> None:
        specs = self.model.parameter_specs(self.n_features, self.n_fields)
        if set(specs) != set(self.parameters):
            rule = f"a {self.model.name} model has the parameters {sorted(specs)}"
            raise ArtifactError(got(rule, parameters=sorted(self.parameters)))
        for name, spec in specs.items():
            array = self.parameters[name]
            dtype = np.dtype("f8" if name == "bias" and not self.model.task.is_classification else "f4")
            if array.shape != spec.shape or array.dtype != dtype:
                rule = f"the parameter {name} must be {dtype.name} of shape {spec.shape}"
                raise ArtifactError(got(rule, shape=array.shape, dtype=array.dtype.name))
            if not np.isfinite(array).all():
                raise ArtifactError(f"the parameter {name} holds a value that is not a finite number")
        for name, array in self.deviations.items():
            shape = specs[name].deviations_shape if name in specs and specs[name].per_feature else None
            if array.dtype != np.float32 or array.shape != shape:
                rule = f"the deviations of {name} must be float32 of shape {shape}"
                raise ArtifactError(got(rule, shape=array.shape, dtype=array.dtype.name))
            if not (np.isfinite(array) & (array >= 0)).all():
                raise ArtifactError(f"the deviations of {name} hold a value that is not a finite number of at least 0")
        ids = self.feature_ids
        if ids is not None and (
            ids.shape != (self.n_features,) or ids.dtype != np.uint64 or (ids[1:] <= ids[:-1]).any()
        ):
            raise ArtifactError(got("feature_ids must be ascending uint64, one for each feature", shape=ids.shape))
        encoder = self.encoder
        if encoder is not None and (encoder.n_features, encoder.n_fields) != (self.n_features, self.n_fields):
            rule = f"the encoder must have {self.n_features} features in {self.n_fields} fields"
            raise ArtifactError(got(rule, n_features=encoder.n_features, n_fields=encoder.n_fields))

    @property
    def logit_range(self) -> tuple[float, float] | None:
        """The logits that predictions are clipped to: those of the smallest and the largest training target.

        None for a classification, and where training was told not to clip.
        """
        targets = self.training.get("target_range")
        return None if targets is None else self.model.task.logit_range(*targets)

    def clipped(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The logits, of any shape, within `logit_range`."""
        return logits if self.logit_range is None else logits.clip(*self.logit_range)

    def predictions(self, logits: NDArray[Any]) -> NDArray[Any]:
        """What these logits predict: probabilities of the positive class, or numbers in the range of training."""
        return np.asarray(self.model.task.predictions(self.clipped(logits)))

    def require_encoder(self) -> Encoder:
        """The encoder, or an ArtifactError that says why there is none."""
        if self.encoder is None:
            raise ArtifactError(
                f"this model was trained on a {self.training['format']} file, so it cannot read a table. Give it a "
                f"{self.training['format']} file with the same ids"
                if self.training.get("format") in ("libsvm", "libffm")
                else "this model was trained on encoded rows, so it cannot read a table. Give it encoded rows with the "
                "same ids"
            )
        return self.encoder


def save_artifact(artifact: Artifact, path: str | Path, *, overwrite: bool = True) -> Path:
    """Write `artifact` as the directory `path`, in one step: a crash leaves an earlier model there whole.

    Other files in the directory stay.

    Parameters
    ----------
    overwrite : bool
        Whether an anyfm model that is already there may be replaced. Anything else is never replaced.

    Returns
    -------
    pathlib.Path
        The directory, without symbolic links.

    Raises
    ------
    ArtifactError
        `path` holds something that is not an anyfm model, or cannot be written (no space, no permission).
    """
    try:
        target = Path(os.path.realpath(path))
        refuse_to_replace(target, overwrite=overwrite)
        replace_directory(target, _contents(artifact), last=MODEL_FILE, owned=_FILES)
    except NotSyncedError as error:
        problem = f"the model is saved, but the system could not confirm that it is on the disk: {error.strerror}"
        raise ArtifactError(located(problem, file=str(path))) from error
    except (OSError, ValueError) as error:  # ValueError: no path at all, such as one with a zero byte
        raise _not_saved(
            path, error, "What was there before is untouched. Make room or choose another directory."
        ) from error
    return target


def check_can_save(path: str | Path) -> None:
    """Raise the ArtifactError that saving to `path` would raise because of what is there, or of where it lies."""
    try:
        target = Path(os.path.realpath(path))
        refuse_to_replace(target, overwrite=True)
        check_writable(target)
    except (OSError, ValueError) as error:
        raise _not_saved(path, error, "Choose another directory.") from error


def _not_saved(path: str | Path, error: OSError | ValueError, remedy: str) -> ArtifactError:
    if isinstance(error, ArtifactError):
        return error
    problem = f"the model cannot be saved: {getattr(error, 'strerror', None) or error}"
    return ArtifactError(located(problem, file=str(path), remedy=remedy))


def load_artifact(path: str | Path) -> Artifact:
    """Read the model directory `path`, checking every file against its checksum.

    Another process may save there meanwhile: what is returned is the old model or the new one, whole.

    Raises
    ------
    ArtifactError
        There is no model, it was written by a newer version, or one of its files is missing, cut short or edited;
        the text names the file and the remedy.
    """
    directory = Path(path)
    began = time.monotonic()
    while True:
        before = identity(directory)
        try:
            return _load(directory)
        except ArtifactError:
            patience = 0.0
            if identity(directory) != before:
                patience = _RELOAD_SECONDS
            elif is_being_replaced(directory, MODEL_FILE):  # or a saving process was killed
                patience = _SAVING_SECONDS
            if time.monotonic() - began >= patience:
                raise
            time.sleep(0.002)


def _load(directory: Path) -> Artifact:
    try:
        with _Files(directory) as files:
            document = _read_document(files)
            contents = _read_contents(files, document["files"], with_vocabulary=document["encoder"] is not None)
        return _assemble(directory, document, contents)
    except OSError as error:
        raise _damaged(f"the model cannot be read: {error.strerror or error}", error.filename or directory) from error
    except ArtifactError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise _damaged(f"model.json does not describe a model ({error!r})", directory) from error


def is_artifact(directory: Path) -> bool:
    """Whether `directory` holds an anyfm model, whatever its version and state."""
    try:
        document = json.loads((directory / MODEL_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def refuse_to_replace(target: Path, *, overwrite: bool) -> None:
    """Raise the ArtifactError that saving to `target` would raise because of what is there already."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    remedy = "Choose another directory, or move it away."
    if not target.is_dir() or not is_artifact(target):
        problem = "this is not an anyfm model, so it is not replaced by one"
        raise ArtifactError(located(problem, file=str(target), remedy=remedy))
    if not overwrite:
        raise ArtifactError(located("there is a model already", file=str(target), remedy=remedy))


# --- writing ------------------------------------------------------------------------------------------------------


def _contents(artifact: Artifact) -> dict[str, bytes]:
    """The files of the artifact by name."""
    import safetensors.numpy

    tensors = {name: np.ascontiguousarray(array) for name, array in artifact.parameters.items()}
    tensors |= {DEVIATION + name: np.ascontiguousarray(array) for name, array in artifact.deviations.items()}
    if artifact.feature_ids is not None:
        tensors[FEATURE_IDS] = artifact.feature_ids
    _check_memory(2 * sum(array.nbytes for array in tensors.values()))
    contents = {WEIGHTS_FILE: safetensors.numpy.save(tensors)}
    if artifact.encoder is not None:
        from anyfm.data.encoder import write_vocabulary

        buffer = io.BytesIO()
        write_vocabulary(artifact.encoder, buffer)
        contents[VOCABULARY_FILE] = buffer.getvalue()
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "anyfm_version": artifact.anyfm_version,
        "model": artifact.model.name,
        "settings": artifact.model.settings.to_dict(),
        "n_features": artifact.n_features,
        "n_fields": artifact.n_fields,
        "encoder": None if artifact.encoder is None else artifact.encoder.to_dict(),
        "training": artifact.training,
        "metrics": artifact.metrics,
        "history": artifact.history,
        "files": {name: _fingerprint(content) for name, content in contents.items()},
    }
    document["sha256"] = _document_checksum(document)
    return {**contents, MODEL_FILE: _serialized(document)}


def _check_memory(n_bytes: int) -> None:
    """Raise MemoryError where so much is not to be had: safetensors then ends the process."""
    bytearray(n_bytes)


def _serialized(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    return (text + "\n").encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    """numpy scalars and arrays and mappings as values that JSON knows."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written to model.json")


def _document_checksum(document: Mapping[str, Any]) -> str:
    """The checksum of model.json: of its content without the checksum itself, which is part of the file."""
    content = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(_serialized(content)).hexdigest()


def _fingerprint(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


# --- reading ------------------------------------------------------------------------------------------------------


def identity(directory: Path) -> object:
    """What changes when the model in `directory` is replaced: which directory and which files there are."""
    found: list[tuple[int, ...] | None] = []
    for path in (directory, *(directory / name for name in _FILES)):
        try:
            state = path.stat()
            of_file = (state.st_mtime_ns, state.st_size) if path != directory else ()
            found.append((state.st_dev, state.st_ino, *of_file))
        except (OSError, ValueError):
            found.append(None)
    return found


class _Files:
    """The files of one directory, which stays the same one even if another takes its place meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor: int | None = None

    def __enter__(self) -> _Files:
        if os.open in os.supports_dir_fd and self.directory.is_dir():
            self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def read(self, name: str, *, size: int | None = None) -> bytes:
        """A file's content; FileNotFoundError where there is no regular file.

        With `size`, a file of another size is not read: ArtifactError.
        """
        with open(self._path(name), "rb", opener=self._open) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            if size is not None and state.st_size != size:
                problem = f"the file has {state.st_size} bytes, but {size} were saved"
                raise _damaged(problem, self.directory / name)
            return file.read()

    def _path(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.directory / name)

    def _open(self, path: str, flags: int) -> int:
        # Without O_NONBLOCK a pipe in the place of the file would make this wait.
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), dir_fd=self._descriptor)


def _read_document(files: _Files) -> dict[str, Any]:
    path = files.directory / MODEL_FILE
    try:
        content = files.read(MODEL_FILE)
    except (FileNotFoundError, NotADirectoryError):
        directory = files.directory
        left = leftovers(directory.absolute())
        remedy = f"An interrupted save left the earlier model whole as {left[0]}: rename it back." if left else None
        raise ArtifactError(located(f"{str(directory)!r} is not a model directory", remedy=remedy)) from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"model.json is cut short or edited: {error}", path) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ArtifactError(located("this model.json was not written by anyfm", file=str(path)))
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        problem = f"this anyfm {__version__} reads model format {FORMAT_VERSION}, not {version!r}"
        remedy = f"The model was written by anyfm {document.get('anyfm_version')}: install that version or a later one."
        raise ArtifactError(located(problem, file=str(path), remedy=remedy))
    if document.get("sha256") != _document_checksum(document):
        raise _damaged("model.json was edited after it was saved", path)
    return document


def _read_contents(
    files: _Files, expected: Mapping[str, Mapping[str, Any]], *, with_vocabulary: bool
) -> dict[str, bytes]:
    """The files beside model.json, each read once and checked."""
    if set(expected) != {WEIGHTS_FILE, *([VOCABULARY_FILE] if with_vocabulary else [])}:
        raise _damaged(f"model.json lists the files {sorted(expected)}", files.directory / MODEL_FILE)
    contents = {}
    for name, fingerprint in expected.items():
        path = files.directory / name
        try:
            contents[name] = files.read(name, size=fingerprint["bytes"])
        except FileNotFoundError:
            raise _damaged("a file of the model is missing", path) from None
        if _fingerprint(contents[name]) != fingerprint:
            raise _damaged("the file was edited or damaged: its checksum differs from the one saved", path)
    return contents


def _assemble(directory: Path, document: Mapping[str, Any], contents: dict[str, bytes]) -> Artifact:
    import safetensors.numpy

    path = directory / MODEL_FILE
    if document["model"] not in MODELS:
        problem = f"this anyfm {__version__} knows the models {', '.join(MODELS)}, not {document['model']!r}"
        version = document["anyfm_version"]
        remedy = f"Install the package of the model, or anyfm {version}, which wrote it, or a later one."
        raise ArtifactError(located(problem, file=str(path), remedy=remedy))
    kind, n_features = MODELS[document["model"]], document["n_features"]
    _check_description(document)
    try:
        _check_memory(2 * len(contents[WEIGHTS_FILE]))
        parameters = safetensors.numpy.load(contents.pop(WEIGHTS_FILE))
        feature_ids = parameters.pop(FEATURE_IDS, None)
        if len(parameters["linear"]) != n_features:  # what else is read grows with their number
            raise ArtifactError(got("there must be a weight for each feature", n_features=n_features))
        return Artifact(
            model=kind(kind.settings_type.from_mapping(document["settings"])).resolve(document["n_fields"]),
            parameters={name: array for name, array in parameters.items() if not name.startswith(DEVIATION)},
            feature_ids=feature_ids,
            deviations={
                name.removeprefix(DEVIATION): array for name, array in parameters.items() if name.startswith(DEVIATION)
            },
            n_features=n_features,
            n_fields=document["n_fields"],
            encoder=_read_encoder(document["encoder"], contents.get(VOCABULARY_FILE, b""), n_features),
            training=document["training"],
            metrics=document["metrics"],
            history=document["history"],
            anyfm_version=document["anyfm_version"],
        )
    except ForkedProcessError:
        raise
    except (AnyfmError, ValueError, safetensors.SafetensorError) as error:
        raise _damaged(f"the saved model cannot be used: {error}", directory) from error


def _check_description(document: Mapping[str, Any]) -> None:
    """Raise TypeError unless what is shown of a model has the types that showing it needs."""
    from anyfm.training.history import History

    metrics, history = document["metrics"], document["history"]
    if not all(isinstance(part, dict) for part in (document["training"], metrics, history, metrics.get("valid", {}))):
        raise TypeError("training, metrics and history must be mappings")
    if not all(isinstance(value, (int, float)) for value in metrics.get("valid", {}).values()):
        raise TypeError("metrics must be numbers")
    for value in metrics.get("valid", {}).values():
        float(value)  # else too large to be shown
    if history:
        History.from_dict(history)


def _read_encoder(described: Mapping[str, Any] | None, vocabulary: bytes, n_features: int) -> Encoder | None:
    if described is None:
        return None
    from anyfm.data.encoder import Encoder, read_vocabulary

    return Encoder.from_parts(described, read_vocabulary(vocabulary, file=VOCABULARY_FILE, n_features=n_features))


def _damaged(problem: str, file: str | Path) -> ArtifactError:
    remedy = "Copy the directory again from its source, or train again."
    return ArtifactError(located(problem, file=str(file), remedy=remedy))
