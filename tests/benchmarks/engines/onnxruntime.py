"""Benchmark cases with ONNX Runtime: prediction only, all optimizations enabled."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from agreement import check_detections, check_logits
from classifiers import PREDICTIONS
from inputs import PREDICTION_SIZE, crowd, noise, pictures, regions

VERSIONS = {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__}


def load(path: Path, **sizes: int) -> onnxruntime.InferenceSession:
    """Load a graph with its free dimensions set."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    options.inter_op_num_threads = 1
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def classify(name: str, count: int, folder: Path) -> Callable[[], Any]:
    session = load(folder / f"{name}.onnx", N=count)
    given = {"images": noise(8, 3, 224, 224)[:count]}

    def call() -> Any:
        return session.run(["logits"], given)[0]

    check_logits(call(), name, folder)
    return call


def detect(name: str, folder: Path) -> Callable[[], Any]:
    session = load(folder / f"{name}.onnx")
    given = {"images": pictures(1, PREDICTION_SIZE)}

    def call() -> None:
        session.run(["boxes", "labels", "scores"], given)

    check_detections(session.run(["boxes", "labels", "scores"], given), name, folder)
    return call


def align_regions(folder: Path) -> Callable[[], Any]:
    session = load(folder / "roi_align.onnx")
    given = {
        "features": noise(1, 256, 200, 200),
        "regions": regions(1000, 800),
        "images": np.zeros(1000, np.int64),
    }

    def call() -> Any:
        return session.run(None, given)[0]

    np.testing.assert_allclose(call(), np.load(folder / "regions_expected.npy"), atol=1e-4)
    return call


def suppress(folder: Path) -> Callable[[], Any]:
    session = load(folder / "nms.onnx")
    boxes, scores = crowd(10_000, 800)
    given = {"boxes": boxes[None], "scores": scores[None, None]}

    def call() -> Any:
        return session.run(None, given)[0]

    np.testing.assert_array_equal(call()[:, 2], np.load(folder / "crowd_expected.npy"))
    return call


CASES: dict[str, Callable[[Path], Callable[[], Any]]] = {
    **{case: partial(classify, *given) for case, given in PREDICTIONS.items()},
    "Faster R-CNN R50-FPN prediction, 800 x 800": partial(detect, "faster_rcnn"),
    "RetinaNet R50-FPN prediction, 800 x 800": partial(detect, "retinanet"),
    "RoIAlign of 1,000 regions": align_regions,
    "NMS of 10,000 boxes": suppress,
}
