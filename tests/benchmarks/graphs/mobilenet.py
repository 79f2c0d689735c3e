"""MobileNetV3-Large as an ONNX graph, from torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import TensorProto

from graphs.builder import Array, Graph

_EPSILON = 1e-3
#: Index of the last block, and the blocks with stride 2; Hardswish from the seventh on.
_BLOCKS, _STRIDED, _HARDSWISH = 15, (2, 4, 7, 13), 7


def save_mobilenet_v3_large(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    g = Graph(weights)
    x = _unit(g, "images", "features.0", stride=2, activation="HardSwish")
    for i in range(1, _BLOCKS + 1):
        activation = "HardSwish" if i >= _HARDSWISH else "Relu"
        x = _block(g, x, f"features.{i}.block", 2 if i in _STRIDED else 1, activation)
    x = _unit(g, x, f"features.{_BLOCKS + 1}", activation="HardSwish")
    pooled = g.op("Flatten", g.op("GlobalAveragePool", x))
    logits = g.linear(g.op("HardSwish", g.linear(pooled, "classifier.0")), "classifier.3")
    g.save(
        path,
        [("images", TensorProto.FLOAT, ("N", 3, 224, 224))],
        {logits: ("logits", TensorProto.FLOAT, ("N", 1000))},
    )


def _unit(
    g: Graph, x: str, name: str, *, stride: int = 1, depthwise: bool = False, activation: str = ""
) -> str:
    """Convolution, normalization and activation."""
    x = g.conv(x, f"{name}.0", stride=stride, depthwise=depthwise)
    x = g.norm(x, f"{name}.1", _EPSILON)
    return str(g.op(activation, x)) if activation else x


def _block(g: Graph, x: str, name: str, stride: int, activation: str) -> str:
    """Expansion, depthwise convolution, squeeze-excitation and projection."""
    hidden, part = x, 0
    if g.weights[f"{name}.0.0.weight"].shape[2] == 1:
        hidden = _unit(g, hidden, f"{name}.0", activation=activation)
        part = 1
    hidden = _unit(
        g, hidden, f"{name}.{part}", stride=stride, depthwise=True, activation=activation
    )
    part += 1
    if f"{name}.{part}.fc1.weight" in g.weights:
        hidden = _excite(g, hidden, f"{name}.{part}")
        part += 1
    hidden = _unit(g, hidden, f"{name}.{part}")
    first, last = (g.weights[f"{name}.{i}.0.weight"].shape for i in (0, part))
    inputs = first[1] if first[2] == 1 else first[0]
    return str(g.op("Add", hidden, x)) if stride == 1 and last[0] == inputs else hidden


def _excite(g: Graph, x: str, name: str) -> str:
    squeezed = g.op("Relu", g.conv(g.op("GlobalAveragePool", x), f"{name}.fc1"))
    gate = g.op("HardSigmoid", g.conv(squeezed, f"{name}.fc2"), alpha=1 / 6, beta=0.5)
    return str(g.op("Mul", x, gate))
