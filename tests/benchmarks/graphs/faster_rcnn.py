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
from onnx import TensorProto

from graphs.builder import Array, Graph, Value
from graphs.resnet import stages
from lucid_models_detection import torchvision_config
from lucid_models_detection.parts.anchors import AnchorGenerator

_TOP_N, _PROPOSALS, _DETECTIONS = 1000, 1000, 100
_RPN_IOU, _BOX_IOU, _MIN_SCORE = 0.7, 0.5, 0.05
_MAX_LOG_SCALE = math.log(1000.0 / 16)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pyramid(g: Graph, images: str) -> list[str]:
    """P2 to P6."""
    colours = [g.constant(np.reshape(v, (1, 3, 1, 1))) for v in (_MEAN, _STD)]
    x = g.op("Div", g.op("Sub", images, colours[0]), colours[1])
    features = stages(g, x, "backbone.body.")
    twice = g.constant([1, 1, 2, 2])
    levels: list[str] = []
    merged = ""
    for i in reversed(range(4)):
        lateral = g.conv(features[i], f"backbone.fpn.inner_blocks.{i}.0")
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
    levels.append(g.op("MaxPool", levels[-1], kernel_shape=[1, 1], strides=[2, 2]))
    return levels


def decode(g: Graph, deltas: str, boxes: str, weights: Sequence[float], size: int) -> str:
    """Boxes (M, 4) that offsets (M, 4) make of others (M, 4), clipped to the image."""
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
    """Indices of the boxes kept, best first."""
    kept = g.op(
        "NonMaxSuppression",
        g.op("Unsqueeze", boxes, g.integers(0)),
        g.op("Unsqueeze", scores, g.integers(0, 1)),
        g.integers(1 << 30),
        g.constant([iou]),
    )
    return str(g.op("Gather", kept, g.constant(2, np.int64), axis=1))


def propose(g: Graph, levels: Sequence[str], size: int) -> str:
    """(R, 4): the best proposals of all levels."""
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
    """Regions (R, 256, 7, 7), level by level, and the proposals in that order."""
    x1, y1, x2, y2 = g.op("Split", proposals, outputs=4, axis=1, num_outputs=4)
    area = g.op("Mul", g.op("Sub", x2, x1), g.op("Sub", y2, y1))
    # floor(4 + log2(sqrt(area) / 224)), kept between 2 and 5
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
    # Of each region all classes but the background, class 0.
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
    # Far apart for each class, so that one suppression serves all; torchvision does the same.
    apart = g.op("Mul", g.op("Cast", label, to=TensorProto.FLOAT), g.constant(size + 1))
    spread = g.op("Add", boxes, g.op("Unsqueeze", apart, g.integers(1)))
    kept = suppress(g, spread, scores, _BOX_IOU)
    kept = g.op("Slice", kept, g.integers(0), g.integers(_DETECTIONS))
    boxes, labels, scores = (g.op("Gather", v, kept, axis=0) for v in (boxes, label, scores))
    return boxes, labels, scores


def save_faster_rcnn(weights: Mapping[str, Array], path: Path, size: int) -> None:
    """Write the detector of one image (1, 3, size, size)."""
    g = Graph(weights)
    levels = pyramid(g, "images")
    proposals = propose(g, levels, size)
    pooled, ordered = pool(g, levels[:-1], proposals)
    boxes, labels, scores = detect(g, pooled, ordered, size)
    outputs: dict[str, Value] = {
        boxes: ("boxes", TensorProto.FLOAT, ("D", 4)),
        labels: ("labels", TensorProto.INT64, ("D",)),
        scores: ("scores", TensorProto.FLOAT, ("D",)),
    }
    g.save(path, [("images", TensorProto.FLOAT, (1, 3, size, size))], outputs)
