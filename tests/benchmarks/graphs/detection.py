"""Shared parts of detector graphs: feature pyramid, box decoding, NMS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto

from graphs.builder import Graph, Value
from graphs.resnet import stages

_MAX_LOG_SCALE = math.log(1000.0 / 16)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pyramid(g: Graph, images: str, indices: Sequence[int]) -> list[str]:
    """Feature pyramid on the given ResNet stages, finest level first, of images in [0, 1]."""
    colors = [g.constant(np.reshape(v, (1, 3, 1, 1))) for v in (_MEAN, _STD)]
    x = g.op("Div", g.op("Sub", images, colors[0]), colors[1])
    features = stages(g, x, "backbone.body.")
    twice = g.constant([1, 1, 2, 2])
    levels: list[str] = []
    merged = ""
    for i, stage in reversed(list(enumerate(indices))):
        lateral = g.conv(features[stage], f"backbone.fpn.inner_blocks.{i}.0")
        if merged:
            enlarged = g.op(
                "Resize",
                merged,
                "",
                twice,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
            lateral = g.op("Add", lateral, enlarged)
        merged = lateral
        levels.insert(0, g.conv(merged, f"backbone.fpn.layer_blocks.{i}.0"))
    return levels


def decode(g: Graph, deltas: str, boxes: str, weights: Sequence[float], size: int) -> str:
    """Decode deltas (M, 4) relative to boxes (M, 4), clipped to the image."""
    x1, y1, x2, y2 = g.op("Split", boxes, outputs=4, axis=1, num_outputs=4)
    scaled = g.op("Div", deltas, g.constant(weights)) if set(weights) != {1.0} else deltas
    dx, dy, dw, dh = g.op("Split", scaled, outputs=4, axis=1, num_outputs=4)
    half, limit = g.constant(0.5), g.constant(_MAX_LOG_SCALE)
    low, high = [], []
    for start, stop, shift, scale in ((x1, x2, dx, dw), (y1, y2, dy, dh)):
        length = g.op("Sub", stop, start)
        middle = g.op("Add", start, g.op("Mul", half, length))
        middle = g.op("Add", middle, g.op("Mul", shift, length))
        grown = g.op("Mul", g.op("Exp", g.op("Min", scale, limit)), length)
        reach = g.op("Mul", half, grown)
        low.append(g.op("Sub", middle, reach))
        high.append(g.op("Add", middle, reach))
    result = g.op("Concat", *low, *high, axis=1)
    return str(g.op("Clip", result, g.constant(0), g.constant(size)))


def suppress(g: Graph, boxes: str, scores: str, iou: float) -> str:
    """Indices of the boxes that NMS keeps, best first."""
    kept = g.op(
        "NonMaxSuppression",
        g.op("Unsqueeze", boxes, g.integers(0)),
        g.op("Unsqueeze", scores, g.integers(0, 1)),
        g.integers(1 << 30),
        g.constant([iou]),
    )
    return str(g.op("Gather", kept, g.constant(2, np.int64), axis=1))


def suppress_classes(
    g: Graph, boxes: str, labels: str, scores: str, iou: float, count: int, size: int
) -> tuple[str, str, str]:
    """The best ``count`` boxes, labels and scores after NMS per class."""
    # Shift boxes per class, so that one NMS handles all classes, as torchvision does.
    apart = g.op("Mul", g.op("Cast", labels, to=TensorProto.FLOAT), g.constant(size + 1))
    spread = g.op("Add", boxes, g.op("Unsqueeze", apart, g.integers(1)))
    kept = suppress(g, spread, scores, iou)
    kept = g.op("Slice", kept, g.integers(0), g.integers(count))
    boxes, labels, scores = (g.op("Gather", v, kept, axis=0) for v in (boxes, labels, scores))
    return boxes, labels, scores


def save_detector(g: Graph, detections: tuple[str, str, str], path: Path, size: int) -> None:
    """Write a graph from one square image to boxes (D, 4), labels (D,) and scores (D,)."""
    boxes, labels, scores = detections
    outputs: dict[str, Value] = {
        boxes: ("boxes", TensorProto.FLOAT, ("D", 4)),
        labels: ("labels", TensorProto.INT64, ("D",)),
        scores: ("scores", TensorProto.FLOAT, ("D",)),
    }
    g.save(path, [("images", TensorProto.FLOAT, (1, 3, size, size))], outputs)
