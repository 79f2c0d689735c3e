"""Selection of detections from dense predictions: top-k of each level, then NMS.

T_l anchors of level l, C classes, D detections of an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.autograd import ArrayLike, array_of
from lucid.nn import functional as F
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.detections import Detections
from lucid_models_detection.parts.box_coder import BoxCoder

__all__ = ["postprocess_detections", "topk_indices"]

Array = np.ndarray[Any, np.dtype[Any]]

_BOX_CODER = BoxCoder()
# Logits are compared with the threshold's less this, which is more than rounding can matter.
_LOGIT_MARGIN = 1.0


def topk_indices(scores: Array, count: int) -> Array:
    """Indices of the highest scores.

    Parameters
    ----------
    scores : numpy.ndarray
        (T,) floats.
    count : int
        Number of indices; all where there are fewer scores.

    Returns
    -------
    numpy.ndarray
        (min(count, T),) int64 by descending score, ties by index, NaN last.
    """
    negative = -scores
    if count < len(scores):
        # Only candidates are sorted: all above the count-th score, and its ties.
        limit = np.partition(negative, count - 1)[count - 1]
        candidates = np.flatnonzero(negative <= limit) if limit == limit else np.arange(len(scores))
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(negative[candidates], kind="stable")[:count]]


def postprocess_detections(
    scores: Sequence[ArrayLike],
    deltas: Sequence[ArrayLike],
    anchors: Sequence[ArrayLike],
    image_size: tuple[int, int],
    *,
    box_coder: BoxCoder = _BOX_CODER,
    score_threshold: float = 0.05,
    candidates_per_level: int = 1000,
    nms_threshold: float = 0.5,
    detections_per_image: int = 300,
    first_label: int = 0,
    from_logits: bool = False,
) -> Detections:
    """Select the detections of one image from the predictions of a one-stage detector.

    On each level, pairs of anchor and class with a score above the threshold are candidates,
    at most ``candidates_per_level`` of them.  Their boxes are decoded and clipped to the
    image; then non-maximum suppression runs within each class, over all levels.

    Parameters
    ----------
    scores : sequence of array_like
        For each level (T_l, C) scores in [0, 1], or logits.
    deltas : sequence of array_like
        For each level (T_l, 4) offsets from its anchors.
    anchors : sequence of array_like
        For each level (T_l, 4) xyxy, in pixels.
    image_size : (int, int)
        Height and width of the image, without padding.
    box_coder : BoxCoder, optional
        Decodes the offsets.
    score_threshold : float, default 0.05
        Detections need a greater score.
    candidates_per_level : int, default 1000
        Maximum number of candidates on each level.
    nms_threshold : float, default 0.5
        IoU above which a box suppresses another of its class.
    detections_per_image : int, default 300
        Maximum number of detections.
    first_label : int, default 0
        Label of the first class of ``scores``; 1 if they have no column for the background.
    from_logits : bool, default False
        Whether ``scores`` are logits.  Their sigmoids are then the scores, and are computed
        only where they may exceed the threshold.

    Returns
    -------
    Detections
        Boxes in the pixels of the image, best first.  Boxes that are not finite are dropped.

    Raises
    ------
    ValueError
        If the shapes do not fit; names the argument and the level.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.parts import postprocess_detections
    >>> anchors = np.array([[0, 0, 8, 8], [0, 0, 8, 9], [20, 20, 40, 40]])
    >>> scores = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 0.6]])
    >>> found = postprocess_detections([scores], [np.zeros((3, 4))], [anchors], (32, 32))
    >>> found["boxes"].tolist(), found["labels"].tolist()
    ([[0.0, 0.0, 8.0, 8.0], [20.0, 20.0, 32.0, 32.0]], [0, 1])
    """
    boxes, kept_scores, labels = [], [], []
    for level_scores, level_deltas, level_anchors in _levels(scores, deltas, anchors):
        anchor, column, score = _above(level_scores, score_threshold, from_logits)
        best = topk_indices(score, candidates_per_level)
        anchor = anchor[best]
        decoded = box_coder.decode(level_deltas[anchor], level_anchors[anchor])
        boxes.append(box_ops.clip(decoded, image_size))
        kept_scores.append(score[best])
        labels.append(column[best] + first_label)
    box, score, label = (np.concatenate(parts) for parts in (boxes, kept_scores, labels))
    finite = np.flatnonzero(np.isfinite(box).all(axis=1))
    kept = finite[box_ops.batched_nms(box[finite], score[finite], label[finite], nms_threshold)]
    kept = kept[:detections_per_image]
    return {
        "boxes": box[kept].astype(np.float32),
        "labels": label[kept].astype(np.int64),
        "scores": score[kept].astype(np.float32),
    }


def _above(scores: Array, threshold: float, from_logits: bool) -> tuple[Array, Array, Array]:
    """Anchor, class and score of each score above the threshold, in order."""
    least = _least_logit(threshold) if from_logits else threshold
    # The view of scores without the background has gaps, so they are not copied into one line.
    found = np.flatnonzero(scores > least)
    anchor, column = np.divmod(found, max(1, scores.shape[1]))
    score = scores[anchor, column]
    if not from_logits:
        return anchor, column, score
    score = F.sigmoid(score).data
    above = score > threshold
    return anchor[above], column[above], score[above]


def _least_logit(threshold: float) -> float:
    """A number below all logits whose sigmoid, as it is rounded, exceeds the threshold."""
    if not 0 < threshold < 1:
        return -math.inf if threshold <= 0 else math.inf
    return math.log(threshold / (1 - threshold)) - _LOGIT_MARGIN


def _levels(
    scores: Sequence[ArrayLike], deltas: Sequence[ArrayLike], anchors: Sequence[ArrayLike]
) -> list[tuple[Array, Array, Array]]:
    if not len(scores) == len(deltas) == len(anchors) or not len(scores):
        raise ValueError(
            "expected scores, deltas and anchors of the same levels, at least one, got "
            f"{len(scores)}, {len(deltas)} and {len(anchors)} levels"
        )
    levels = []
    for i, arrays in enumerate(zip(scores, deltas, anchors, strict=True)):
        score, delta, anchor = (array_of(a) for a in arrays)
        if score.ndim != 2:
            raise ValueError(f"scores[{i}]: expected shape (T, C), got {score.shape}")
        for name, array in (("deltas", delta), ("anchors", anchor)):
            if array.shape != (len(score), 4):
                raise ValueError(
                    f"{name}[{i}]: expected shape ({len(score)}, 4), one row for each row of "
                    f"scores[{i}], got {array.shape}"
                )
        levels.append((score, delta, anchor))
    return levels
