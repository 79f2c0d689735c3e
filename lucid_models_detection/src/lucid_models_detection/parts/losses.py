"""IoU losses for box regression.

Boxes are compared one to one, (..., 4) xyxy with x1 <= x2 and y1 <= y2.  Values, derivatives
and reductions are torchvision's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lucid import Tensor
from lucid.autograd import ArrayLike, array_of, record_joint

__all__ = ["ciou_loss", "diou_loss", "giou_loss"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class _Pair:
    """Geometry of two sets of boxes (..., 4); the last axis of each array is x, y."""

    low1: Array
    high1: Array
    low2: Array
    high2: Array

    def __post_init__(self) -> None:
        self.size1, self.size2 = self.high1 - self.low1, self.high2 - self.low2
        self.shared = np.minimum(self.high1, self.high2) - np.maximum(self.low1, self.low2)
        self.overlaps = (self.shared > 0).all(axis=-1)
        self.intersection = self.shared.prod(axis=-1) * self.overlaps
        self.union = self.size1.prod(axis=-1) + self.size2.prod(axis=-1) - self.intersection
        self.hull = np.maximum(self.high1, self.high2) - np.minimum(self.low1, self.low2)
        self.offset = (self.low1 + self.high1 - self.low2 - self.high2) / 2


@dataclass
class _Gradients:
    """Derivatives of a loss by the geometry of a pair; None for zero."""

    intersection: Array
    union: Array
    hull: Array  # (..., 2)
    offset: Array | None = None  # (..., 2)
    size1: Array | None = None  # (..., 2), beyond the union
    size2: Array | None = None  # (..., 2)


_Formula = Callable[[_Pair, float], tuple[Array, _Gradients]]


_SECTIONS = """
Parameters
----------
boxes1, boxes2 : array_like
    (..., 4) xyxy of the same shape; both receive gradients.
reduction : {"none", "mean", "sum"}, default "none"
    The mean over no boxes is 0.
eps : float, default 1e-7
    Added to denominators.

Returns
-------
Tensor
    (...,) losses for "none", else a scalar.

Raises
------
ValueError
    If the shapes differ or the last axis is not 4, or ``reduction`` is invalid.
"""

_Loss = TypeVar("_Loss", bound=Callable[..., Tensor])


def _documented(loss: _Loss) -> _Loss:
    """Add the shared sections to a docstring, before its examples."""
    if text := inspect.getdoc(loss):  # None under python -OO
        summary, examples = text.split("\nExamples\n")
        loss.__doc__ = f"{summary}{_SECTIONS}\nExamples\n{examples}"
    return loss


@_documented
def giou_loss(
    boxes1: ArrayLike, boxes2: ArrayLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Generalized IoU loss, ``1 - GIoU`` (Rezatofighi et al. 2019, arXiv:1902.09630).

    GIoU is the IoU minus the uncovered fraction of the smallest enclosing box.  The loss is in
    [0, 2], and has a gradient for boxes without overlap.

    Examples
    --------
    >>> from lucid_models_detection.parts import giou_loss
    >>> giou_loss([[0.0, 0, 2, 2]], [[0.0, 0, 2, 2]]).numpy().round(3)
    array([0.], dtype=float32)
    >>> giou_loss([[0.0, 0, 1, 1]], [[2.0, 0, 3, 1]]).numpy().round(3)
    array([1.333], dtype=float32)
    """
    return _overlap_loss(_giou, boxes1, boxes2, reduction, eps)


