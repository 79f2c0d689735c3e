"""Comparisons, element by element with broadcasting, and what follows from them."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.primitive import Vjp
from lucid.dtypes import promote
from lucid.ops.operands import operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x == y, as booleans; NaN is equal to nothing.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape.  Integers are compared as they are; if one is a float,
        both first take their common dtype, as :func:`lucid.add` has it, and the float32 next
        to 0.1 equals the scalar 0.1.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.equal, x, y)


def not_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x != y, as booleans; NaN is equal to nothing.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape, compared in the dtype that :func:`lucid.equal` takes.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.not_equal, x, y)


def less(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x < y, as booleans; False beside NaN.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape, compared in the dtype that :func:`lucid.equal` takes.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.less, x, y)


def less_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x <= y, as booleans; False beside NaN.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape, compared in the dtype that :func:`lucid.equal` takes.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.less_equal, x, y)


def greater(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x > y, as booleans; False beside NaN.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape, compared in the dtype that :func:`lucid.equal` takes.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.greater, x, y)


def greater_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x >= y, as booleans; False beside NaN.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape, compared in the dtype that :func:`lucid.equal` takes.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _compared(np.greater_equal, x, y)


def _compared(compare: np.ufunc, x: ArrayLike, y: ArrayLike) -> Tensor:
    a, b = array_of(x), array_of(y)
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        a, b = operands(x, y)
    # Whole numbers as they are: 300 is larger than any uint8, and not one of them.
    return record(compare(a, b))


def maximum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """The larger of x and y, element by element; NaN if either is.

    Where they are equal each receives half of the gradient.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _extremum(x, y, np.maximum, np.greater)


def minimum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """The smaller of x and y, element by element; NaN if either is.

    Where they are equal each receives half of the gradient.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return _extremum(x, y, np.minimum, np.less)


def _extremum(x: ArrayLike, y: ArrayLike, choose: np.ufunc, wins: np.ufunc) -> Tensor:
    a, b = operands(x, y)

    def share(g: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        weight = wins(first, second) + 0.5 * (first == second)
        return unbroadcast(g * weight.astype(g.dtype), first.shape)

    return record(choose(a, b), (x, lambda g: share(g, a, b)), (y, lambda g: share(g, b, a)))


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x limited to the range from ``min`` to ``max``.

    Where ``min`` is above ``max`` the result is ``max``.  The gradient passes where x lies in
    the range, its ends included; elsewhere it goes to the limit that took the place of x.

    Parameters
    ----------
    x : array-like
        Any shape.
    min, max : array-like, optional
        Limits, of shapes that broadcast with ``x``; None leaves that side open.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it; always a copy.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    OverflowError
        If a Python integer as limit does not fit into the integer dtype of ``x``.
    """
    limits = [None if limit is None else operands(x, limit)[1] for limit in (min, max)]
    dtype = reduce(promote, (b.dtype for b in limits if b is not None), array_of(x).dtype)
    a = array_of(x).astype(dtype, copy=False)
    low, high = (None if limit is None else limit.astype(dtype) for limit in limits)
    raised = a if low is None else np.maximum(a, low)
    value = raised if high is None else np.minimum(raised, high)

    def by_x(g: np.ndarray) -> np.ndarray:
        inside = (low is None or a >= low) & (high is None or a <= high)
        return unbroadcast(g * inside, a.shape)

    edges: list[tuple[ArrayLike, Vjp]] = [(x, by_x)]
    if min is not None and low is not None:
        lifted = (a < low) & (high is None or low <= high)
        edges.append((min, lambda g: unbroadcast(g * lifted, low.shape)))
    if max is not None and high is not None:
        edges.append((max, lambda g: unbroadcast(g * (raised > high), high.shape)))
    return record(value.copy() if value is a else value, *edges)
