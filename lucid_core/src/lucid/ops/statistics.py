"""Mean, variance and standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, record
from lucid.dtypes import float32
from lucid.ops.arithmetic import sqrt
from lucid.ops.docstrings import AXIS, AXIS_ERRORS, FLOAT, KEEPDIMS, add_sections, reduction
from lucid.ops.operands import Axis, floating, reduction_axes
from lucid.ops.reduce import expand_reduced

if TYPE_CHECKING:
    from lucid.tensor import Tensor


@reduction(
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``); NaN for no elements.",
    FLOAT,
)
def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes."""
    a = floating(x)
    axes = reduction_axes(axis, a.ndim)
    shape = a.shape
    count = int(np.prod([shape[i] for i in axes]))
    # np.mean warns for no elements; it accumulates float16 in float32.
    value = (
        a.mean(axis=axes, keepdims=keepdims)
        if count
        else np.full_like(a.sum(axis=axes, keepdims=keepdims), np.nan)
    )
    # No division by 0 for an empty reduction.
    return record(value, (x, lambda g: expand_reduced(g / g.dtype.type(count or 1), shape, axes)))


_CORRECTION = {"correction : float, default 1": "Subtracted from ``n`` in the divisor."}
_variance = add_sections(
    {"x : array-like": FLOAT, **AXIS, **_CORRECTION, **KEEPDIMS},
    "Shape of ``x`` without the reduced axes "
    "(length 1 with ``keepdims``).  For ``n <= correction`` it is NaN, or inf "
    "if the elements differ.",
    AXIS_ERRORS,
)


@_variance
def var(x: ArrayLike, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """Variance over axes, ``sum((x - mean) ** 2) / (n - correction)`` for ``n`` elements.

    The default ``correction=1`` is PyTorch's (unbiased); NumPy's is 0.
    """
    a = floating(x)
    axes = reduction_axes(axis, a.ndim)
    number = np.prod([a.shape[i] for i in axes])
    deviation = a - a.mean(axis=axes, keepdims=True) if number else a
    count = number - correction if number > correction else 0
    squares = (deviation * deviation).sum(
        axis=axes, keepdims=keepdims, dtype=np.promote_types(a.dtype, float32)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.divide(squares, count, dtype=squares.dtype).astype(a.dtype)
    scale = a.dtype.type(2 / count) if count else a.dtype.type(np.nan)
    shape = a.shape
    return record(value, (x, lambda g: expand_reduced(g, shape, axes) * deviation * scale))


@_variance
def std(x: ArrayLike, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """Compute the standard deviation, ``sqrt(var(x))``.

    The gradient is NaN where all elements are equal.
    """
    return sqrt(var(x, axis, correction, keepdims))
