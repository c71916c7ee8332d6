"""A small builder of ONNX graphs: nodes in the order of the calls, constants named once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, ML_OPSET = 20, 4
_TYPES = {"string": TensorProto.STRING, "int64": TensorProto.INT64, "double": TensorProto.DOUBLE}
_EXTERNAL_BYTES = 1_000_000_000  # a protobuf file ends at 2 GB


class Graph:
    """An ONNX graph in the making. Methods return the names of the tensors that they add."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shared: dict[Any, str] = {}
        self._names: set[str] = set()

    def input(self, name: str, kind: str, *, is_matrix: bool) -> str:
        """An input of shape (rows,), or (rows, values) of its own."""
        shape = ["rows", f"{name} values"] if is_matrix else ["rows"]
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[kind], shape))
        self._names.add(name)
        return name

    def output(self, name: str, tensor: str) -> None:
        """A float output of shape (rows,)."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]))

    def constant(self, array: NDArray[Any] | float | list[int], dtype: Any = None) -> str:
        """A constant; lists of integers are int64, other numbers float32 unless told."""
        values = np.asarray(array, np.int64 if isinstance(array, list) and dtype is None else dtype)
        if values.dtype == np.float64 and dtype is None:
            values = values.astype(np.float32)
        key = (values.dtype.str, values.shape, values.tobytes()) if values.size <= 64 else None
        if key is None or key not in self._shared:
            name = self._fresh("constant")
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
            if key is None:
                return name
            self._shared[key] = name
        return self._shared[key]

    def add(self, kind: str, *inputs: str, domain: str = "", n_outputs: int = 1, **attributes: Any) -> Any:
        """A node; its output's name, or a list of them for several."""
        outputs = [self._fresh(kind) for _ in range(n_outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, domain=domain, **attributes))
        return outputs[0] if n_outputs == 1 else outputs

    def cast(self, tensor: str, dtype: Any) -> str:
        found: str = self.add("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        return found

    def sum(self, tensor: str, axes: list[int], *, keep: bool = False) -> str:
        found: str = self.add("ReduceSum", tensor, self.constant(axes), keepdims=int(keep))
        return found

    def unsqueeze(self, tensor: str, axes: list[int]) -> str:
        found: str = self.add("Unsqueeze", tensor, self.constant(axes))
        return found

    def labels(self, tensor: str, keys: NDArray[Any] | list[str], ids: NDArray[np.int64], default: int) -> str:
        """What a look-up of every element finds, int64; ``ai.onnx.ml.LabelEncoder``."""
        if isinstance(keys, list):
            attributes: dict[str, Any] = {"keys_strings": keys, "values_int64s": ids.tolist()}
        elif keys.dtype == np.int64:
            attributes = {"keys_int64s": keys.tolist(), "values_int64s": ids.tolist()}
        else:
            attributes = {"keys_tensor": numpy_helper.from_array(keys), "values_tensor": numpy_helper.from_array(ids)}
            attributes["default_tensor"] = numpy_helper.from_array(np.array([default], np.int64))
        if "default_tensor" not in attributes:
            attributes["default_int64"] = default
        found: str = self.add("LabelEncoder", tensor, domain="ai.onnx.ml", **attributes)
        return found

    def _fresh(self, kind: str) -> str:
        name = f"{kind}_{len(self._names)}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def save(self, path: str, *, name: str, description: str, metadata: dict[str, str], producer_version: str) -> None:
        """Check the graph and write it; large constants go to a second file, PATH.data."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, doc_string=description, ir_version=9)
        model.producer_name, model.producer_version = "anyfm", producer_version
        helper.set_model_props(model, metadata)
        if sum(len(each.raw_data) for each in self._constants) > _EXTERNAL_BYTES:
            onnx.save(model, path, save_as_external_data=True, location=f"{path.rpartition('/')[2]}.data")
            onnx.checker.check_model(path)
        else:
            onnx.checker.check_model(model)
            onnx.save(model, path)
