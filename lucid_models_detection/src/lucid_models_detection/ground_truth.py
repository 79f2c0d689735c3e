"""Validation of ground truth.

N images, M objects of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["GroundTruth", "check_targets"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Published annotations exceed their image by fractions of a pixel.
_BORDER_TOLERANCE = 1.0


class GroundTruth(NamedTuple):
    """Objects of one image.

    Attributes
    ----------
    boxes : numpy.ndarray
        (M, 4) float32 xyxy.
    labels : numpy.ndarray
        (M,) int64 in 1..C-1.
    """

    boxes: Array
    labels: Array


def check_targets(
    targets: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]], num_classes: int
) -> list[GroundTruth]:
    """Validate the ground truth of a batch.

    Parameters
    ----------
    targets : sequence of mapping
        For each image ``"boxes"`` (M, 4), xyxy in its pixels, and ``"labels"`` (M,) integers in
        1..num_classes-1.  M = 0 is valid, with boxes (0, 4) or (0,).  Other keys are ignored.
    sizes : sequence of (int, int)
        Height and width of each image.
    num_classes : int
        Number of classes, background included.

    Returns
    -------
    list of GroundTruth

    Raises
    ------
    TypeError, ValueError
        For the first invalid box or label; names the image and the box.
    """
    if isinstance(targets, Mapping) or not isinstance(targets, Sequence):
        raise TypeError(
            "targets: expected a list with one {'boxes', 'labels'} per image, got "
            f"{type(targets).__name__}"
        )
    if len(targets) != len(sizes):
        raise ValueError(f"targets: expected {len(sizes)} (one per image), got {len(targets)}")
    checked = []
    for i, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        if not isinstance(target, Mapping) or not {"boxes", "labels"} <= target.keys():
            got = sorted(target) if isinstance(target, Mapping) else type(target).__name__
            raise ValueError(f"targets[{i}]: expected keys 'boxes' and 'labels', got {got}")
        boxes = _check_boxes(target["boxes"], size, f'targets[{i}]["boxes"]')
        labels = _check_labels(target["labels"], len(boxes), num_classes, f"targets[{i}]")
        checked.append(GroundTruth(boxes, labels))
    return checked


def _check_boxes(boxes: Any, size: tuple[int, int], name: str) -> Array:
    array = np.asarray(boxes)
    if array.size == 0:
        if array.shape not in ((0,), (0, 4)):
            raise ValueError(f"{name}: expected shape (M, 4), got {array.shape}")
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name}: expected numbers of shape (M, 4), xyxy, got {array.dtype} {array.shape}"
        )
    array = array.astype(np.float32)
    height, width = size
    finite: Array = np.isfinite(array)
    ordered: Array = array[:, 2:] > array[:, :2]
    reach = np.array([width, height], np.float32) + _BORDER_TOLERANCE
    inside: Array = (array[:, :2] >= -_BORDER_TOLERANCE) & (array[:, 2:] <= reach)
    good = finite.all(axis=1) & ordered.all(axis=1) & inside.all(axis=1)
    bad = np.flatnonzero(~good)
    if not bad.size:
        return array
    j = int(bad[0])
    where = f"{name}[{j}] is [{', '.join(f'{v:g}' for v in array[j].tolist())}]"
    if not finite[j].all():
        raise ValueError(f"{where}: expected finite numbers")
    if not ordered[j].all():
        hint = "; looks like xywh" if _may_be_xywh(array[j], width, height) else ""
        raise ValueError(f"{where}: expected x1 < x2 and y1 < y2 (xyxy, in pixels){hint}")
    raise ValueError(
        f"{where}: expected a box inside the image ({width} wide, {height} high; xyxy, in pixels); "
        "clip boxes with boxes.clip"
    )


def _may_be_xywh(box: Array, width: int, height: int) -> bool:
    x, y, w, h = box.tolist()
    return bool(min(x, y) >= 0 and min(w, h) > 0 and x + w <= width and y + h <= height)


def _check_labels(labels: Any, count: int, num_classes: int, where: str) -> Array:
    array = np.asarray(labels)
    name = f'{where}["labels"]'
    if array.size == 0 and count == 0:
        return np.zeros(0, np.int64)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), one label per box, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers, got {array.dtype}")
    bad = np.flatnonzero((array < 1) | (array >= num_classes))
    if bad.size:
        j = int(bad[0])
        hint = " (0 is the background)" if array[j] == 0 else ""
        raise ValueError(
            f"{name}[{j}]: expected 1 to {num_classes - 1} (num_classes={num_classes}, background "
            f"included), got {array[j]}{hint}"
        )
    return array.astype(np.int64)
