"""Choosing elements: indexing, gathering, scattering."""

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
    """An index in which tensors, lists, and tuples inside the index have become arrays."""
    if isinstance(index, tuple):
        return tuple(as_array_index(list(i) if isinstance(i, tuple) else i) for i in index)
    if isinstance(index, Variable):
        return index._data
    if isinstance(index, list):
        array = np.asarray(index)
        return array if array.size else array.astype(np.int64)
    return index


def copy_index(index: Any) -> Any:
    """An index as `as_array_index` gives it, in which the user's arrays are copied.

    A derivative keeps it, and nobody notices when an array of NumPy is written.
    """
    if isinstance(index, tuple):
        return tuple(copy_index(list(i) if isinstance(i, tuple) else i) for i in index)
    return index.copy() if isinstance(index, np.ndarray) else as_array_index(index)


def _may_repeat(index: Any) -> bool:
    """Whether one element may be chosen twice: only by arrays of integers."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, np.ndarray) and i.dtype.kind in "iu" and i.ndim for i in parts)


def last_assigned(a: Array, index: Any) -> Array:
    """``a[index]``, but 0 where a later place of the index chooses the same element."""
    chosen = a[index]
    if not _may_repeat(index):
        return np.asarray(chosen)
    numbers = np.arange(chosen.size).reshape(chosen.shape)
    last = np.empty(a.shape, np.int64)
    last[index] = numbers
    kept: Array = np.where(last[index] == numbers, chosen, a.dtype.type(0))
    return kept


def getitem(x: ArrayLike, index: Any) -> Tensor:
    """``x[index]`` with NumPy's rules; an element chosen twice receives both gradients.

    Integers, slices, None and an ellipsis give a view of ``x``, index arrays and masks a copy.
    """
    a = array_of(x)
    recorded = needs_grad(x)
    index = copy_index(index) if recorded else as_array_index(index)
    value = a[index]
    if not isinstance(value, np.ndarray):  # NumPy copies a single element, a view shares memory
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
    """x where ``condition`` holds, else y.

    Without x and y: where it holds, as :func:`lucid.nonzero` says it.

    Parameters
    ----------
    condition : array-like
        Booleans; of numbers those that are not 0 hold.
    x, y : array-like, optional
        Both or neither; all three broadcast together.

    Returns
    -------
    Tensor or tuple of Tensor
        With x and y the broadcast shape, in their common dtype as :func:`lucid.add` has it.
        Without them, for each axis of ``condition`` the int64 indices along it, of shape (K,)
        for K places where it holds.

    Raises
    ------
    TypeError
        If only one of x and y is given.
    ValueError
        If the shapes do not broadcast.
    """
    chosen = save_for_backward(array_of(condition).astype(bool, copy=False), condition, x, y)
    if x is None and y is None:
        return tuple(record(places) for places in np.nonzero(chosen))
    if x is None or y is None:
        raise TypeError("where takes both x and y, or neither")
    a, b = operands(x, y)
    zero, sa, sb = a.dtype.type(0), a.shape, b.shape
    return record(
        np.where(chosen, a, b),
        (x, lambda g: unbroadcast(np.where(chosen, g, zero), sa)),
        (y, lambda g: unbroadcast(np.where(chosen, zero, g), sb)),
    )


def gather(x: ArrayLike, axis: int, index: ArrayLike) -> Tensor:
    """Elements chosen along an axis: ``out[i, j] = x[i, index[i, j]]`` for ``axis=1``.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Axis that ``index`` points along.
    index : array-like of int
        As many axes as ``x``; no other axis longer than that of ``x``.
        Negative numbers count from the end, as in NumPy.

    Returns
    -------
    Tensor
        The shape of ``index``, in the dtype of ``x``.  What is chosen twice receives both
        gradients.

    Raises
    ------
    IndexError
        If a number lies beyond the axis, or an axis is too long.
    ValueError
        If ``index`` has another number of axes than ``x``.
    TypeError
        If ``index`` does not hold integers.
    """
    a, chosen = array_of(x), save_for_backward(array_of(index), index, x)
    places = _along(a, chosen, axis)
    zeros = zeros_like(a)

    def vjp(g: Array) -> Array:
        gradient = zeros()
        np.add.at(gradient, places, g)
        return gradient

    return record(a[places], (x, vjp))


def scatter_add(x: ArrayLike, axis: int, index: ArrayLike, source: ArrayLike) -> Tensor:
    """A copy of x with elements of ``source`` added where ``index`` points along an axis.

    ``out[i, index[i, j]] += source[i, j]`` for ``axis=1``; repeated places add up.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Axis that ``index`` points along.
    index : array-like of int
        As many axes as ``x``; no other axis longer than that of ``x``.
        Negative numbers count from the end, as in NumPy.
    source : array-like
        The shape of ``index``.

    Returns
    -------
    Tensor
        The shape of ``x``, in the common dtype of x and ``source`` as :func:`lucid.add` has it.

    Raises
    ------
    IndexError
        If a number lies beyond the axis, or an axis is too long.
    ValueError
        If ``index`` and ``source`` differ in shape, or ``x`` has another number of axes.
    TypeError
        If ``index`` does not hold integers.
    """
    a, added = operands(x, source)
    chosen = save_for_backward(array_of(index), index, source)
    if chosen.shape != added.shape:
        raise ValueError(f"index has shape {chosen.shape} but source has {added.shape}")
    places = _along(a, chosen, axis)
    value = a.copy(order="K")
    np.add.at(value, places, added)
    return record(value, (x, lambda g: g), (source, lambda g: g[places]))


def _along(a: Array, index: Array, axis: int) -> tuple[Array, ...]:
    """The full index of every element that ``index`` chooses along ``axis``."""
    place = normalize_axis(axis, a.ndim)
    if index.ndim != a.ndim:
        raise ValueError(f"index has {index.ndim} axes, the tensor has {a.ndim}")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index must hold integers, got {index.dtype}")
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[place] = index
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
    """The distinct elements in ascending order, every NaN the same one; no gradient.

    Parameters
    ----------
    x : array-like
        Any shape.
    return_index : bool, default False
        Say, too, where each stands first in the flattened tensor, or along ``axis``.
    return_inverse : bool, default False
        Say, too, which of them stands at each place of ``x``, or along ``axis``.
    return_counts : bool, default False
        Say, too, how often each comes.
    axis : int, optional
        Compare the slices along this axis; default the elements.

    Returns
    -------
    Tensor
        Shape (U,), or that of ``x`` with the axis of length U.
    Tensor, ...
        What was asked for beside it, in the order of the parameters: int64 of
        shape (U,), the inverse of the shape of ``x``, or along ``axis`` of its length.
    """
    a = array_of(x)
    if not (return_index or return_inverse or return_counts):
        return record(np.unique(a, axis=axis)).detach()
    values, index, inverse, counts = np.unique(a, True, True, True, axis)
    # NumPy has changed its mind about this shape twice.
    inverse = inverse.reshape(a.shape if axis is None else -1)
    asked = ((return_index, index), (return_inverse, inverse), (return_counts, counts))
    return (record(values).detach(), *(record(array) for wanted, array in asked if wanted))


def nonzero(x: ArrayLike) -> tuple[Tensor, ...]:
    """Where elements are nonzero: one index tensor for each axis, as NumPy gives them.

    Parameters
    ----------
    x : array-like
        At least one axis.

    Returns
    -------
    tuple of Tensor
        For each axis of ``x`` the int64 indices along it, of shape (K,) for K nonzero elements;
        the last axis varies fastest.

    Raises
    ------
    ValueError
        If ``x`` has no axes.
    """
    return tuple(record(i) for i in np.nonzero(array_of(x)))


def one_hot(x: ArrayLike, num_classes: int = -1) -> Tensor:
    """Integers as rows of zeros with a single 1.

    Parameters
    ----------
    x : array-like of int
        Any shape.
    num_classes : int, default -1
        Length of the rows; -1 for as many as the largest element needs.

    Returns
    -------
    Tensor
        Shape ``(*x.shape, num_classes)``, int64.

    Raises
    ------
    ValueError
        If an element is negative or not below ``num_classes``, or there is none
        to tell how many classes there are.
    TypeError
        If ``x`` does not hold integers.
    """
    a = array_of(x)
    if a.dtype.kind not in "iu":
        raise TypeError(f"one_hot takes integers, got {a.dtype}")
    if num_classes == -1:
        if not a.size:
            raise ValueError(f"one_hot of no elements, shape {a.shape}, needs num_classes")
        num_classes = int(a.max()) + 1
    if num_classes < 0:
        raise ValueError(f"one_hot needs a number of classes, or -1, got {num_classes}")
    if a.size and (a.min() < 0 or a.max() >= num_classes):
        raise ValueError(
            f"one_hot of {num_classes} classes takes 0 to {num_classes - 1}, "
            f"got values from {a.min()} to {a.max()}"
        )
    return record((a[..., None] == np.arange(num_classes)).astype(np.int64))
