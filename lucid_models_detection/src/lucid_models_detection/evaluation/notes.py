"""What a reader of evaluation results must know about limits and thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COCO_LIMIT", "LOW_SCORE", "largest_count", "threshold_notes"]

#: Largest number of detections of a class in an image that COCO's protocol counts.
COCO_LIMIT = 100

#: Without a score threshold, some of _MANY detections score less than LOW_SCORE.
_MANY, LOW_SCORE = 20, 0.2


def largest_count(labels: Iterable[NDArray[Any]]) -> int:
    """Largest number of equal labels in one image.

    Parameters
    ----------
    labels : iterable of (D,) array of int
        Labels of each image.
    """
    return max((int(np.unique(x, return_counts=True)[1].max(initial=0)) for x in labels), default=0)


def threshold_notes(detections: int, lowest_score: float) -> tuple[str, ...]:
    """Note that a score threshold may have removed detections.

    Parameters
    ----------
    detections : int
        Number of detections.
    lowest_score : float
        Lowest of their scores.
    """
    if detections < _MANY or not lowest_score >= LOW_SCORE:
        return ()
    return (
        f"no detection scores below {lowest_score:.2f}; if a score threshold, such as the "
        "detector's score_threshold, left others out, mAP and recall are too low",
    )
