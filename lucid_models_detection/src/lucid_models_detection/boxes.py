"""Operations on boxes as NumPy arrays.

Boxes are (x1, y1, x2, y2) in pixels, with width x2 - x1.  M and K are numbers of boxes.  Lists
and tensors are converted to arrays, other dtypes than floating point to float32.  Every function
raises ``ValueError`` for boxes of another shape than (M, 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid import Tensor, kernels
from lucid.autograd import ArrayLike, array_of
from lucid.hints import add_attribute_hints, register_hints
from lucid_models_detection.box_encoding import decode, encode
from lucid_models_detection.torchvision_names import NAMES

__all__ = [
    "area",
    "as_boxes",
    "batched_nms",
    "clip",
    "decode",
    "encode",
    "from_xywh",
    "giou",
    "iou",
    "nms",
    "remove_small_boxes",
    "resize",
    "to_xywh",
]

Array = np.ndarray[Any, np.dtype[Any]]


def as_boxes(boxes: ArrayLike, name: str = "boxes") -> Array:
    """Convert boxes to a floating-point array (M, 4); an empty array becomes (0, 4).

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, or empty.
    name : str, default "boxes"
        Name in the error.

    Returns
    -------
    numpy.ndarray
        (M, 4), in the dtype of a floating-point array or tensor of at least 32 bits, else float32.
    """
    array = array_of(boxes)
    keep = isinstance(boxes, np.ndarray | Tensor) and array.dtype.kind == "f" and array.itemsize > 2
    # Compiled kernels need the native byte order.
    array = np.asarray(array, array.dtype.newbyteorder("=") if keep else np.float32)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected shape (M, 4), xyxy, got {array.shape}")
    return array


def area(boxes: ArrayLike) -> Array:
    """Area of each box.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M,) in square pixels.
    """
    boxes = as_boxes(boxes)
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def iou(boxes1: ArrayLike, boxes2: ArrayLike) -> Array:
    """Intersection over union (IoU) of every pair.

    Parameters
    ----------
    boxes1, boxes2 : array_like
        (M, 4) and (K, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M, K) in [0, 1]; 0 if both boxes have area 0.
    """
    intersection, union = _intersection_and_union(as_boxes(boxes1), as_boxes(boxes2))
    return _ratio(intersection, union)


def giou(boxes1: ArrayLike, boxes2: ArrayLike) -> Array:
    """Generalized intersection over union of every pair.

    IoU minus the uncovered fraction of the smallest enclosing box (Rezatofighi et al. 2019,
    arXiv:1902.09630, algorithm 1).

    Parameters
    ----------
    boxes1, boxes2 : array_like
        (M, 4) and (K, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M, K) in [-1, 1].
    """
    boxes1, boxes2 = as_boxes(boxes1), as_boxes(boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    low = np.minimum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.maximum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    enclosing = np.prod(high - low, axis=-1)
    return _ratio(intersection, union) - _ratio(enclosing - union, enclosing)


def _intersection_and_union(boxes1: Array, boxes2: Array) -> tuple[Array, Array]:
    # One axis at a time: half the memory of (M, K, 2) arrays.
    x1, y1, x2, y2 = (np.ascontiguousarray(side) for side in boxes2.T)
    width = np.minimum(boxes1[:, 2:3], x2) - np.maximum(boxes1[:, 0:1], x1)
    height = np.minimum(boxes1[:, 3:4], y2) - np.maximum(boxes1[:, 1:2], y1)
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    return width, area(boxes1)[:, None] + area(boxes2) - width


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def clip(boxes: ArrayLike, size: tuple[int, int]) -> Array:
    """Clip boxes to an image.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    size : (int, int)
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        (M, 4), a new array; boxes outside of the image get area 0.
    """
    height, width = size
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(as_boxes(boxes), 0, limit)


def resize(boxes: ArrayLike, size: tuple[int, int], new_size: tuple[int, int]) -> Array:
    """Scale boxes with an image that is resized.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    size : (int, int)
        Height and width of the image.
    new_size : (int, int)
        Height and width after resizing.

    Returns
    -------
    numpy.ndarray
        (M, 4) xyxy, a new array.
    """
    ratio_y, ratio_x = (
        np.float32(new) / np.float32(old) for new, old in zip(new_size, size, strict=True)
    )
    return as_boxes(boxes) * np.array([ratio_x, ratio_y, ratio_x, ratio_y], np.float32)


def remove_small_boxes(boxes: ArrayLike, min_size: float) -> Array:
    """Find the boxes with a width and a height of at least ``min_size``.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    min_size : float
        Minimum width and height in pixels.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of these boxes, ascending.
    """
    boxes = as_boxes(boxes)
    fits = (boxes[:, 2] - boxes[:, 0] >= min_size) & (boxes[:, 3] - boxes[:, 1] >= min_size)
    return np.flatnonzero(fits)


def to_xywh(boxes: ArrayLike) -> Array:
    """Convert (x1, y1, x2, y2) to (x1, y1, width, height), the format of COCO files.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M, 4) xywh, a new array.
    """
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def from_xywh(boxes: ArrayLike) -> Array:
    """Convert (x1, y1, width, height) to (x1, y1, x2, y2).

    Parameters
    ----------
    boxes : array_like
        (M, 4) xywh.

    Returns
    -------
    numpy.ndarray
        (M, 4) xyxy, a new array.
    """
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float) -> Array:
    """Greedy non-maximum suppression.

    Keep the box with the highest score, remove the boxes that overlap it by more than the
    threshold, and repeat with the rest.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    scores : array_like
        (M,).
    iou_threshold : float
        IoU above (not at) which a box is suppressed.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of the kept boxes by descending score; ties keep their order.

    Raises
    ------
    ValueError
        If there is not one score per box.
    """
    boxes, scores = as_boxes(boxes), _per_box(boxes, scores, "scores")
    return np.asarray(kernels.nms(boxes, scores.astype(boxes.dtype, copy=False), iou_threshold))


def batched_nms(
    boxes: ArrayLike, scores: ArrayLike, groups: ArrayLike, iou_threshold: float
) -> Array:
    """Non-maximum suppression within each group of boxes, such as classes or levels.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    scores : array_like
        (M,).
    groups : array_like
        (M,) integers; boxes of different groups do not suppress each other.
    iou_threshold : float
        IoU above which a box is suppressed.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of the kept boxes of all groups by descending score; ties keep their order.

    Raises
    ------
    ValueError
        If there is not one score and one group per box.
    """
    boxes, scores = as_boxes(boxes), _per_box(boxes, scores, "scores")
    groups = _per_box(boxes, groups, "groups")
    by_group = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[by_group])) + 1
    kept = [
        members[nms(boxes[members], scores[members], iou_threshold)]
        for members in np.split(by_group, starts)
    ]
    # Ascending first, so that the stable sort by score keeps ties in input order.
    indices = np.sort(np.concatenate(kept))
    return indices[np.argsort(-scores[indices], kind="stable")]


def _per_box(boxes: ArrayLike, values: ArrayLike, name: str) -> Array:
    array = array_of(values)
    count = len(as_boxes(boxes))
    if array.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},) (one per box), got {array.shape}")
    return array


register_hints(__name__, lambda: NAMES)
add_attribute_hints(globals())
