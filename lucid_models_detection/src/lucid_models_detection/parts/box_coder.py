"""Encoding of boxes as regression deltas, and decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid import Tensor
from lucid.autograd import ArrayLike, array_of, record
from lucid_models_detection.box_encoding import MAX_LOG_SCALE, Weights, decode, encode

__all__ = ["BoxCoder"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class BoxCoder:
    """Encode boxes as deltas from anchors, and decode deltas to boxes.

    Parameters
    ----------
    weights : tuple of float, default (1, 1, 1, 1)
        Positive factors of dx, dy, dw and dh.  The box head of Faster R-CNN uses (10, 10, 5, 5).
    max_log_scale : float, default log(1000 / 16)
        Upper bound of dw and dh in :meth:`decode`.

    Raises
    ------
    ValueError
        If there are not four positive finite weights, or ``max_log_scale`` is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.parts import BoxCoder
    >>> coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    >>> deltas = coder.encode(np.array([[2.0, 0, 6, 4]]), np.array([[0.0, 0, 4, 4]]))
    >>> deltas.tolist()
    [[5.0, 0.0, 0.0, 0.0]]
    >>> coder.decode(deltas, np.array([[0.0, 0, 4, 4]])).tolist()
    [[2.0, 0.0, 6.0, 4.0]]
    """

    weights: Weights = (1.0, 1.0, 1.0, 1.0)
    max_log_scale: float = MAX_LOG_SCALE

    def __post_init__(self) -> None:
        if len(self.weights) != 4 or not all(0 < w < np.inf for w in self.weights):
            raise ValueError(
                f"weights: expected four positive numbers (dx, dy, dw, dh), got {self.weights!r}"
            )
        if np.isnan(self.max_log_scale):
            raise ValueError("max_log_scale: expected a number, got nan")

    def encode(self, boxes: ArrayLike, anchors: ArrayLike) -> Array:
        """Encode boxes (..., 4) xyxy as deltas (..., 4) from anchors (..., 4) xyxy."""
        return encode(boxes, anchors, self.weights)

    def decode(self, deltas: ArrayLike, anchors: ArrayLike) -> Array:
        """Decode deltas (..., 4) from anchors (..., 4) xyxy to boxes (..., 4) xyxy."""
        return decode(deltas, anchors, self.weights, self.max_log_scale)

    def decode_tensor(self, deltas: Tensor, anchors: ArrayLike) -> Tensor:
        """Decode with gradients, for losses on boxes such as :func:`giou_loss`.

        Parameters
        ----------
        deltas : Tensor
            (..., 4); receives gradients.
        anchors : array_like
            (..., 4) xyxy, of the shape of ``deltas``.

        Returns
        -------
        Tensor
            (..., 4) xyxy.  Where dw or dh exceeds ``max_log_scale``, its gradient is 0.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        offsets, base = deltas.data, array_of(anchors)
        if offsets.shape != base.shape or base.shape[-1:] != (4,):
            raise ValueError(
                f"expected deltas and anchors of the same shape (..., 4), got {offsets.shape} and "
                f"{base.shape}"
            )
        boxes = self.decode(offsets, base)
        weights = np.asarray(self.weights, boxes.dtype)
        shift = (base[..., 2:] - base[..., :2]) / weights[:2]
        free = offsets[..., 2:] / weights[2:] <= self.max_log_scale
        grow = 0.5 * (boxes[..., 2:] - boxes[..., :2]) / weights[2:] * free

        def vjp(g: Array) -> Array:
            low, high = g[..., :2], g[..., 2:]
            gradient = np.concatenate([(low + high) * shift, (high - low) * grow], axis=-1)
            return gradient.astype(offsets.dtype, copy=False)

        return record(boxes, (deltas, vjp))
