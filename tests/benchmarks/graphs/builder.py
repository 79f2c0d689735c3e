"""A builder of ONNX graphs: each call appends a node and returns the names of its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]
#: Name, ONNX element type and shape.
Value = tuple[str, int, tuple[int | str, ...]]

# An older opset, which all recent versions of ONNX Runtime support.
_OPSET, _IR_VERSION = 18, 9
#: Default epsilon of the normalizations.
_EPSILON = 1e-5


class Graph:
    """A graph under construction.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray, optional
        Weights with torchvision's names; those that nodes use are written.
    """

    def __init__(self, weights: Mapping[str, Array] | None = None) -> None:
        self.weights = weights or {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node and return the name or names of its outputs."""
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype)
        name = f"constant_{len(self.initializers)}"
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def weight(self, name: str) -> str:
        if name not in self.initializers:
            array = np.ascontiguousarray(self.weights[name])
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def conv(self, x: str, name: str, *, stride: int = 1, groups: int = 1) -> str:
        """Convolution with the weights and bias of a layer, with same padding."""
        parameters = [self.weight(f"{name}.weight")]
        if f"{name}.bias" in self.weights:
            parameters.append(self.weight(f"{name}.bias"))
        size = self.weights[f"{name}.weight"].shape[-1]
        return str(
            self.op(
                "Conv",
                x,
                *parameters,
                kernel_shape=[size, size],
                strides=[stride, stride],
                pads=[size // 2] * 4,
                group=groups,
            )
        )

    def norm(self, x: str, name: str, epsilon: float = _EPSILON) -> str:
        """Batch normalization with running statistics; ONNX Runtime folds it into the conv."""
        parts = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.weight(f"{name}.{part}") for part in parts]
        return str(self.op("BatchNormalization", x, *parameters, epsilon=epsilon))

    def linear(self, x: str, name: str) -> str:
        parameters = [self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return str(self.op("Gemm", x, *parameters, transB=1))

    def save(self, path: Path, inputs: Sequence[Value], outputs: Mapping[str, Value]) -> None:
        """Write the graph.

        Parameters
        ----------
        path
            Of the ``.onnx`` file.
        inputs
            Name, ONNX element type and shape; a text in a shape is a size that is known
            when the graph is loaded, or runs.
        outputs
            By the name in the graph the same of each output.
        """
        for name, (label, *_) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [name], [label]))
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs.values()],
            list(self.initializers.values()),
        )
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        onnx.save(model, path)
