"""ResNet and ResNeXt as ONNX graphs, from torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import TensorProto

from graphs.builder import Array, Graph


def stages(g: Graph, images: str, prefix: str = "") -> list[str]:
    """Outputs of the four stages; ``prefix`` is that of the weight names."""
    x = g.op("Relu", g.norm(g.conv(images, f"{prefix}conv1", stride=2), f"{prefix}bn1"))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    result = []
    for stage in range(1, 5):
        block = 0
        while f"{prefix}layer{stage}.{block}.conv1.weight" in g.weights:
            stride = 2 if block == 0 and stage > 1 else 1
            x = _block(g, x, f"{prefix}layer{stage}.{block}", stride)
            block += 1
        result.append(x)
    return result


def _block(g: Graph, x: str, name: str, stride: int) -> str:
    """Basic block of two convolutions, or bottleneck of three, whose second one may have groups."""
    shapes = [
        g.weights[f"{name}.conv{i}.weight"].shape
        for i in (1, 2, 3)
        if f"{name}.conv{i}.weight" in g.weights
    ]
    shortcut = x
    if f"{name}.downsample.0.weight" in g.weights:
        shortcut = g.conv(x, f"{name}.downsample.0", stride=stride)
        shortcut = g.norm(shortcut, f"{name}.downsample.1")
    strided = len(shapes) - 1  # the 3 x 3 convolution: the first of two, the second of three
    channels = shapes[0][1]
    for i, (outputs, inputs, *_) in enumerate(shapes, start=1):
        groups = channels // inputs
        x = g.conv(x, f"{name}.conv{i}", stride=stride if i == strided else 1, groups=groups)
        x = g.norm(x, f"{name}.bn{i}")
        if i < len(shapes):
            x = g.op("Relu", x)
        channels = outputs
    return str(g.op("Relu", g.op("Add", x, shortcut)))


def save_resnet(weights: Mapping[str, Array], path: Path) -> None:
    """Write the classifier for (N, 3, 224, 224)."""
    g = Graph(weights)
    pooled = g.op("GlobalAveragePool", stages(g, "images")[-1])
    logits = g.linear(g.op("Flatten", pooled), "fc")
    g.save(
        path,
        [("images", TensorProto.FLOAT, ("N", 3, 224, 224))],
        {logits: ("logits", TensorProto.FLOAT, ("N", 1000))},
    )
