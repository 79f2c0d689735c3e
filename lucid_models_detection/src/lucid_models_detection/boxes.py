"""Arithmetic on boxes: plain arrays in, plain arrays out.

A box is (x1, y1, x2, y2) in pixels: its left, top, right and bottom edge, with
x2 - x1 its width (no pixel is added).  M and K count boxes.  Lists and tensors
are taken as their arrays; what is not floating point becomes float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid import Tensor, kernels
from lucid.autograd import ArrayLike, array_of
from lucid_models_detection.box_encoding import decode, encode

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
    """The (M, 4) floating-point array that was meant; an empty array of any shape is (0, 4).

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, or nothing at all.
    name : str, default "boxes"
        What an error calls them.

    Returns
    -------
    numpy.ndarray
        (M, 4) in the dtype of a floating-point array or tensor of at least 32 bits, else in
        float32.

    Raises
    ------
    ValueError
        If the shape is another; names ``name`` and the shape.
    """
    array = array_of(boxes)
    keep = isinstance(boxes, np.ndarray | Tensor) and array.dtype.kind == "f" and array.itemsize > 2
    # Other byte orders too, which compiled kernels do not know.
    array = np.asarray(array, array.dtype.newbyteorder("=") if keep else np.float32)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected shape (M, 4), xyxy, got {array.shape}")
    return array


def area(boxes: ArrayLike) -> Array:
    """Width times height of each box.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, in pixels.

    Returns
    -------
    numpy.ndarray
        (M,) in square pixels.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    boxes = as_boxes(boxes)
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def iou(boxes1: ArrayLike, boxes2: ArrayLike) -> Array:
    """Intersection over union of every pair.

    Parameters
    ----------
    boxes1, boxes2 : array_like
        (M, 4) and (K, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M, K) in [0, 1]; 0 where neither box has an area.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    intersection, union = _intersection_and_union(as_boxes(boxes1), as_boxes(boxes2))
    return _ratio(intersection, union)


def giou(boxes1: ArrayLike, boxes2: ArrayLike) -> Array:
    """Generalized intersection over union of every pair.

    The IoU less the share of the smallest enclosing box that neither covers, so
    that it tells near boxes from far ones even without overlap (Rezatofighi et
    al. 2019, arXiv:1902.09630, algorithm 1).

    Parameters
    ----------
    boxes1, boxes2 : array_like
        (M, 4) and (K, 4) xyxy.

    Returns
    -------
    numpy.ndarray
        (M, K) in [-1, 1].

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    boxes1, boxes2 = as_boxes(boxes1), as_boxes(boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    low = np.minimum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.maximum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    enclosing = np.prod(high - low, axis=-1)
    return _ratio(intersection, union) - _ratio(enclosing - union, enclosing)


def _intersection_and_union(boxes1: Array, boxes2: Array) -> tuple[Array, Array]:
    # One axis after the other on (M, K) arrays: half the memory of (M, K, 2) at a time.
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
    """Boxes cut at the border of an image.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    size : (int, int)
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        (M, 4), a new array; a box outside of the image is left without area.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    height, width = size
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(as_boxes(boxes), 0, limit)


def resize(boxes: ArrayLike, size: tuple[int, int], new_size: tuple[int, int]) -> Array:
    """Boxes of an image that is resized, in the pixels of the new size.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, in pixels.
    size : (int, int)
        Height and width of the image.
    new_size : (int, int)
        Height and width after resizing.

    Returns
    -------
    numpy.ndarray
        (M, 4) xyxy, a new array.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    ratio_y, ratio_x = (
        np.float32(new) / np.float32(old) for new, old in zip(new_size, size, strict=True)
    )
    return as_boxes(boxes) * np.array([ratio_x, ratio_y, ratio_x, ratio_y], np.float32)


def remove_small_boxes(boxes: ArrayLike, min_size: float) -> Array:
    """Which boxes have a width and a height of at least ``min_size``.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, in pixels.
    min_size : float
        In pixels.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of these boxes, ascending.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    boxes = as_boxes(boxes)
    fits = (boxes[:, 2] - boxes[:, 0] >= min_size) & (boxes[:, 3] - boxes[:, 1] >= min_size)
    return np.flatnonzero(fits)


def to_xywh(boxes: ArrayLike) -> Array:
    """(x1, y1, x2, y2) as (x1, y1, width, height), the convention of COCO's files.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, in pixels.

    Returns
    -------
    numpy.ndarray
        (M, 4) xywh, a new array.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def from_xywh(boxes: ArrayLike) -> Array:
    """(x1, y1, width, height) as (x1, y1, x2, y2).

    Parameters
    ----------
    boxes : array_like
        (M, 4) xywh, in pixels.

    Returns
    -------
    numpy.ndarray
        (M, 4) xyxy, a new array.

    Raises
    ------
    ValueError
        If the shape of the boxes is another.
    """
    boxes = as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float) -> Array:
    """Greedy non-maximum suppression.

    The box with the highest score is kept and suppresses every box that overlaps
    it by more than the threshold; so on with those that are left.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy.
    scores : array_like
        (M,).
    iou_threshold : float
        Overlap above (not at) which a box is suppressed.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of the kept boxes by descending score; equal scores keep
        their order.

    Raises
    ------
    ValueError
        If the boxes have another shape, or there is not one score for each.
    """
    boxes, scores = as_boxes(boxes), _per_box(boxes, scores, "scores")
    return np.asarray(kernels.nms(boxes, scores.astype(boxes.dtype, copy=False), iou_threshold))


def batched_nms(
    boxes: ArrayLike, scores: ArrayLike, groups: ArrayLike, iou_threshold: float
) -> Array:
    """:func:`nms` within each group of boxes: classes, or levels of a pyramid.

    Parameters
    ----------
    boxes : array_like
        (M, 4) xyxy, as for :func:`nms`.
    scores : array_like
        (M,), as for :func:`nms`.
    groups : array_like
        (M,) integers; boxes of different groups never suppress each other.
    iou_threshold : float
        Overlap above which a box is suppressed.

    Returns
    -------
    numpy.ndarray
        Indices (int64) of the kept boxes of all groups by descending score; equal
        scores keep their order.

    Raises
    ------
    ValueError
        If the boxes have another shape, or there is not one score and one group for each.
    """
    boxes, scores = as_boxes(boxes), _per_box(boxes, scores, "scores")
    groups = _per_box(boxes, groups, "groups")
    by_group = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[by_group])) + 1
    kept = [
        members[nms(boxes[members], scores[members], iou_threshold)]
        for members in np.split(by_group, starts)
    ]
    # In the order of the input first, so that the stable sort by score breaks ties by it.
    indices = np.sort(np.concatenate(kept))
    return indices[np.argsort(-scores[indices], kind="stable")]


def _per_box(boxes: ArrayLike, values: ArrayLike, name: str) -> Array:
    array = array_of(values)
    count = len(as_boxes(boxes))
    if array.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), one for each box, got {array.shape}")
    return array
