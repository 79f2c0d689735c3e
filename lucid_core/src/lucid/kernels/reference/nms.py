"""Greedy non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def check_boxes(boxes: Array, scores: Array, iou_threshold: float) -> None:
    """Raise ValueError unless there is one score per box and the threshold is at least 0."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            "expected boxes of shape (M, 4) and scores of shape (M,), "
            f"got {boxes.shape} and {scores.shape} (nms)"
        )
    if not iou_threshold >= 0:
        raise ValueError(f"expected iou_threshold of at least 0, got {iou_threshold} (nms)")


def order_by_score(scores: Array) -> Array:
    """Return indices by descending score, ties in index order, NaN last."""
    return np.argsort(-scores.astype(np.float64), kind="stable")


def nms(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """Keep the boxes that overlap no kept box of a higher score by more than a threshold.

    Parameters
    ----------
    boxes : array (M, 4)
        x1, y1, x2, y2.
    scores : array (M,)
    iou_threshold : float
        A box is suppressed if its intersection over union with a kept box of a higher score
        is strictly greater.  The IoU of two boxes without area is 0.

    Returns
    -------
    int64 array (K,)
        Indices of the kept boxes by descending score, ties in index order.  A box with a NaN
        coordinate neither suppresses nor is suppressed.
    """
    check_boxes(boxes, scores, iou_threshold)
    if not np.issubdtype(boxes.dtype, np.floating):
        boxes = boxes.astype(np.float64)
    x1, y1, x2, y2 = boxes.T
    kept = []
    rest = order_by_score(scores)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        areas = (x2 - x1) * (y2 - y1)
        while rest.size:
            best, rest = rest[0], rest[1:]
            kept.append(best)
            width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
            height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
            overlap = np.maximum(width, 0) * np.maximum(height, 0)
            iou = overlap / (areas[best] + areas[rest] - overlap)
            rest = rest[~(iou > iou_threshold)]  # NaN (0 / 0) compares false
    return np.array(kept, np.int64)
