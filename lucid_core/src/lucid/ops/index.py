"""Indexing, gather, scatter, unique and one-hot encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from lucid.autograd import ArrayLike, Variable, array_of, record, unbroadcast
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.operands import normalize_axis, operands, save_for_backward, zeros_like

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def as_array_index(index: Any) -> Any:
    """Convert tensors, lists and nested tuples in an index to arrays."""
    if isinstance(index, tuple):
        return tuple(as_array_index(list(i) if isinstance(i, tuple) else i) for i in index)
    if isinstance(index, Variable):
        return index._data
    if isinstance(index, list):
        array = np.asarray(index)
        return array if array.size else array.astype(np.int64)
    return index


def copy_index(index: Any) -> Any:
    """Convert an index as `as_array_index` and copy NumPy arrays, which backward reads later."""
    if isinstance(index, tuple):
        return tuple(copy_index(list(i) if isinstance(i, tuple) else i) for i in index)
    return index.copy() if isinstance(index, np.ndarray) else as_array_index(index)


def _may_repeat(index: Any) -> bool:
    """Whether an index may select an element twice: only integer arrays can."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, np.ndarray) and i.dtype.kind in "iu" and i.ndim for i in parts)


def last_assigned(a: Array, index: Any) -> Array:
    """Return ``a[index]``, with 0 where a later entry of the index selects the same element."""
    chosen = a[index]
    if not _may_repeat(index):
        return np.asarray(chosen)
    numbers = np.arange(chosen.size).reshape(chosen.shape)
    last = np.empty(a.shape, np.int64)
    last[index] = numbers
    kept: Array = np.where(last[index] == numbers, chosen, a.dtype.type(0))
    return kept