@_documented
def diou_loss(
    boxes1: ArrayLike, boxes2: ArrayLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Distance IoU loss, ``1 - IoU + d^2 / c^2`` (Zheng et al. 2020, arXiv:1911.08287).

    d is the distance of the centers, c the diagonal of the smallest enclosing box.  The loss is
    in [0, 2].

    Examples
    --------
    >>> from lucid_models_detection.parts import diou_loss
    >>> diou_loss([[0.0, 0, 1, 1]], [[2.0, 0, 3, 1]]).numpy().round(3)
    array([1.4], dtype=float32)
    """
    return _overlap_loss(_diou, boxes1, boxes2, reduction, eps)


@_documented
def ciou_loss(
    boxes1: ArrayLike, boxes2: ArrayLike, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Complete IoU loss, ``1 - IoU + d^2 / c^2 + a v`` (Zheng et al. 2020, arXiv:1911.08287).

    Adds an aspect ratio term to :func:`diou_loss`: v is ``4 / pi^2`` times the squared
    difference of the angles ``atan(w / h)``.  Its weight ``a = v / (1 - IoU + v)`` is a constant
    in the derivative.

    Examples
    --------
    >>> from lucid_models_detection.parts import ciou_loss
    >>> ciou_loss([[0.0, 0, 2, 2]], [[0.0, 0, 2, 4]]).numpy().round(3)
    array([0.553], dtype=float32)
    """
    return _overlap_loss(_ciou, boxes1, boxes2, reduction, eps)


def _giou(pair: _Pair, eps: float) -> tuple[Array, _Gradients]:
    union, hull = pair.union + eps, pair.hull.prod(axis=-1)
    losses = 1 - pair.intersection / union + (hull - pair.union) / (hull + eps)
    by_hull = union / (hull + eps) ** 2
    return losses, _Gradients(
        intersection=-1 / union,
        union=pair.intersection / union**2 - 1 / (hull + eps),
        hull=by_hull[..., None] * pair.hull[..., ::-1],
    )


def _diou(pair: _Pair, eps: float) -> tuple[Array, _Gradients]:
    union = pair.union + eps
    diagonal = (pair.hull**2).sum(axis=-1) + eps
    distance = (pair.offset**2).sum(axis=-1)
    losses = 1 - pair.intersection / union + distance / diagonal
    return losses, _Gradients(
        intersection=-1 / union,
        union=pair.intersection / union**2,
        hull=-2 * (distance / diagonal**2)[..., None] * pair.hull,
        offset=2 * pair.offset / diagonal[..., None],
    )


def _ciou(pair: _Pair, eps: float) -> tuple[Array, _Gradients]:
    losses, gradients = _diou(pair, eps)
    difference = _angle(pair.size2) - _angle(pair.size1)
    v = difference**2 * (4 / np.pi**2)
    weight = v / (1 - pair.intersection / (pair.union + eps) + v + eps)
    by_angle = (weight * difference * (8 / np.pi**2))[..., None]
    gradients.size1 = -by_angle * _angle_gradient(pair.size1)
    gradients.size2 = by_angle * _angle_gradient(pair.size2)
    return losses + weight * v, gradients


def _angle(size: Array) -> Array:
    """Angle of the diagonal; 0 for a box of size 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = size[..., 0] / size[..., 1]
    return np.asarray(np.arctan(np.where((size == 0).all(axis=-1), 0, ratio)))


def _angle_gradient(size: Array) -> Array:
    """Differentiate the angle by width and height, (..., 2); 0 for a box of size 0."""
    square = (size**2).sum(axis=-1, keepdims=True)
    flipped = size[..., ::-1] * np.array([1, -1], size.dtype)
    return np.asarray(flipped / np.where(square > 0, square, 1))


def _overlap_loss(
    formula: _Formula, boxes1: ArrayLike, boxes2: ArrayLike, reduction: str, eps: float
) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction: expected 'none', 'mean' or 'sum', got {reduction!r}")
    a, b = array_of(boxes1), array_of(boxes2)
    if a.shape != b.shape or a.ndim == 0 or a.shape[-1] != 4:
        raise ValueError(
            "expected boxes1 and boxes2 of the same shape (..., 4), xyxy, got "
            f"{a.shape} and {b.shape}"
        )
    types = (a.dtype, b.dtype)
    # Integers count as float32.
    dtype = np.result_type(np.float32, *(t for t in types if t.kind == "f"))
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    pair = _Pair(a[..., :2], a[..., 2:], b[..., :2], b[..., 2:])
    values, gradients = formula(pair, float(eps))
    by_boxes = _by_boxes(pair, gradients)
    losses = record_joint(
        values,
        (boxes1, boxes2),
        lambda g: [(g[..., None] * d).astype(t) for d, t in zip(by_boxes, types, strict=True)],
    )
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" and values.size else losses.sum()


def _by_boxes(pair: _Pair, gradients: _Gradients) -> tuple[Array, Array]:
    """Compute derivatives (..., 4) of the losses by the coordinates of both sets of boxes.

    Where two edges coincide, each receives half of the derivative, as in PyTorch.
    """
    # The intersection is part of the union too, with the opposite sign.
    by_shared = ((gradients.intersection - gradients.union) * pair.overlaps)[..., None]
    by_shared = by_shared * pair.shared[..., ::-1]
    first_is_lower = _share(pair.low1, pair.low2)
    first_is_higher = _share(pair.high2, pair.high1)
    results = []
    for size, extra, sign, lower, higher in (
        (pair.size1, gradients.size1, 1, first_is_lower, first_is_higher),
        (pair.size2, gradients.size2, -1, 1 - first_is_lower, 1 - first_is_higher),
    ):
        by_size = gradients.union[..., None] * size[..., ::-1]
        if extra is not None:
            by_size = by_size + extra
        low = -by_size - gradients.hull * lower - by_shared * (1 - lower)
        high = by_size + gradients.hull * higher + by_shared * (1 - higher)
        if gradients.offset is not None:
            low, high = low + sign * gradients.offset / 2, high + sign * gradients.offset / 2
        results.append(np.concatenate([low, high], axis=-1))
    return results[0], results[1]


def _share(a: Array, b: Array) -> Array:
    """1 where ``a`` is smaller than ``b``, 1/2 where they are equal, else 0."""
    return np.asarray((a < b) + 0.5 * (a == b), a.dtype)
