"""Sorting and searching along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.docstrings import KEEPDIMS, NO_AXIS, add_sections
from lucid.ops.index import gather
from lucid.ops.operands import normalize_axis

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def sort(x: ArrayLike, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Sort along an axis; the sort is stable, and NaN is the largest value.

    Parameters
    ----------
    x : array-like
        At least one axis.
    axis : int, default -1
        Axis to sort along.
    descending : bool, default False
        Sort in descending order.

    Returns
    -------
    values : Tensor
        Shape and dtype of ``x``.
    indices : Tensor
        Index of each value along ``axis``, int64 of the same shape.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    order = argsort(x, axis, descending)
    return gather(x, axis, order), order


@add_sections(
    {
        "x : array-like": "At least one axis.",
        "axis : int, default -1": "Axis to sort along.",
        "descending : bool, default False": "Sort in descending order.",
    },
    "Indices along ``axis``, int64 in the shape of ``x``.",
    NO_AXIS,
)
def argsort(x: ArrayLike, axis: int = -1, descending: bool = False) -> Tensor:
    """Return the indices that would sort along an axis, in the order of :func:`sort`."""
    a = array_of(x)
    return record(_order(a, normalize_axis(axis, a.ndim), descending))


def _order(a: Array, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(a, axis=axis, kind="stable")
    # Sort the reversed array and reverse the result: stable, and without negation, which
    # overflows for unsigned integers and the smallest integer.
    backwards: Array = np.flip(np.argsort(np.flip(a, axis), axis=axis, kind="stable"), axis)
    order: Array = a.shape[axis] - 1 - backwards
    return order


def topk(x: ArrayLike, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Select the ``k`` largest or smallest elements, in the order of :func:`sort`.

    Parameters
    ----------
    x : array-like
        At least one axis.
    k : int
        Number of elements.
    axis : int, default -1
        Axis to search.
    largest : bool, default True
        Return the largest in descending order, else the smallest in ascending order.

    Returns
    -------
    values : Tensor
        Shape of ``x`` with length ``k`` along ``axis``, dtype of ``x``.
    indices : Tensor
        Index of each value along ``axis``, int64 of the same shape.

    Raises
    ------
    TypeError
        If ``k`` is not an integer.
    ValueError
        If ``k`` is negative or larger than the axis.
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    position = normalize_axis(axis, a.ndim)
    if not hasattr(k, "__index__"):
        raise TypeError(f"topk expected an integer k, got {k!r}")
    if not 0 <= k <= a.shape[position]:
        raise ValueError(f"topk expected k in [0, {a.shape[position]}], got {k}")
    order = _order(a, position, descending=largest)
    chosen = order[(slice(None),) * position + (slice(k),)]
    return gather(x, position, chosen), record(chosen)


_arg_extremum = add_sections(
    {
        "x : array-like": "Any shape.",
        "axis : int, optional": "Axis to search; default the flattened tensor.",
        **KEEPDIMS,
    },
    "Indices, int64 in the shape of ``x`` without ``axis``; shape () by default.",
    NO_AXIS | {"ValueError": "If there are no elements."},
)


@_arg_extremum
def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the maximum, the first of equal ones; NaN counts as the maximum."""
    return record(np.argmax(array_of(x), axis=axis, keepdims=keepdims))


@_arg_extremum
def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the minimum, the first of equal ones; NaN counts as the minimum."""
    return record(np.argmin(array_of(x), axis=axis, keepdims=keepdims))
