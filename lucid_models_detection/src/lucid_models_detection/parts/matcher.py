"""Matching of anchors and proposals to ground-truth boxes.

Ren et al. 2015, "Faster R-CNN" (arXiv:1506.01497), section 3.1.2.
M ground-truth boxes, A anchors (or proposals).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

__all__ = ["Matcher"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Matcher:
    """Match each anchor to the ground-truth box with the highest IoU.

    Parameters
    ----------
    high : float
        Minimum IoU of a match.  The RPN of Faster R-CNN uses 0.7, RetinaNet 0.5.
    low : float
        IoU below which an anchor is background; between ``low`` and ``high`` it is ignored.  The
        RPN of Faster R-CNN uses 0.3, RetinaNet 0.4.
    allow_low_quality_matches : bool, default False
        Also match the anchors with the highest IoU of each ground-truth box, ties included, even
        below ``high``.  As in torchvision, such an anchor is matched to the box with which *it*
        has the highest IoU.  Unlike in torchvision, an IoU of zero is never a match.

    Attributes
    ----------
    BACKGROUND : int
        -1: IoU below ``low``.
    IGNORED : int
        -2: IoU between ``low`` and ``high``.

    Raises
    ------
    ValueError
        If ``low`` is greater than ``high``.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.parts import Matcher
    >>> matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    >>> matcher(np.array([[0.6, 0.45, 0.1, 0.0], [0.0, 0.0, 0.0, 0.2]])).tolist()
    [0, -2, -1, 1]
    """

    BACKGROUND: ClassVar[int] = -1
    IGNORED: ClassVar[int] = -2

    high: float
    low: float
    allow_low_quality_matches: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"low: expected at most {self.high:g} (high), got {self.low:g}")

    def __call__(self, quality: Array) -> Array:
        """Match anchors to ground-truth boxes.

        Parameters
        ----------
        quality : numpy.ndarray
            (M, A) IoU; with M = 0 every anchor is background.

        Returns
        -------
        numpy.ndarray
            (A,) int64: index of a ground-truth box, ``BACKGROUND`` or ``IGNORED``.
        """
        if quality.ndim != 2:
            raise ValueError(f"quality: expected shape (M, A), got {quality.shape}")
        count = quality.shape[1]
        if quality.size == 0:
            return np.full(count, self.BACKGROUND, np.int64)
        best_box = quality.argmax(axis=0)
        best_iou = quality.max(axis=0)
        matches = np.where(best_iou >= self.high, best_box, self.IGNORED)
        matches[best_iou < self.low] = self.BACKGROUND
        if self.allow_low_quality_matches:
            highest = quality.max(axis=1, keepdims=True)
            forced = ((quality == highest) & (highest > 0)).any(axis=0)
            matches[forced] = best_box[forced]
        return matches
