"""The Open Inference Protocol, version 2, over JSON: tensors to rows, and predictions to tensors.

Source: https://github.com/kserve/open-inference-protocol. Strings are BYTES. Beyond it, null is a missing value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from anyfm import __version__
from anyfm.core.errors import InputError, got, nearest_name
from anyfm.serving.models import Served, value_types

DATATYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), (int,)),
    **dict.fromkeys(("FP16", "FP32", "FP64"), (float, int)),
    "BYTES": (str,),
}
_OF_TYPES = {"int": "INT64", "float": "FP64", "bool": "BOOL"}


class Tensor(BaseModel):
    """An input of a request."""

    model_config = ConfigDict(strict=True)
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any]


class RequestedOutput(BaseModel):
    """An output that a request asks for."""

    model_config = ConfigDict(strict=True)
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """The body of a request for inference."""

    model_config = ConfigDict(strict=True)
    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[Tensor] = Field(min_length=1)
    outputs: list[RequestedOutput] | None = None


def server_metadata() -> dict[str, Any]:
    return {"name": "anyfm", "version": __version__, "extensions": []}


def output_name(served: Served) -> str:
    return "probability" if served.model.task.is_classification else "prediction"


def model_metadata(served: Served, versions: Sequence[str]) -> dict[str, Any]:
    """Name, versions, inputs and outputs of a model."""
    inputs = [
        {"name": name, "datatype": _OF_TYPES.get(kind, "BYTES"), "shape": [-1, -1] if kind == "tags" else [-1]}
        for name, kind in value_types(served).items()
    ]
    outputs = [{"name": output_name(served), "datatype": "FP32", "shape": [-1]}]
    platform = f"anyfm_{served.model.name}"
    return {
        "name": served.name,
        "versions": list(versions),
        "platform": platform,
        "inputs": inputs,
        "outputs": outputs,
    }


def rows_of(request: InferRequest, served: Served) -> list[dict[str, Any]]:
    """The rows that the inputs of a request hold, one column each.

    Raises
    ------
    InputError
        An input has another shape, type or number of rows than it says or than the others, or one is absent.
    """
    kinds = value_types(served)
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise InputError(got("every input must have a name of its own", name=tensor.name))
        columns[tensor.name] = _column(tensor, is_tags=kinds.get(tensor.name) == "tags")
    for name in kinds:
        if name not in columns:
            near = nearest_name(name, [other for other in columns if other not in kinds])
            hint = f". Did you mean {near!r}?" if near else ". Give null for a missing value"
            raise InputError(f"the model needs the input {name!r}{hint}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(got("all inputs must have the same number of rows", **{"rows by input": lengths}))
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _column(tensor: Tensor, *, is_tags: bool) -> list[Any]:
    where = f"the input {tensor.name!r}"
    if tensor.datatype not in DATATYPES:
        raise InputError(
            got(f"the datatype of {where} must be one of {', '.join(DATATYPES)}", datatype=tensor.datatype)
        )
    shape = tensor.shape
    if not 1 <= len(shape) <= 2 or any(size < 0 for size in shape):
        raise InputError(got(f"the shape of {where} must be [rows] or [rows, values]", shape=shape[:8]))
    width = shape[1] if len(shape) == 2 else 1
    if width != 1 and not is_tags:
        raise InputError(got(f"{where} must hold one value in each row", shape=shape))
    data: list[Any] = tensor.data
    if any(type(value) is list for value in data):
        data = [inner for value in data for inner in (value if type(value) is list else [value])]
    if len(data) != math.prod(shape):
        raise InputError(
            got(f"the data of {where} must have {math.prod(shape)} values, as its shape says", n=len(data))
        )
    allowed = DATATYPES[tensor.datatype]
    for row, value in enumerate(data):
        if value is not None and type(value) not in allowed:
            raise InputError(f"the data of {where} must be {tensor.datatype}, but value {row + 1} is {value!r:.60}")
    if len(shape) == 1:
        return data
    rows = [data[at : at + width] for at in range(0, len(data), width)] if width else [[] for _ in range(shape[0])]
    return [[value for value in row if value is not None] for row in rows] if is_tags else [row[0] for row in rows]


def infer_response(request: InferRequest, served: Served, predictions: np.ndarray[Any, Any]) -> Mapping[str, Any]:
    """Predictions as the answer to a request.

    Raises
    ------
    InputError
        The request asks for an output that the model does not have.
    """
    name = output_name(served)
    for output in request.outputs or ():
        if output.name != name:
            raise InputError(got(f"the model has the output {name!r}", output=output.name))
    output_tensor = {"name": name, "datatype": "FP32", "shape": [len(predictions)], "data": predictions.tolist()}
    answer: dict[str, Any] = {"model_name": served.name, "model_version": served.version, "outputs": [output_tensor]}
    return {**answer, "id": request.id} if request.id is not None else answer