def getitem(x: ArrayLike, index: Any) -> Tensor:
    """Index as in NumPy; gradients of elements selected more than once add up.

    Basic indices give a view of ``x``, index arrays and masks a copy.
    """
    a = array_of(x)
    recorded = needs_grad(x)
    index = copy_index(index) if recorded else as_array_index(index)
    value = a[index]
    if not isinstance(value, np.ndarray):  # a scalar copy; get a 0-d view instead
        value = a[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    if not recorded:
        return record(value)
    zeros = zeros_like(a)

    def vjp(g: Array) -> Array:
        gradient = zeros()
        if _may_repeat(index):
            np.add.at(gradient, index, g)
        else:
            gradient[index] = g
        return gradient

    return record(value, (x, vjp))


@overload
def where(condition: ArrayLike) -> tuple[Tensor, ...]: ...
@overload
def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Tensor: ...
def where(
    condition: ArrayLike, x: ArrayLike | None = None, y: ArrayLike | None = None
) -> Tensor | tuple[Tensor, ...]:
    """Select elements of ``x`` where ``condition`` is true, else of ``y``.

    Parameters
    ----------
    condition : array-like
        Booleans; nonzero numbers are true.
    x, y : array-like, optional
        Shapes that broadcast with ``condition``.  Without both, see :func:`lucid.nonzero`.

    Returns
    -------
    Tensor or tuple of Tensor
        Broadcast shape, common dtype of ``x`` and ``y`` (see :func:`lucid.add`).  Without them,
        the indices of true elements, one int64 tensor per axis.

    Raises
    ------
    TypeError
        If only one of ``x`` and ``y`` is given.
    ValueError
        If the shapes do not broadcast.
    """
    chosen = save_for_backward(array_of(condition).astype(bool, copy=False), condition, x, y)
    if x is None and y is None:
        return tuple(record(indices) for indices in np.nonzero(chosen))
    if x is None or y is None:
        raise TypeError("where expected x and y, got only one of them; pass both")
    a, b = operands(x, y)
    zero, sa, sb = a.dtype.type(0), a.shape, b.shape
    return record(
        np.where(chosen, a, b),
        (x, lambda g: unbroadcast(np.where(chosen, g, zero), sa)),
        (y, lambda g: unbroadcast(np.where(chosen, zero, g), sb)),
    )


def gather(x: ArrayLike, axis: int, index: ArrayLike) -> Tensor:
    """Gather elements along an axis: ``out[i, j] = x[i, index[i, j]]`` for ``axis=1``.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Axis to index.
    index : array-like of int
        Same number of axes as ``x``; no other axis longer than that of ``x``.  Negative indices
        count from the end, as in NumPy.

    Returns
    -------
    Tensor
        Shape of ``index``, dtype of ``x``.

    Raises
    ------
    IndexError
        If an index is out of range, or an axis is too long.
    ValueError
        If ``index`` and ``x`` differ in the number of axes.
    TypeError
        If ``index`` is not integer.
    """
    a, chosen = array_of(x), save_for_backward(array_of(index), index, x)
    full = _axis_index(a, chosen, axis)
    zeros = zeros_like(a)

    def vjp(g: Array) -> Array:
        gradient = zeros()
        np.add.at(gradient, full, g)
        return gradient

    return record(a[full], (x, vjp))


def scatter_add(x: ArrayLike, axis: int, index: ArrayLike, source: ArrayLike) -> Tensor:
    """Add elements of ``source`` to a copy of ``x`` at indices along an axis.

    ``out[i, index[i, j]] += source[i, j]`` for ``axis=1``; repeated indices add up.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Axis to index.
    index : array-like of int
        Same number of axes as ``x``; no other axis longer than that of ``x``.  Negative indices
        count from the end, as in NumPy.
    source : array-like
        Shape of ``index``.

    Returns
    -------
    Tensor
        Shape of ``x``, common dtype of ``x`` and ``source`` (see :func:`lucid.add`).

    Raises
    ------
    IndexError
        If an index is out of range, or an axis is too long.
    ValueError
        If ``index`` and ``source`` differ in shape, or ``x`` in the number of axes.
    TypeError
        If ``index`` is not integer.
    """
    a, added = operands(x, source)
    chosen = save_for_backward(array_of(index), index, source)
    if chosen.shape != added.shape:
        raise ValueError(
            f"scatter_add expected a source of the index's shape {chosen.shape}, got {added.shape}"
        )
    full = _axis_index(a, chosen, axis)
    value = a.copy(order="K")
    np.add.at(value, full, added)
    return record(value, (x, lambda g: g), (source, lambda g: g[full]))


def _axis_index(a: Array, index: Array, axis: int) -> tuple[Array, ...]:
    """Expand ``index`` along ``axis`` to an index of all axes."""
    position = normalize_axis(axis, a.ndim)
    if index.ndim != a.ndim:
        raise ValueError(f"expected an index of {a.ndim} axes, got {index.ndim}")
    if index.dtype.kind not in "iu":
        raise TypeError(f"expected an integer index, got {index.dtype}")
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[position] = index
    return tuple(grid)


@overload
def unique(
    x: ArrayLike,
    *,
    return_index: Literal[False] = False,
    return_inverse: Literal[False] = False,
    return_counts: Literal[False] = False,
    axis: int | None = None,
) -> Tensor: ...
@overload
def unique(
    x: ArrayLike,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Any: ...
def unique(
    x: ArrayLike,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Any:
    """Sorted unique elements; all NaN count as one; no gradient.

    Parameters
    ----------
    x : array-like
        Any shape.
    return_index : bool, default False
        Also return the index of the first occurrence, flat or along ``axis``.
    return_inverse : bool, default False
        Also return the index of the unique element for each element or slice of ``x``.
    return_counts : bool, default False
        Also return the number of occurrences.
    axis : int, optional
        Compare slices along this axis; default single elements.

    Returns
    -------
    Tensor
        Shape (U,), or that of ``x`` with length U along ``axis``.
    Tensor, ...
        The optional results in the order of the parameters, int64 of shape (U,); the inverse
        has the shape of ``x``, or ``(x.shape[axis],)`` if ``axis`` is given.
    """
    a = array_of(x)
    if not (return_index or return_inverse or return_counts):
        return record(np.unique(a, axis=axis)).detach()
    values, index, inverse, counts = np.unique(a, True, True, True, axis)
    # The shape differs between NumPy versions.
    inverse = inverse.reshape(a.shape if axis is None else -1)
    optional = ((return_index, index), (return_inverse, inverse), (return_counts, counts))
    return (record(values).detach(), *(record(array) for wanted, array in optional if wanted))


def nonzero(x: ArrayLike) -> tuple[Tensor, ...]:
    """Find the indices of nonzero elements, one tensor per axis, as in NumPy.

    Parameters
    ----------
    x : array-like
        At least one axis.

    Returns
    -------
    tuple of Tensor
        For each axis the int64 indices of the K nonzero elements, shape (K,), in C order.

    Raises
    ------
    ValueError
        If ``x`` is 0-d.
    """
    return tuple(record(i) for i in np.nonzero(array_of(x)))


def one_hot(x: ArrayLike, num_classes: int = -1) -> Tensor:
    """One-hot encoding of class indices.

    Parameters
    ----------
    x : array-like of int
        Any shape.
    num_classes : int, default -1
        Number of classes C; -1 for the largest index plus 1.

    Returns
    -------
    Tensor
        Shape (..., C), int64.

    Raises
    ------
    ValueError
        If an index is not in [0, C), or C cannot be inferred from an empty tensor.
    TypeError
        If ``x`` is not integer.
    """
    a = array_of(x)
    if a.dtype.kind not in "iu":
        raise TypeError(f"one_hot expected integers, got {a.dtype}")
    if num_classes == -1:
        if not a.size:
            raise ValueError(f"one_hot expected elements, got shape {a.shape}; pass num_classes")
        num_classes = int(a.max()) + 1
    if num_classes < 0:
        raise ValueError(f"one_hot expected num_classes >= -1, got {num_classes}")
    if a.size and (a.min() < 0 or a.max() >= num_classes):
        raise ValueError(
            f"one_hot expected class indices in [0, {num_classes - 1}], got {a.min()} to {a.max()}"
        )
    return record((a[..., None] == np.arange(num_classes)).astype(np.int64))
