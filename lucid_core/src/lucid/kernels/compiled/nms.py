"""Greedy non-maximum suppression: one sort, then one pass of comparisons per kept box."""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import Array, dense, kernel
from lucid.kernels.reference.nms import check_boxes, order_by_score


@kernel
def _suppress(x1: Array, y1: Array, x2: Array, y2: Array, limit: float, suppressed: Array) -> None:
    """Mark suppressed boxes in ``suppressed``; the boxes are sorted by descending score."""
    count = len(suppressed)
    area = (x2 - x1) * (y2 - y1)
    zero = x1.dtype.type(0)
    for i in range(count):
        if suppressed[i]:
            continue
        left, top, right, bottom, own = x1[i], y1[i], x2[i], y2[i], area[i]
        # Unsigned indices need no wraparound, so that the loop vectorizes.
        for j in range(np.uintp(i + 1), np.uintp(count)):
            width = (right if right < x2[j] else x2[j]) - (left if left > x1[j] else x1[j])
            height = (bottom if bottom < y2[j] else y2[j]) - (top if top > y1[j] else y1[j])
            overlap = (width if width > zero else zero) * (height if height > zero else zero)
            # NaN (0 / 0, or a NaN coordinate) compares false.
            suppress = overlap / (own + area[j] - overlap) > limit
            suppressed[j] = suppressed[j] | (1 if suppress else 0)


def nms(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """See `lucid.kernels.reference.nms.nms`."""
    check_boxes(boxes, scores, iou_threshold)
    dtype = np.dtype(np.float32 if boxes.dtype == np.float32 else np.float64)
    order = order_by_score(scores)
    x1, y1, x2, y2 = dense(boxes[order].T, dtype)
    suppressed = np.zeros(len(order), np.int32)  # as wide as float32, to vectorize
    _suppress(x1, y1, x2, y2, dtype.type(iou_threshold), suppressed)
    kept: Array = order[suppressed == 0]
    return kept
