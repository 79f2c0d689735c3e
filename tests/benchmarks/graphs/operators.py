"""Single operators as ONNX graphs."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto

from graphs.builder import Graph


def save_roi_align(path: Path) -> None:
    """Write RoIAlign of R regions, 7 x 7, on one level with stride 4."""
    g = Graph()
    pooled = g.op(
        "RoiAlign",
        "features",
        "regions",
        "images",
        coordinate_transformation_mode="output_half_pixel",
        output_height=7,
        output_width=7,
        sampling_ratio=2,
        spatial_scale=0.25,
    )
    inputs = [
        ("features", TensorProto.FLOAT, (1, 256, 200, 200)),
        ("regions", TensorProto.FLOAT, ("R", 4)),
        ("images", TensorProto.INT64, ("R",)),
    ]
    g.save(path, inputs, {pooled: ("pooled", TensorProto.FLOAT, ("R", 256, 7, 7))})


def save_nms(path: Path) -> None:
    """Write NMS of M boxes with an IoU threshold of 0.5."""
    g = Graph()
    kept = g.op("NonMaxSuppression", "boxes", "scores", g.integers(1 << 30), g.constant([0.5]))
    inputs = [
        ("boxes", TensorProto.FLOAT, (1, "M", 4)),
        ("scores", TensorProto.FLOAT, (1, 1, "M")),
    ]
    g.save(path, inputs, {kept: ("kept", TensorProto.INT64, ("K", 3))})
