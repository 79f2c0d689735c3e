"""Boxes as offsets from other boxes: what the two regression layers learn.

Girshick et al. 2014, "Rich feature hierarchies" (arXiv:1311.2524), appendix C,
with the weights of Fast R-CNN's public code.

A box (x1, y1, x2, y2) with centre (x, y), width w and height h, seen from an
anchor (or a region) with centre (xa, ya), width wa and height ha, is

    dx = (x - xa) / wa      dw = log(w / wa)
    dy = (y - ya) / ha      dh = log(h / ha)

times one weight each, which brings the four to a similar variance.

Plain arrays in, plain arrays out; a tensor is taken as its array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.autograd import ArrayLike, array_of

__all__ = ["MAX_LOG_SCALE", "BoxCoder", "decode", "encode"]

Array = np.ndarray[Any, np.dtype[Any]]
Weights = tuple[float, float, float, float]

#: Largest log scale that is believed: no region grows to more than 1000 / 16 of its anchor.
#: Keeps ``exp`` of an untrained layer from overflowing.
MAX_LOG_SCALE = math.log(1000.0 / 16)


def encode(boxes: ArrayLike, anchors: ArrayLike, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> Array:
    """Offsets that turn each anchor into its box.

    Parameters
    ----------
    boxes, anchors : array_like
        (..., 4) xyxy, broadcast against each other; of positive width and height.
    weights : tuple of float, default (1, 1, 1, 1)
        Of dx, dy, dw and dh.

    Returns
    -------
    numpy.ndarray
        (..., 4) offsets dx, dy, dw, dh.
    """
    x, y, w, h = _centre_and_size(array_of(boxes))
    xa, ya, wa, ha = _centre_and_size(array_of(anchors))
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


def decode(deltas: ArrayLike, anchors: ArrayLike, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> Array:
    """Boxes that offsets make of anchors; undoes :func:`encode`.

    Parameters
    ----------
    deltas, anchors : array_like
        (..., 4) offsets and (..., 4) xyxy, broadcast against each other.
    weights : tuple of float, default (1, 1, 1, 1)
        As given to :func:`encode`.

    Returns
    -------
    numpy.ndarray
        (..., 4) xyxy.  Log scales above ``MAX_LOG_SCALE`` count as that.
    """
    deltas = array_of(deltas)
    anchors = array_of(anchors)
    anchors = anchors.astype(np.result_type(deltas, np.float32), copy=False)
    xa, ya, wa, ha = _centre_and_size(anchors)
    wx, wy, ww, wh = weights
    # An untrained or broken network may say anything; callers drop what is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        x = deltas[..., 0] / wx * wa + xa
        y = deltas[..., 1] / wy * ha + ya
        half_w = 0.5 * (np.exp(np.minimum(deltas[..., 2] / ww, MAX_LOG_SCALE)) * wa)
        half_h = 0.5 * (np.exp(np.minimum(deltas[..., 3] / wh, MAX_LOG_SCALE)) * ha)
        result = np.empty((*half_w.shape, 4), half_w.dtype)
        np.subtract(x, half_w, out=result[..., 0])
        np.subtract(y, half_h, out=result[..., 1])
        np.add(x, half_w, out=result[..., 2])
        np.add(y, half_h, out=result[..., 3])
    return result


def _centre_and_size(boxes: Array) -> tuple[Array, Array, Array, Array]:
    w = boxes[..., 2] - boxes[..., 0]
    h = boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + 0.5 * w, boxes[..., 1] + 0.5 * h, w, h


@dataclass(frozen=True)
class BoxCoder:
    """:func:`encode` and :func:`decode` with the weights of one head.

    Parameters
    ----------
    weights : tuple of float, default (1, 1, 1, 1)
        Of dx, dy, dw and dh.  The second stage uses (10, 10, 5, 5), the inverse
        of the offsets' typical standard deviations.
    """

    weights: Weights = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: ArrayLike, anchors: ArrayLike) -> Array:
        """Offsets (..., 4) that turn ``anchors`` into ``boxes``."""
        return encode(boxes, anchors, self.weights)

    def decode(self, deltas: ArrayLike, anchors: ArrayLike) -> Array:
        """Boxes (..., 4) that ``deltas`` make of ``anchors``."""
        return decode(deltas, anchors, self.weights)
