"""MobileNetV2 and MobileNetV3 as ONNX graphs, from torchvision's weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from onnx import TensorProto

from graphs.builder import Array, Graph

#: Epsilon of MobileNetV3's normalizations.
_EPSILON = 1e-3
#: Of MobileNetV2: index of the last block, and the blocks with stride 2.
_V2_BLOCKS, _V2_STRIDED = 17, (2, 4, 7, 14)


def save_mobilenet_v2(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    g = Graph(weights)
    x = _relu6(g, g.norm(g.conv("images", "features.0.0", stride=2), "features.0.1"))
    for i in range(1, _V2_BLOCKS + 1):
        x = _inverted_residual(g, x, f"features.{i}.conv", 2 if i in _V2_STRIDED else 1)
    last = f"features.{_V2_BLOCKS + 1}"
    x = _relu6(g, g.norm(g.conv(x, f"{last}.0"), f"{last}.1"))
    logits = g.linear(g.op("Flatten", g.op("GlobalAveragePool", x)), "classifier.1")
    _save(g, logits, path)


def save_mobilenet_v3_large(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    _save_v3(weights, path, blocks=15, strided=(2, 4, 7, 13), hardswish=7)


def save_mobilenet_v3_small(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    _save_v3(weights, path, blocks=11, strided=(1, 2, 4, 9), hardswish=4)


def _save_v3(
    weights: Mapping[str, Array],
    path: Path,
    *,
    blocks: int,
    strided: Collection[int],
    hardswish: int,
) -> None:
    """Write a MobileNetV3 whose blocks have Hardswish from block ``hardswish`` on."""
    g = Graph(weights)
    x = _unit(g, "images", "features.0", stride=2, activation="HardSwish")
    for i in range(1, blocks + 1):
        activation = "HardSwish" if i >= hardswish else "Relu"
        x = _block(g, x, f"features.{i}.block", 2 if i in strided else 1, activation)
    x = _unit(g, x, f"features.{blocks + 1}", activation="HardSwish")
    pooled = g.op("Flatten", g.op("GlobalAveragePool", x))
    logits = g.linear(g.op("HardSwish", g.linear(pooled, "classifier.0")), "classifier.3")
    _save(g, logits, path)


def _save(g: Graph, logits: str, path: Path) -> None:
    g.save(
        path,
        [("images", TensorProto.FLOAT, ("N", 3, 224, 224))],
        {logits: ("logits", TensorProto.FLOAT, ("N", 1000))},
    )


def _relu6(g: Graph, x: str) -> str:
    return str(g.op("Clip", x, g.constant(0.0), g.constant(6.0)))


def _inverted_residual(g: Graph, x: str, name: str, stride: int) -> str:
    """Expansion, depthwise convolution and projection of MobileNetV2."""
    hidden, part = x, 0
    if f"{name}.3.weight" in g.weights:
        hidden = _relu6(g, g.norm(g.conv(x, f"{name}.0.0"), f"{name}.0.1"))
        part = 1
    channels = len(g.weights[f"{name}.{part}.0.weight"])
    hidden = g.conv(hidden, f"{name}.{part}.0", stride=stride, groups=channels)
    hidden = _relu6(g, g.norm(hidden, f"{name}.{part}.1"))
    hidden = g.norm(g.conv(hidden, f"{name}.{part + 1}"), f"{name}.{part + 2}")
    inputs = g.weights[f"{name}.0.0.weight"].shape[1] if part else channels
    outputs = len(g.weights[f"{name}.{part + 1}.weight"])
    return str(g.op("Add", hidden, x)) if stride == 1 and inputs == outputs else hidden


def _unit(
    g: Graph, x: str, name: str, *, stride: int = 1, groups: int = 1, activation: str = ""
) -> str:
    """Convolution, normalization and activation."""
    x = g.norm(g.conv(x, f"{name}.0", stride=stride, groups=groups), f"{name}.1", _EPSILON)
    return str(g.op(activation, x)) if activation else x


def _block(g: Graph, x: str, name: str, stride: int, activation: str) -> str:
    """Expansion, depthwise convolution, squeeze-excitation and projection."""
    hidden, part = x, 0
    if g.weights[f"{name}.0.0.weight"].shape[2] == 1:
        hidden = _unit(g, hidden, f"{name}.0", activation=activation)
        part = 1
    channels = len(g.weights[f"{name}.{part}.0.weight"])
    hidden = _unit(
        g, hidden, f"{name}.{part}", stride=stride, groups=channels, activation=activation
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
