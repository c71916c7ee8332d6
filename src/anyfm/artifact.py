"""The saved model: a directory of three plain files, none of which holds code.

``model.json`` says what the model is (format version, settings, schema, metrics, checksums), ``weights.safetensors``
holds the parameters and ``vocabulary.parquet`` the values of every field. Equal artifacts are equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from anyfm import __version__
from anyfm.core.atomic import leftovers, replaced_directory
from anyfm.core.errors import AnyfmError, ArtifactError, got, located
from anyfm.models import MODELS, BaseModel

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoder

FORMAT = "anyfm-model"
FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
VOCABULARY_FILE = "vocabulary.parquet"


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
            if array.shape != spec.shape or array.dtype != np.float32:
                rule = f"the parameter {name} must be float32 of shape {spec.shape}"
                raise ArtifactError(got(rule, shape=array.shape, dtype=array.dtype.name))
            if not np.isfinite(array).all():
                raise ArtifactError(f"the parameter {name} holds a value that is not a finite number")
        encoder = self.encoder
        if encoder is not None and (encoder.n_features, encoder.n_fields) != (self.n_features, self.n_fields):
            rule = f"the encoder must have {self.n_features} features in {self.n_fields} fields"
            raise ArtifactError(got(rule, n_features=encoder.n_features, n_fields=encoder.n_fields))

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
        target = Path(path).resolve()
        refuse_to_replace(target, overwrite=overwrite)
        with replaced_directory(target) as fresh:
            _write_files(artifact, fresh)
    except OSError as error:
        raise ArtifactError(
            located(
                f"the model cannot be saved: {error.strerror or error}",
                file=str(path),
                remedy="What was there before is untouched. Make room or choose another directory.",
            )
        ) from error
    return target


def load_artifact(path: str | Path) -> Artifact:
    """Read the model directory `path`, checking every file against its checksum.

    Raises
    ------
    ArtifactError
        There is no model, it was written by a newer version, or one of its files is missing, cut short or edited;
        the text names the file and the remedy.
    """
    directory = Path(path)
    try:
        document = _read_document(directory)
        _check_files(directory, document["files"], with_vocabulary=document["encoder"] is not None)
        return _assemble(directory, document)
    except OSError as error:
        raise _damaged(f"the model cannot be read: {error.strerror or error}", error.filename or directory) from error
    except ArtifactError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
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
    others = {entry.name for entry in target.iterdir()} - {MODEL_FILE, WEIGHTS_FILE, VOCABULARY_FILE}
    if others:
        problem = f"besides the model the directory holds {min(others)!r}, which saving would delete"
        raise ArtifactError(located(problem, file=str(target), remedy=remedy))


# --- writing ------------------------------------------------------------------------------------------------------


def _write_files(artifact: Artifact, directory: Path) -> None:
    import safetensors.numpy

    tensors = {name: np.ascontiguousarray(array) for name, array in artifact.parameters.items()}
    _write(directory / WEIGHTS_FILE, safetensors.numpy.save(tensors))
    written = [WEIGHTS_FILE]
    if artifact.encoder is not None:
        from anyfm.data.encoder import write_vocabulary

        buffer = io.BytesIO()  # so that a full disk is an OSError like any other
        write_vocabulary(artifact.encoder, cast(Any, buffer))
        _write(directory / VOCABULARY_FILE, buffer.getvalue())
        written.append(VOCABULARY_FILE)
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
        "files": {name: _fingerprint(directory / name) for name in written},
    }
    document["sha256"] = _document_checksum(document)
    _write(directory / MODEL_FILE, _serialized(document))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


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


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


# --- reading ------------------------------------------------------------------------------------------------------


def _read_document(directory: Path) -> dict[str, Any]:
    path = directory / MODEL_FILE
    if not path.is_file():
        left = leftovers(directory.absolute())
        remedy = f"An interrupted save left the earlier model whole as {left[0]}: rename it back." if left else None
        raise ArtifactError(located(f"{str(directory)!r} is not a model directory", remedy=remedy))
    try:
        document = json.loads(path.read_bytes())
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


def _check_files(directory: Path, files: Mapping[str, Mapping[str, Any]], *, with_vocabulary: bool) -> None:
    if set(files) != {WEIGHTS_FILE, *([VOCABULARY_FILE] if with_vocabulary else [])}:
        raise _damaged(f"model.json lists the files {sorted(files)}", directory / MODEL_FILE)
    for name, expected in files.items():
        path = directory / name
        if not path.is_file():
            raise _damaged("a file of the model is missing", path)
        if path.stat().st_size != expected["bytes"]:
            raise _damaged(f"the file has {path.stat().st_size} bytes, but {expected['bytes']} were saved", path)
        if _fingerprint(path) != expected:
            raise _damaged("the file was edited or damaged: its checksum differs from the one saved", path)


def _assemble(directory: Path, document: Mapping[str, Any]) -> Artifact:
    import safetensors.numpy

    path = directory / MODEL_FILE
    if document["model"] not in MODELS:
        problem = f"this anyfm {__version__} knows the models {', '.join(MODELS)}, not {document['model']!r}"
        version = document["anyfm_version"]
        remedy = f"Install the package of the model, or anyfm {version}, which wrote it, or a later one."
        raise ArtifactError(located(problem, file=str(path), remedy=remedy))
    kind = MODELS[document["model"]]
    try:
        return Artifact(
            model=kind(kind.settings_type.from_mapping(document["settings"])),
            parameters=safetensors.numpy.load_file(directory / WEIGHTS_FILE),
            n_features=document["n_features"],
            n_fields=document["n_fields"],
            encoder=_read_encoder(directory, document["encoder"]),
            training=document["training"],
            metrics=document["metrics"],
            history=document["history"],
            anyfm_version=document["anyfm_version"],
        )
    except (AnyfmError, ValueError, safetensors.SafetensorError) as error:
        raise _damaged(f"the saved model cannot be used: {error}", directory) from error


def _read_encoder(directory: Path, described: Mapping[str, Any] | None) -> Encoder | None:
    if described is None:
        return None
    from anyfm.data.encoder import Encoder, read_vocabulary

    return Encoder.from_parts(described, read_vocabulary(directory / VOCABULARY_FILE))


def _damaged(problem: str, file: str | Path) -> ArtifactError:
    remedy = "Copy the directory again from its source, or train again."
    return ArtifactError(located(problem, file=str(file), remedy=remedy))
