"""ResNet-50 as an ONNX graph, from torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import TensorProto

from graphs.builder import Array, Graph

_BLOCKS = (3, 4, 6, 3)


def stages(g: Graph, images: str, prefix: str = "") -> list[str]:
    """Outputs of the four stages; ``prefix`` is that of the weight names."""
    x = g.op("Relu", g.norm(g.conv(images, f"{prefix}conv1", stride=2), f"{prefix}bn1"))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    result = []
    for stage, blocks in enumerate(_BLOCKS):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            x = _bottleneck(g, x, f"{prefix}layer{stage + 1}.{block}", stride)
        result.append(x)
    return result


def _bottleneck(g: Graph, x: str, name: str, stride: int) -> str:
    shortcut = x
    if f"{name}.downsample.0.weight" in g.weights:
        shortcut = g.conv(x, f"{name}.downsample.0", stride=stride)
        shortcut = g.norm(shortcut, f"{name}.downsample.1")
    for i, conv_stride in ((1, 1), (2, stride)):
        x = g.op("Relu", g.norm(g.conv(x, f"{name}.conv{i}", stride=conv_stride), f"{name}.bn{i}"))
    x = g.norm(g.conv(x, f"{name}.conv3"), f"{name}.bn3")
    return str(g.op("Relu", g.op("Add", x, shortcut)))


def save_resnet_50(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    g = Graph(weights)
    pooled = g.op("GlobalAveragePool", stages(g, "images")[-1])
    logits = g.linear(g.op("Flatten", pooled), "fc")
    g.save(
        path,
        [("images", TensorProto.FLOAT, ("N", 3, 224, 224))],
        {logits: ("logits", TensorProto.FLOAT, ("N", 1000))},
    )
