"""Faster R-CNN on ResNet-50 with a feature pyramid, in prediction, as one ONNX graph.

torchvision's ``fasterrcnn_resnet50_fpn`` on one square image (3, S, S) in [0, 1] whose
side is a multiple of 32: 1000 anchors a level into suppression, 1000 proposals, 100
detections.  Where ONNX has an operator it is used; the second stage keeps regions
level by level, as RoIAlign leaves them, which saves ONNX Runtime a reordering.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from graphs.builder import Array, Graph
from graphs.detection import decode, pyramid, save_detector, suppress, suppress_classes
from lucid_models_detection import torchvision_config
from lucid_models_detection.parts.anchor_generator import AnchorGenerator

_TOP_N, _PROPOSALS, _DETECTIONS = 1000, 1000, 100
_RPN_IOU, _BOX_IOU, _MIN_SCORE = 0.7, 0.5, 0.05


def propose(g: Graph, levels: Sequence[str], size: int) -> str:
    """Best proposals (R, 4) of all levels."""
    config = torchvision_config()
    ratios = [config["aspect_ratios"]] * len(levels)
    sizes = [size // 4, size // 8, size // 16, size // 32, (size // 32 + 1) // 2]
    anchors = AnchorGenerator(config["anchor_sizes"], ratios)([(s, s) for s in sizes], (size, size))
    flat, rows = g.integers(-1), g.integers(-1, 4)
    boxes, scores = [], []
    for level, of_level in zip(levels, anchors, strict=True):
        hidden = g.op("Relu", g.conv(level, "rpn.head.conv.0.0"))
        last = {"perm": [0, 2, 3, 1]}
        logits = g.op("Transpose", g.conv(hidden, "rpn.head.cls_logits"), **last)
        deltas = g.op("Transpose", g.conv(hidden, "rpn.head.bbox_pred"), **last)
        top = g.integers(min(_TOP_N, len(of_level)))
        best, index = g.op("TopK", g.op("Reshape", logits, flat), top, outputs=2)
        chosen = g.op("Gather", g.op("Reshape", deltas, rows), index, axis=0)
        start = g.op("Gather", g.constant(of_level), index, axis=0)
        decoded = decode(g, chosen, start, (1.0,) * 4, size)
        kept = suppress(g, decoded, best, _RPN_IOU)
        boxes.append(g.op("Gather", decoded, kept, axis=0))
        scores.append(g.op("Gather", best, kept, axis=0))
    together = g.op("Concat", *scores, axis=0)
    count = g.op("Min", g.op("Shape", together), g.integers(_PROPOSALS))
    _, index = g.op("TopK", together, count, outputs=2)
    return str(g.op("Gather", g.op("Concat", *boxes, axis=0), index, axis=0))


def pool(g: Graph, levels: Sequence[str], proposals: str) -> tuple[str, str]:
    """RoI features (R, 256, 7, 7) in the order of levels, and the proposals in that order."""
    x1, y1, x2, y2 = g.op("Split", proposals, outputs=4, axis=1, num_outputs=4)
    area = g.op("Mul", g.op("Sub", x2, x1), g.op("Sub", y2, y1))
    # floor(4 + log2(sqrt(area) / 224)), clipped to 2..5
    octave = g.op("Div", g.op("Log", g.op("Sqrt", area)), g.constant(math.log(2)))
    level = g.op("Floor", g.op("Add", octave, g.constant(4 - math.log2(224) + 1e-6)))
    level = g.op("Clip", level, g.constant(2), g.constant(5))
    level = g.op("Reshape", level, g.integers(-1))
    pooled, ordered = [], []
    for i, features in enumerate(levels):
        members = g.op("NonZero", g.op("Equal", level, g.constant(2 + i)))
        members = g.op("Reshape", members, g.integers(-1))
        boxes = g.op("Gather", proposals, members, axis=0)
        image = g.op("Mul", members, g.constant(0, np.int64))
        pooled.append(
            g.op(
                "RoiAlign",
                features,
                boxes,
                image,
                coordinate_transformation_mode="output_half_pixel",
                output_height=7,
                output_width=7,
                sampling_ratio=2,
                spatial_scale=1 / 2 ** (2 + i),
            )
        )
        ordered.append(boxes)
    return g.op("Concat", *pooled, axis=0), g.op("Concat", *ordered, axis=0)


def detect(g: Graph, pooled: str, proposals: str, size: int) -> tuple[str, str, str]:
    """Boxes (D, 4), labels (D,) and scores (D,), best first."""
    hidden = g.op("Flatten", pooled)
    for name in ("fc6", "fc7"):
        hidden = g.op("Relu", g.linear(hidden, f"roi_heads.box_head.{name}"))
    logits = g.linear(hidden, "roi_heads.box_predictor.cls_score")
    deltas = g.linear(hidden, "roi_heads.box_predictor.bbox_pred")
    probabilities = g.op("Softmax", logits, axis=1)
    # All classes of each region except background, class 0.
    objects = g.op(
        "Slice", probabilities, g.integers(1), g.integers(np.iinfo(np.int64).max), g.integers(1)
    )
    found = g.op("NonZero", g.op("Greater", objects, g.constant(_MIN_SCORE)))
    region, label = g.op("Split", found, outputs=2, axis=0, num_outputs=2)
    region = g.op("Reshape", region, g.integers(-1))
    label = g.op("Add", g.op("Reshape", label, g.integers(-1)), g.integers(1))
    pair = g.op("Concat", *(g.op("Unsqueeze", v, g.integers(1)) for v in (region, label)), axis=1)
    scores = g.op("GatherND", probabilities, pair)
    by_class = g.op("Reshape", deltas, g.integers(0, -1, 4))
    chosen = g.op("GatherND", by_class, pair)
    start = g.op("Gather", proposals, region, axis=0)
    boxes = decode(g, chosen, start, (10.0, 10.0, 5.0, 5.0), size)
    return suppress_classes(g, boxes, label, scores, _BOX_IOU, _DETECTIONS, size)


def save_faster_rcnn(weights: Mapping[str, Array], path: Path, size: int) -> None:
    """Write the detector for one image (1, 3, size, size)."""
    g = Graph(weights)
    levels = pyramid(g, "images", range(4))
    levels.append(g.op("MaxPool", levels[-1], kernel_shape=[1, 1], strides=[2, 2]))
    proposals = propose(g, levels, size)
    pooled, ordered = pool(g, levels[:-1], proposals)
    boxes, labels, scores = detect(g, pooled, ordered, size)
    save_detector(g, (boxes, labels, scores), path, size)
