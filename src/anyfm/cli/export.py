"""``anyfm export``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from anyfm.cli.options import AsJson, ModelPath, option
from anyfm.cli.output import Output
from anyfm.core.errors import MissingDependencyError, SettingError, got

FORMATS = ("onnx", "mlflow", "libfm", "libffm")


def export(
    model: ModelPath,
    to: Annotated[str, option("Output", "FORMAT", f"One of {', '.join(FORMATS)}.")],
    out: Annotated[Path, option("Output", "PATH", "The file, or for mlflow the directory, to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a saved model in the format of other software.

    onnx: raw text and numbers in, the probability out. mlflow: a directory for `mlflow models serve`. libfm, libffm:
    their text models, with PATH.vocabulary for `anyfm convert`. docs/export.md says what each can hold.

    Examples:
    anyfm export model --to onnx --out model.onnx
    anyfm export model --to mlflow --out mlflow-model
    """
    from anyfm.artifact import load_artifact

    if to not in FORMATS:
        raise SettingError(got(f"--to must be one of {', '.join(FORMATS)}", to=to))
    output, began = Output(as_json=as_json), time.perf_counter()
    artifact = load_artifact(model)
    if to == "onnx":
        try:
            from anyfm.export.onnx import export_onnx as write
        except ImportError as error:
            raise MissingDependencyError(f'--to onnx needs {error.name}: pip install "anyfm[onnx]"') from error
    elif to == "mlflow":
        from anyfm.export.mlflow import export_mlflow as write
    elif to == "libfm":
        from anyfm.export.text_weights import export_libfm as write
    else:
        from anyfm.export.text_weights import export_libffm as write
    written = write(artifact, out)
    output.facts([("model", artifact.model.title), ("written to", str(written))])
    seconds = time.perf_counter() - began
    output.finish({"model": artifact.model.name, "format": to, "out": str(written), "seconds": seconds})
