"""Export as a directory that MLflow serves: the saved model, and the loader of its ``python_function`` flavor.

MLflow reads `MLmodel`, installs `requirements.txt` and calls `_load_pyfunc`; it is not needed to write the directory.
Source of the format: https://mlflow.org/docs/latest/ml/model/. There is no signature: MLflow's has no whole
numbers that may be missing, and no column of lists or dates as text.
"""

from __future__ import annotations

import json
import platform
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from anyfm import __version__
from anyfm.artifact import Artifact, save_artifact
from anyfm.core.atomic import replaced_file
from anyfm.core.errors import InputError, located
from anyfm.model import Model, load

_DATA = "model"


def export_mlflow(artifact: Artifact, path: str | Path) -> Path:
    """Write an MLflow model directory; ``mlflow models serve -m PATH`` serves it.

    Raises
    ------
    InputError, ArtifactError
        The directory holds something else, or cannot be written.
    """
    directory = Path(path)
    if directory.exists() and any(directory.iterdir()) and not (directory / "MLmodel").is_file():
        raise InputError(located("this is no MLflow model, so it is not replaced by one", file=str(path)))
    artifact.require_encoder()
    requirements = [f"anyfm=={__version__}", "pandas>=2"]
    python = platform.python_version()
    document: dict[str, Any] = {
        "artifact_path": "model",
        "flavors": {
            "python_function": {
                "loader_module": "anyfm.export.mlflow",
                "data": _DATA,
                "python_version": python,
                "env": {"virtualenv": "python_env.yaml"},
            }
        },
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "metadata": {"anyfm_model": artifact.model.name},
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_artifact(artifact, directory / _DATA)
        files = {
            "requirements.txt": "\n".join(requirements) + "\n",
            "python_env.yaml": _yaml({"python": python, "dependencies": ["-r requirements.txt"]}),
            "MLmodel": _yaml(document),
        }
        for name, text in files.items():
            with replaced_file(directory / name) as file:
                file.write(text.encode())
    except OSError as error:
        raise InputError(located(f"the model cannot be written: {error.strerror or error}", file=str(path))) from error
    return directory


def _yaml(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"  # JSON is YAML


class _Predictor:
    """What MLflow calls."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """The probability of the positive class, or the predicted number, of every row of a table."""
        return self._model.predict(model_input)


def _load_pyfunc(path: str, model_config: Any = None) -> _Predictor:
    """Load the saved model; MLflow calls this by name."""
    return _Predictor(load(path))
