"""Sorting and searching along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.index import gather
from lucid.ops.operands import normalize_axis

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def sort(x: ArrayLike, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sorted values and where each stood; equal ones keep their order, NaN is the largest.

    Parameters
    ----------
    x : array-like
        At least one axis.
    axis : int, default -1
        Axis to sort along.
    descending : bool, default False
        From the largest to the smallest.

    Returns
    -------
    values : Tensor
        The shape and dtype of ``x``.
    indices : Tensor
        Where along ``axis`` each stood: int64 of the same shape.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    order = argsort(x, axis, descending)
    return gather(x, axis, order), order


def argsort(x: ArrayLike, axis: int = -1, descending: bool = False) -> Tensor:
    """Where each element of the sorted order stands, as :func:`sort` puts them.

    Parameters
    ----------
    x : array-like
        At least one axis.
    axis : int, default -1
        Axis to sort along.
    descending : bool, default False
        From the largest to the smallest.

    Returns
    -------
    Tensor
        Indices along ``axis`` in int64, of the shape of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    return record(_order(a, normalize_axis(axis, a.ndim), descending))


def _order(a: Array, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(a, axis=axis, kind="stable")
    # Sorting the reversed array and counting backwards keeps equal elements in order
    # without negating (which unsigned integers and the least integer do not survive).
    backwards: Array = np.flip(np.argsort(np.flip(a, axis), axis=axis, kind="stable"), axis)
    order: Array = a.shape[axis] - 1 - backwards
    return order


def topk(x: ArrayLike, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements, as :func:`sort` puts them, and where they stood.

    Parameters
    ----------
    x : array-like
        At least one axis.
    k : int
        How many.
    axis : int, default -1
        Axis to search.
    largest : bool, default True
        Whether to take the largest, in descending order, or the smallest, in ascending order.

    Returns
    -------
    values : Tensor
        The shape of ``x`` with ``axis`` of length k, in its dtype.
    indices : Tensor
        Where along ``axis`` each stood: int64 of the same shape.

    Raises
    ------
    TypeError
        If ``k`` is no integer.
    ValueError
        If ``k`` is negative or more than there are elements along the axis.
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    place = normalize_axis(axis, a.ndim)
    if not hasattr(k, "__index__"):
        raise TypeError(f"k must be an integer, got {k!r}")
    if not 0 <= k <= a.shape[place]:
        raise ValueError(f"k must lie between 0 and {a.shape[place]}, got {k}")
    order = _order(a, place, descending=largest)
    chosen = order[(slice(None),) * place + (slice(k),)]
    return gather(x, place, chosen), record(chosen)


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the largest element, the first of equal ones; NaN counts as the largest.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int, optional
        Axis to search; default the flattened tensor.
    keepdims : bool, default False
        Keep the axis, or all of them, with length 1.

    Returns
    -------
    Tensor
        Indices in int64, of the shape of ``x`` without ``axis``; of shape () by default.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If there are no elements to search.
    """
    return record(np.argmax(array_of(x), axis=axis, keepdims=keepdims))


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the smallest element, the first of equal ones; NaN counts as the smallest.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int, optional
        Axis to search; default the flattened tensor.
    keepdims : bool, default False
        Keep the axis, or all of them, with length 1.

    Returns
    -------
    Tensor
        Indices in int64, of the shape of ``x`` without ``axis``; of shape () by default.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If there are no elements to search.
    """
    return record(np.argmin(array_of(x), axis=axis, keepdims=keepdims))
