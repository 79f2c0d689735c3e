"""Reductions over one axis, several axes, or all axes (``axis=None``).

As in PyTorch, a 0-d tensor may be reduced along axis 0 or -1.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.dtypes import DType, int64
from lucid.ops.arithmetic import abs as absolute
from lucid.ops.docstrings import (
    AXIS,
    AXIS_ERRORS,
    FLOAT,
    KEEPDIMS,
    NO_AXIS,
    add_sections,
    reduction,
)
from lucid.ops.operands import Axis, floating, normalize_axis, reduction_axes

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def expand_reduced(g: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Broadcast the gradient of a reduction to the input ``shape``."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return np.broadcast_to(g.reshape(kept), shape)


def _accumulator(a: Array) -> DType:
    """Return the dtype of sums and products: that of floats, int64 for the rest."""
    return a.dtype if a.dtype.kind == "f" else int64


@reduction(
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``); 0 for no elements."
)
def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over axes; integers and booleans are summed as int64."""
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    shape = a.shape
    value = a.sum(axis=axes, keepdims=keepdims, dtype=_accumulator(a))
    return record(value, (x, lambda g: expand_reduced(g, shape, axes)))


@reduction(
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``); 1 for no elements."
)
def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Product over axes; integers and booleans are multiplied as int64.

    The gradient is exact for any number of zeros.
    """
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    value = a.prod(axis=axes, keepdims=keepdims, dtype=_accumulator(a))

    def vjp(g: Array) -> Array:
        # Product of the other elements = product of those before * product of those after.
        rest = [i for i in range(a.ndim) if i not in axes]
        lined = a.transpose(rest + list(axes))
        # Not -1, which cannot be inferred if another axis is empty.
        length = int(np.prod([a.shape[i] for i in axes]))
        flat = lined.reshape([a.shape[i] for i in rest] + [length])
        one = np.ones_like(flat[..., :1])
        before = np.cumprod(np.concatenate([one, flat[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([one, flat[..., :0:-1]], -1), -1)[..., ::-1]
        others: Array = (before * after).reshape(lined.shape)
        others = others.transpose(np.argsort(rest + list(axes)))
        return expand_reduced(g, a.shape, axes) * others

    return record(value, (x, vjp))


_extremum_docs = reduction(
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``), dtype of ``x``.",
    raises={"ValueError": "If an axis is repeated, or there are no elements."},
)


@_extremum_docs
def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Maximum along axes, NaN if any is NaN; equal elements share the gradient evenly.

    Notes
    -----
    PyTorch returns ``(values, indices)`` for one axis.  Lucid returns the values alone, as NumPy
    does: ``values, indices = x.max(1)`` would unpack two rows of values.  Use ``x.max(1)`` and
    ``x.argmax(1)``.
    """
    return _extremum(x, axis, keepdims, np.max)


@_extremum_docs
def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Minimum along axes, NaN if any is NaN; equal elements share the gradient evenly.

    Notes
    -----
    PyTorch returns ``(values, indices)`` for one axis.  Lucid returns the values alone, as NumPy
    does: ``values, indices = x.min(1)`` would unpack two rows of values.  Use ``x.min(1)`` and
    ``x.argmin(1)``.
    """
    return _extremum(x, axis, keepdims, np.min)


def _extremum(x: ArrayLike, axis: Axis, keepdims: bool, reduce: object) -> Tensor:
    a = array_of(x)
    axes = reduction_axes(axis, a.ndim)
    kept = reduce(a, axis=axes, keepdims=True)  # type: ignore[operator]

    def vjp(g: Array) -> Array:
        # A NaN maximum is not equal to itself.
        chosen = (a == kept) | (np.isnan(kept) & np.isnan(a))
        share: Array = chosen / chosen.sum(axis=axes, keepdims=True)
        weighed: Array = expand_reduced(g, a.shape, axes) * share.astype(g.dtype)
        return weighed

    return record(kept if keepdims else kept.squeeze(axes), (x, vjp))


@reduction(
    "Booleans, shape of ``x`` without the reduced axes "
    "(length 1 with ``keepdims``); False for no elements.",
    "Any shape; NaN counts as nonzero.",
)
def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Test whether any element is nonzero."""
    a = array_of(x)
    return record(np.any(a, axis=reduction_axes(axis, a.ndim), keepdims=keepdims))


@reduction(
    "Booleans, shape of ``x`` without the reduced axes "
    "(length 1 with ``keepdims``); True for no elements.",
    "Any shape; NaN counts as nonzero.",
)
def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Test whether all elements are nonzero."""
    a = array_of(x)
    return record(np.all(a, axis=reduction_axes(axis, a.ndim), keepdims=keepdims))


@reduction(
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``); -inf for no elements.",
    FLOAT,
)
def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Logarithm of the sum of exponentials, ``log(sum(exp(x)))``, without overflow."""
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


@add_sections(
    {"x : array-like": "Any shape.", "axis : int": "Axis to sum along."},
    "Shape of ``x``.",
    NO_AXIS,
)
def cumsum(x: ArrayLike, axis: int) -> Tensor:
    """Cumulative sum along an axis; integers and booleans are summed as int64."""
    a = array_of(x)
    axis = normalize_axis(axis, a.ndim)
    value = np.cumsum(a, axis=axis, dtype=_accumulator(a))
    return record(value, (x, lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis)))


@add_sections(
    {
        "x : array-like": FLOAT,
        "ord : float, default 2": "Order of the norm; ``inf`` and ``-inf`` for the largest and "
        "smallest absolute value, 0 for the number of nonzero elements.",
    }
    | AXIS
    | KEEPDIMS,
    "Shape of ``x`` without the reduced axes (length 1 with ``keepdims``).",
    AXIS_ERRORS,
)
def norm(x: ArrayLike, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Vector norm over the given axes, ``sum(|x| ** ord) ** (1 / ord)``.

    The gradient at the zero vector is zero.
    """
    a = floating(x)
    axes = reduction_axes(axis, a.ndim)
    if np.isinf(ord):
        reduce = functools.partial(np.max, initial=0) if ord > 0 else np.min
        return _extremum(absolute(x if array_of(x) is a else a), axis, keepdims, reduce)
    if ord == 0:
        return record((a != 0).sum(axis=axes, keepdims=keepdims).astype(a.dtype))
    size = np.abs(a)
    with np.errstate(divide="ignore"):  # 0 to a negative power is inf, and the norm 0
        kept = (size**ord).sum(axis=axes, keepdims=True) ** (1 / ord)
    kept = kept.astype(a.dtype)

    def vjp(g: Array) -> Array:
        safe = np.where(kept == 0, 1, kept)
        safe_size = np.where(size == 0, 1, size)
        slope: Array = np.where(size == 0, 0, np.sign(a) * (safe_size / safe) ** (ord - 1))
        weighed: Array = expand_reduced(g, a.shape, axes) * slope.astype(a.dtype)
        return weighed

    return record(kept if keepdims else kept.squeeze(axes), (x, vjp))
