"""Postprocessing of one-stage detectors: top-k per level, decoding and NMS.

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
# Logits this far below the threshold's are rejected before the sigmoid; covers rounding.
_LOGIT_MARGIN = 1.0


def topk_indices(scores: Array, count: int) -> Array:
    """Return the int64 indices of the ``count`` highest scores (T,), ties by index, NaN last."""
    negative = -scores
    if count < len(scores):
        # Sort only the scores from the count-th on, ties included.
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
    """Decode and filter the predictions of a one-stage detector for one image.

    On each level, the (anchor, class) pairs with a score above the threshold are candidates, at
    most ``candidates_per_level`` of them.  Their boxes are decoded and clipped to the image, then
    filtered by non-maximum suppression per class over all levels.

    Parameters
    ----------
    scores : sequence of array_like
        For each level (T_l, C) scores in [0, 1], or logits.
    deltas : sequence of array_like
        For each level (T_l, 4) deltas from the anchors.
    anchors : sequence of array_like
        For each level (T_l, 4) xyxy, in pixels.
    image_size : (int, int)
        Height and width of the image without padding.
    box_coder : BoxCoder, optional
        Decodes the deltas.
    score_threshold : float, default 0.05
        Scores must be greater.
    candidates_per_level : int, default 1000
        Maximum number of candidates per level.
    nms_threshold : float, default 0.5
        IoU above which a box suppresses another of its class.
    detections_per_image : int, default 300
        Maximum number of detections.
    first_label : int, default 0
        Label of the first class of ``scores``; 1 if they have no background column.
    from_logits : bool, default False
        Whether ``scores`` are logits; their sigmoids are the scores.

    Returns
    -------
    Detections
        Boxes in pixels of the image, by descending score.  Non-finite boxes are dropped.

    Raises
    ------
    ValueError
        If shapes or the numbers of levels do not match.

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
    minimum = _minimum_logit(threshold) if from_logits else threshold
    # Not ravel(): scores without the background column are not contiguous.
    found = np.flatnonzero(scores > minimum)
    anchor, column = np.divmod(found, max(1, scores.shape[1]))
    score = scores[anchor, column]
    if not from_logits:
        return anchor, column, score
    score = F.sigmoid(score).data
    above = score > threshold
    return anchor[above], column[above], score[above]


def _minimum_logit(threshold: float) -> float:
    """Lower bound of the logits whose rounded sigmoid exceeds the threshold."""
    if not 0 < threshold < 1:
        return -math.inf if threshold <= 0 else math.inf
    return math.log(threshold / (1 - threshold)) - _LOGIT_MARGIN


def _levels(
    scores: Sequence[ArrayLike], deltas: Sequence[ArrayLike], anchors: Sequence[ArrayLike]
) -> list[tuple[Array, Array, Array]]:
    if not len(scores) == len(deltas) == len(anchors) or not len(scores):
        raise ValueError(
            "expected scores, deltas and anchors for the same levels, at least one, got "
            f"{len(scores)}, {len(deltas)} and {len(anchors)}"
        )
    levels = []
    for i, arrays in enumerate(zip(scores, deltas, anchors, strict=True)):
        score, delta, anchor = (array_of(a) for a in arrays)
        if score.ndim != 2:
            raise ValueError(f"scores[{i}]: expected shape (T, C), got {score.shape}")
        for name, array in (("deltas", delta), ("anchors", anchor)):
            if array.shape != (len(score), 4):
                raise ValueError(
                    f"{name}[{i}]: expected shape ({len(score)}, 4) (one row per row of "
                    f"scores[{i}]), got {array.shape}"
                )
        levels.append((score, delta, anchor))
    return levels
