"""RetinaNet on ResNet-50 with a feature pyramid, in prediction, as one ONNX graph.

torchvision's ``retinanet_resnet50_fpn`` on one square image (3, S, S) in [0, 1] whose side
is a multiple of 32: the best 1000 scores of each level into suppression, 300 detections.
The best are chosen by their logits, in the order of the convolution's output, which saves
ONNX Runtime a reordering and a sigmoid of millions of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from graphs.builder import Array, Graph
from graphs.detection import decode, pyramid, save_detector, suppress_classes
from lucid_models_detection.parts.anchor_generator import AnchorGenerator

_TOP_N, _DETECTIONS = 1000, 300
_IOU, _MIN_SCORE = 0.5, 0.05
#: Three sizes per octave, rounded down, on P3 to P7.
_SIZES = [[int(base * 2 ** (i / 3)) for i in range(3)] for base in (32, 64, 128, 256, 512)]
_RATIOS = [(0.5, 1.0, 2.0)] * len(_SIZES)


def head(g: Graph, level: str, name: str, output: str) -> str:
    """Output (1, A * K, H, W) of one head."""
    hidden = level
    for i in range(4):
        hidden = g.op("Relu", g.conv(hidden, f"head.{name}.conv.{i}.0"))
    return g.conv(hidden, f"head.{name}.{output}")


def candidates(g: Graph, level: str, anchors: Array, side: int, size: int) -> tuple[str, str, str]:
    """Boxes (M, 4), labels (M,) and scores (M,) of the best predictions of one level."""
    places = side * side
    num_anchors = len(anchors) // places
    logits = head(g, level, "classification_head", "cls_logits")
    deltas = head(g, level, "regression_head", "bbox_reg")
    num_classes = len(g.weights["head.classification_head.cls_logits.bias"]) // num_anchors
    top = g.integers(min(_TOP_N, len(anchors) * num_classes))
    best, index = g.op("TopK", g.op("Reshape", logits, g.integers(-1)), top, outputs=2)
    scores = g.op("Sigmoid", best)
    likely = g.op("Greater", scores, g.constant(_MIN_SCORE))
    scores, index = (g.op("Compress", v, likely, axis=0) for v in (scores, index))
    # Scores are ordered by anchor, class and position, anchors by position and anchor.
    place, row = g.op("Mod", index, g.integers(places)), g.op("Div", index, g.integers(places))
    label = g.op("Mod", row, g.integers(num_classes))
    anchor = g.op("Div", row, g.integers(num_classes))
    row = g.op("Add", g.op("Mul", place, g.integers(num_anchors)), anchor)
    deltas = g.op("Transpose", deltas, perm=[0, 2, 3, 1])
    chosen = g.op("Gather", g.op("Reshape", deltas, g.integers(-1, 4)), row, axis=0)
    start = g.op("Gather", g.constant(anchors), row, axis=0)
    return decode(g, chosen, start, (1.0,) * 4, size), label, scores


def save_retinanet(weights: Mapping[str, Array], path: Path, size: int) -> None:
    """Write the detector for one image (1, 3, size, size)."""
    g = Graph(weights)
    levels = pyramid(g, "images", range(1, 4))
    for name in ("p6", "p7"):
        last = levels[-1] if name == "p6" else g.op("Relu", levels[-1])
        levels.append(g.conv(last, f"backbone.fpn.extra_blocks.{name}", stride=2))
    sides = [size // 8, size // 16, size // 32]
    for _ in range(2):
        sides.append((sides[-1] + 1) // 2)
    generate = AnchorGenerator(_SIZES, _RATIOS)
    anchors = generate([(side, side) for side in sides], (size, size))
    found = [candidates(g, *level, size) for level in zip(levels, anchors, sides, strict=True)]
    boxes, labels, scores = (g.op("Concat", *parts, axis=0) for parts in zip(*found, strict=True))
    detections = suppress_classes(g, boxes, labels, scores, _IOU, _DETECTIONS, size)
    save_detector(g, detections, path, size)
