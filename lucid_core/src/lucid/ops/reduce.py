"""Reductions over axes.  ``axis`` is an integer, several, or None for all of them.

A tensor of no axes may be reduced along axis 0 or -1, too, as PyTorch allows for
all reductions and NumPy for some of them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.dtypes import DType, int64
from lucid.ops.arithmetic import abs as absolute
from lucid.ops.operands import Axis, floating, normalize_axis, reduction_axes

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def expand_reduced(g: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """A reduced array, with or without its axes of length one, broadcast over ``shape``."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return np.broadcast_to(g.reshape(kept), shape)


def _accumulator(a: Array) -> DType:
    """What elements are added and multiplied up in: floats stay, the rest becomes int64."""
    return a.dtype if a.dtype.kind == "f" else int64


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum of elements; integers and booleans are summed as int64.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to sum over; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes; floats in their dtype.  0 of no elements.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    shape = a.shape
    value = a.sum(axis=axes, keepdims=keepdims, dtype=_accumulator(a))
    return record(value, (x, lambda g: expand_reduced(g, shape, axes)))


def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Product of elements; integers and booleans are multiplied as int64.

    The derivative is right with any number of zeros among them.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to multiply over; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes; floats in their dtype.  1 of no elements.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    value = a.prod(axis=axes, keepdims=keepdims, dtype=_accumulator(a))

    def vjp(g: Array) -> Array:
        # The product of all the others = product of those before * product of those after.
        rest = [i for i in range(a.ndim) if i not in axes]
        lined = a.transpose(rest + list(axes))
        # Not -1: the length cannot be worked out where another axis is empty.
        length = int(np.prod([a.shape[i] for i in axes]))
        flat = lined.reshape([a.shape[i] for i in rest] + [length])
        one = np.ones_like(flat[..., :1])
        before = np.cumprod(np.concatenate([one, flat[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([one, flat[..., :0:-1]], -1), -1)[..., ::-1]
        others: Array = (before * after).reshape(lined.shape)
        others = others.transpose(np.argsort(rest + list(axes)))
        return expand_reduced(g, a.shape, axes) * others

    return record(value, (x, vjp))


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element along axes, NaN if there is one; equal ones share the gradient evenly.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to search; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes, in its dtype.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice, or there are no elements to search.

    Notes
    -----
    PyTorch's ``max`` over one axis returns ``(values, indices)``.  Here it returns the values
    alone, as NumPy's: ``values, indices = x.max(1)`` would unpack two rows of values.  Use
    ``x.max(1)`` and ``x.argmax(1)``.
    """
    return _extremum(x, axis, keepdims, np.max)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element along axes, NaN if there is one; equal ones share the gradient evenly.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to search; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes, in its dtype.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice, or there are no elements to search.

    Notes
    -----
    PyTorch's ``min`` over one axis returns ``(values, indices)``.  Here it returns the values
    alone, as NumPy's: ``values, indices = x.min(1)`` would unpack two rows of values.  Use
    ``x.min(1)`` and ``x.argmin(1)``.
    """
    return _extremum(x, axis, keepdims, np.min)


def _extremum(x: ArrayLike, axis: Axis, keepdims: bool, reduce: object) -> Tensor:
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    kept = reduce(a, axis=axes, keepdims=True)  # type: ignore[operator]

    def vjp(g: Array) -> Array:
        # NaN is not equal to itself, but it is what was chosen.
        chosen = (a == kept) | (np.isnan(kept) & np.isnan(a))
        share: Array = chosen / chosen.sum(axis=axes, keepdims=True)
        weighed: Array = expand_reduced(g, a.shape, axes) * share.astype(g.dtype)
        return weighed

    return record(kept if keepdims else kept.squeeze(axes), (x, vjp))


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether some element is nonzero.

    Parameters
    ----------
    x : array-like
        Any shape; NaN counts as nonzero.
    axis : int or sequence of int, optional
        Axes to search; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes; booleans.  False of no elements.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    return record(np.any(a, axis=reduction_axes(axis, a.ndim), keepdims=keepdims))


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every element is nonzero.

    Parameters
    ----------
    x : array-like
        Any shape; NaN counts as nonzero.
    axis : int or sequence of int, optional
        Axes to search; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes; booleans.  True of no elements.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    return record(np.all(a, axis=reduction_axes(axis, a.ndim), keepdims=keepdims))


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))), without overflow; -inf of nothing, and of nothing but -inf.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int or sequence of int, optional
        Axes to sum over; default all.
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
    top = a.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, a.dtype.type(0))
    with np.errstate(divide="ignore"):
        kept = np.log(np.exp(a - top).sum(axis=axes, keepdims=True)) + top
    value = kept if keepdims else kept.squeeze(axes)

    def vjp(g: Array) -> Array:
        safe = np.where(np.isneginf(kept), a.dtype.type(0), kept)
        share: Array = np.exp(a - safe)
        return expand_reduced(g, a.shape, axes) * share

    return record(value, (x, vjp))


def cumsum(x: ArrayLike, axis: int) -> Tensor:
    """Running sum along an axis.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Axis to sum along.

    Returns
    -------
    Tensor
        The shape of ``x``; floats in their dtype, integers and booleans as int64.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    axis = normalize_axis(axis, a.ndim)
    value = np.cumsum(a, axis=axis, dtype=_accumulator(a))
    return record(value, (x, lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis)))


def norm(x: ArrayLike, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Vector norm over all the given axes together.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    ord : float, default 2
        The p of the p-norm; ``inf`` for the largest absolute value, ``-inf`` for
        the smallest, 0 for the number of nonzero elements.
    axis : int or sequence of int, optional
        Axes that form the vector; default all.
    keepdims : bool, default False
        Keep them with length 1.

    Returns
    -------
    Tensor
        The shape of ``x`` without these axes.  The derivative at a
        vector of zeros is zero.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = floating(x)
    axes = reduction_axes(axis, a.ndim)
    if np.isinf(ord):
        reduce = functools.partial(np.max, initial=0) if ord > 0 else np.min
        return _extremum(absolute(x if array_of(x) is a else a), axis, keepdims, reduce)
    if ord == 0:
        return record((a != 0).sum(axis=axes, keepdims=keepdims).astype(a.dtype))
    size = np.abs(a)
    with np.errstate(divide="ignore"):  # a negative power of 0 is infinite, its norm 0
        kept = (size**ord).sum(axis=axes, keepdims=True) ** (1 / ord)
    kept = kept.astype(a.dtype)

    def vjp(g: Array) -> Array:
        safe = np.where(kept == 0, 1, kept)
        safe_size = np.where(size == 0, 1, size)
        slope: Array = np.where(size == 0, 0, np.sign(a) * (safe_size / safe) ** (ord - 1))
        weighed: Array = expand_reduced(g, a.shape, axes) * slope.astype(a.dtype)
        return weighed

    return record(kept if keepdims else kept.squeeze(axes), (x, vjp))
