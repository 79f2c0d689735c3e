"""Mean, variance and standard deviation, over axes as :mod:`lucid.ops.reduce` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, record
from lucid.dtypes import float32
from lucid.ops.arithmetic import sqrt
from lucid.ops.operands import Axis, floating, reduction_axes
from lucid.ops.reduce import expand_reduced

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean; NaN of no elements.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int or sequence of int, optional
        Axes to average over; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = floating(x)
    axes = reduction_axes(axis, a.ndim)
    shape = a.shape
    count = int(np.prod([shape[i] for i in axes]))
    # NumPy warns of the mean of nothing; it adds up float16 in float32.
    value = (
        a.mean(axis=axes, keepdims=keepdims)
        if count
        else np.full_like(a.sum(axis=axes, keepdims=keepdims), np.nan)
    )
    # No division by 0 for an empty reduction.
    return record(value, (x, lambda g: expand_reduced(g / g.dtype.type(count or 1), shape, axes)))


def var(x: ArrayLike, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """Variance: squared deviations from the mean over (number - ``correction``).

    The default of 1 is PyTorch's (unbiased); NumPy's is 0.  Of no more elements
    than ``correction`` it is not defined: NaN, or inf where they differ.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int or sequence of int, optional
        Axes whose elements vary; default all.
    correction : float, default 1
        Taken from the number of elements to give the divisor.
    keepdims : bool, default False
        Keep the axes with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
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


def std(x: ArrayLike, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """Standard deviation, the square root of :func:`var`.

    Its derivative is NaN where all elements are equal.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int or sequence of int, optional
        Axes whose elements vary; default all.
    correction : float, default 1
        Taken from the number of elements to give the divisor.
    keepdims : bool, default False
        Keep the axes with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    return sqrt(var(x, axis, correction, keepdims))
