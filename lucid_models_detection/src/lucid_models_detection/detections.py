"""Result of a detector for one image."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

__all__ = ["Detections"]

Array = np.ndarray[Any, np.dtype[Any]]


class Detections(TypedDict):
    """Detections of one image, by descending score.

    Attributes
    ----------
    boxes : numpy.ndarray
        (D, 4) float32 xyxy.
    labels : numpy.ndarray
        (D,) int64 in 1..C-1.
    scores : numpy.ndarray
        (D,) float32 in [0, 1].
    """

    boxes: Array
    labels: Array
    scores: Array
