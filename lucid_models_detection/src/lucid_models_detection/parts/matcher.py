"""Assignment of anchors and regions to ground-truth boxes by their overlap.

Ren et al. 2015, "Faster R-CNN" (arXiv:1506.01497), section 3.1.2.
M ground-truth boxes, A anchors (or regions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

__all__ = ["Matcher"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Matcher:
    """Match each anchor to the ground-truth box with the greatest overlap.

    Parameters
    ----------
    high : float
        Minimum overlap of a match.  Faster R-CNN's first stage uses 0.7, RetinaNet 0.5.
    low : float
        Overlap below which an anchor is background; between ``low`` and ``high`` it is
        ignored.  Faster R-CNN's first stage uses 0.3, RetinaNet 0.4.
    allow_low_quality_matches : bool, default False
        Match also the anchors with the greatest overlap of some ground-truth box (ties
        included), however small, so that no box is left unmatched.  Such an anchor is
        matched to the box that *it* overlaps most, as in torchvision.  An overlap of zero is
        no match; torchvision matches every anchor of an image to a box that no anchor
        overlaps.

    Attributes
    ----------
    BACKGROUND : int
        -1, in place of a match: overlap below ``low``.
    IGNORED : int
        -2, in place of a match: overlap between ``low`` and ``high``.

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
            raise ValueError(
                f"low: expected at most high, {self.high:g}, since an anchor below low is "
                f"background, got {self.low:g}"
            )

    def __call__(self, quality: Array) -> Array:
        """Match anchors to ground-truth boxes.

        Parameters
        ----------
        quality : numpy.ndarray
            (M, A) overlaps; with M = 0 every anchor is background.

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
        nearest = quality.argmax(axis=0)
        best = quality.max(axis=0)
        matches = np.where(best >= self.high, nearest, self.IGNORED)
        matches[best < self.low] = self.BACKGROUND
        if self.allow_low_quality_matches:
            highest = quality.max(axis=1, keepdims=True)
            favorites = ((quality == highest) & (highest > 0)).any(axis=0)
            matches[favorites] = nearest[favorites]
        return matches
