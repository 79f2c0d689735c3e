"""Who is responsible for which object: assigning anchors and regions to ground truth.

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
    """Assigns to each anchor the ground-truth box that it overlaps most, if enough.

    Parameters
    ----------
    high : float
        Overlap from which on an anchor is matched.
    low : float
        Overlap below which it is background; between the two it is neither.
    allow_low_quality_matches : bool, default False
        Match also, whatever the overlap, the anchors that overlap some ground-truth
        box more than all other anchors do (ties included), so that no box goes
        unmatched.  Such an anchor gets the box that *it* overlaps most, as in
        torchvision.  An overlap of zero is no match; torchvision matches every
        anchor of the image to a box that none of them touches.

    Attributes
    ----------
    BACKGROUND : int
        -1, in place of a match: overlap below ``low``.
    IGNORED : int
        -2: overlap between ``low`` and ``high``.
    """

    BACKGROUND: ClassVar[int] = -1
    IGNORED: ClassVar[int] = -2

    high: float
    low: float
    allow_low_quality_matches: bool = False

    def __call__(self, quality: Array) -> Array:
        """Match.

        Parameters
        ----------
        quality : numpy.ndarray
            (M, A) overlaps; M = 0 makes every anchor background.

        Returns
        -------
        numpy.ndarray
            (A,) int64: index of a ground-truth box, ``BACKGROUND`` or ``IGNORED``.
        """
        count = quality.shape[1]
        if quality.size == 0:
            return np.full(count, self.BACKGROUND, np.int64)
        nearest = quality.argmax(axis=0)
        best = quality.max(axis=0)
        matches = np.where(best >= self.high, nearest, self.IGNORED)
        matches[best < self.low] = self.BACKGROUND
        if self.allow_low_quality_matches:
            highest = quality.max(axis=1, keepdims=True)
            favourites = ((quality == highest) & (highest > 0)).any(axis=0)
            matches[favourites] = nearest[favourites]
        return matches
