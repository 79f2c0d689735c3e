"""Encoding of boxes as deltas from anchors, the targets of box regression.

Girshick et al. 2014, "Rich feature hierarchies" (arXiv:1311.2524), appendix C.

A box with center (x, y), width w and height h has, relative to an anchor (xa, ya, wa, ha),

    dx = (x - xa) / wa      dw = log(w / wa)
    dy = (y - ya) / ha      dh = log(h / ha)

each multiplied by a weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.autograd import ArrayLike, array_of

__all__ = ["MAX_LOG_SCALE", "Weights", "decode", "encode"]

Array = np.ndarray[Any, np.dtype[Any]]
Weights = tuple[float, float, float, float]

#: Default upper bound of dw and dh, against overflow in ``exp``.
MAX_LOG_SCALE = math.log(1000.0 / 16)


def encode(boxes: ArrayLike, anchors: ArrayLike, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> Array:
    """Encode boxes as deltas from anchors.

    Parameters
    ----------
    boxes, anchors : array_like
        (..., 4) xyxy of positive width and height; they broadcast.
    weights : tuple of float, default (1, 1, 1, 1)
        Factors of dx, dy, dw and dh.

    Returns
    -------
    numpy.ndarray
        (..., 4) deltas dx, dy, dw, dh.
    """
    x, y, w, h = _center_and_size(array_of(boxes))
    xa, ya, wa, ha = _center_and_size(array_of(anchors))
    wx, wy, ww, wh = weights
    return np.stack(
        [
            wx * (x - xa) / wa,
            wy * (y - ya) / ha,
            ww * np.log(w / wa),
            wh * np.log(h / ha),
        ],
        axis=-1,
    )


def decode(
    deltas: ArrayLike,
    anchors: ArrayLike,
    weights: Weights = (1.0, 1.0, 1.0, 1.0),
    max_log_scale: float = MAX_LOG_SCALE,
) -> Array:
    """Decode deltas to boxes, the inverse of :func:`encode`.

    Parameters
    ----------
    deltas, anchors : array_like
        (..., 4) deltas and (..., 4) xyxy; they broadcast.
    weights : tuple of float, default (1, 1, 1, 1)
        As in :func:`encode`.
    max_log_scale : float, default log(1000 / 16)
        Upper bound of dw and dh.

    Returns
    -------
    numpy.ndarray
        (..., 4) xyxy.
    """
    deltas = array_of(deltas)
    anchors = array_of(anchors)
    anchors = anchors.astype(np.result_type(deltas, np.float32), copy=False)
    xa, ya, wa, ha = _center_and_size(anchors)
    wx, wy, ww, wh = weights
    # Deltas may be anything; callers drop non-finite boxes.
    with np.errstate(over="ignore", invalid="ignore"):
        x = deltas[..., 0] / wx * wa + xa
        y = deltas[..., 1] / wy * ha + ya
        half_w = 0.5 * (np.exp(np.minimum(deltas[..., 2] / ww, max_log_scale)) * wa)
        half_h = 0.5 * (np.exp(np.minimum(deltas[..., 3] / wh, max_log_scale)) * ha)
        result = np.empty((*half_w.shape, 4), half_w.dtype)
        np.subtract(x, half_w, out=result[..., 0])
        np.subtract(y, half_h, out=result[..., 1])
        np.add(x, half_w, out=result[..., 2])
        np.add(y, half_h, out=result[..., 3])
    return result


def _center_and_size(boxes: Array) -> tuple[Array, Array, Array, Array]:
    w = boxes[..., 2] - boxes[..., 0]
    h = boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + 0.5 * w, boxes[..., 1] + 0.5 * h, w, h
