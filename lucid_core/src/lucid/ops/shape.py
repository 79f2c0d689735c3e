"""Rearranging elements: none of these compute anything, their derivatives put things back."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.variable import Array
from lucid.ops.operands import Axis, normalise_axes, normalise_axis, removed_axes

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Shape = int | Sequence[int]


def shape_of(shape: tuple[Shape, ...]) -> tuple[int, ...]:
    """A shape given as separate integers or as one sequence.

    Raises
    ------
    TypeError
        If a length is no integer.
    """
    given: Any = shape
    if len(shape) == 1 and isinstance(shape[0], Iterable) and np.ndim(shape[0]):
        given = shape[0]
    try:
        return tuple(operator.index(n) for n in given)
    except TypeError:
        raise TypeError(f"the lengths of a shape must be integers, got {given!r}") from None


def reshape(x: ArrayLike, *shape: Shape) -> Tensor:
    """The same elements in another shape; one length may be -1, to be worked out."""
    a = array_of(x)
    return record(a.reshape(shape_of(shape)), (x, lambda g: g.reshape(a.shape)))


def flatten(x: ArrayLike, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """Axes ``start_axis`` to ``end_axis`` (included) joined into one."""
    a = array_of(x)
    if a.ndim == 0:
        return reshape(x, 1)
    start, end = normalise_axis(start_axis, a.ndim), normalise_axis(end_axis, a.ndim)
    if start > end:
        raise ValueError(f"start_axis {start_axis} comes after end_axis {end_axis}")
    joined = int(np.prod(a.shape[start : end + 1]))
    return reshape(x, (*a.shape[:start], joined, *a.shape[end + 1 :]))


def transpose(x: ArrayLike, *axes: int) -> Tensor:
    """Exchange two axes, or reorder all of them.

    Two axes are exchanged, as in PyTorch; as many as the tensor has are the new
    order, as in NumPy; none reverses the order.
    """
    a = array_of(x)
    order = list(range(a.ndim))
    if len(axes) == 2:
        i, j = (normalise_axis(axis, a.ndim) for axis in axes)
        order[i], order[j] = j, i
    elif axes:
        return permute(x, *axes)
    else:
        order.reverse()
    return permute(x, *order)


def permute(x: ArrayLike, *axes: Shape) -> Tensor:
    """The axes in a new order."""
    a = array_of(x)
    order = normalise_axes(shape_of(axes), a.ndim)
    if len(order) != a.ndim:
        raise ValueError(f"permute needs an order of all {a.ndim} axes, got {axes}")
    back = np.argsort(order)
    return record(a.transpose(order), (x, lambda g: g.transpose(back)))


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """One axis moved to another place, or several, the others keeping their order."""
    a = array_of(x)
    sources, places = normalise_axes(source, a.ndim), normalise_axes(destination, a.ndim)
    if len(sources) != len(places):
        raise ValueError(f"moveaxis of axes {source} to as many places, got {destination}")
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute(x, order)


def squeeze(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Without axes of length 1: all of them, or those named (others are left as they are)."""
    a = array_of(x)
    axes = tuple(i for i in removed_axes(axis, a.ndim) if a.shape[i] == 1)
    return record(a.squeeze(axes), (x, lambda g: g.reshape(a.shape)))


def unsqueeze(x: ArrayLike, axis: int) -> Tensor:
    """With a new axis of length 1 at ``axis``."""
    a = array_of(x)
    place = normalise_axis(axis, a.ndim + 1)
    return record(np.expand_dims(a, place), (x, lambda g: g.reshape(a.shape)))


def expand(x: ArrayLike, *shape: Shape) -> Tensor:
    """Broadcast to a shape; -1 keeps an axis as it is.  The result is a read-only view."""
    a = array_of(x)
    wanted = shape_of(shape)
    offset = len(wanted) - a.ndim
    if offset < 0:
        raise ValueError(f"cannot expand shape {a.shape} to fewer axes: {wanted}")
    if -1 in wanted[:offset]:
        raise ValueError(f"-1 in {wanted} stands for an axis that shape {a.shape} does not have")
    full = tuple(a.shape[i - offset] if n == -1 else n for i, n in enumerate(wanted))
    return record(np.broadcast_to(a, full), (x, lambda g: unbroadcast(g, a.shape)))


broadcast_to = expand


def flip(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Reversed along the given axes, all of them for None."""
    a = array_of(x)
    axes = normalise_axes(axis, a.ndim)
    return record(np.flip(a, axes), (x, lambda g: np.flip(g, axes)))


def roll(x: ArrayLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Shifted along axes, what leaves at one end entering at the other."""
    a = array_of(x)
    back = -shift if isinstance(shift, (int, np.integer)) else tuple(-s for s in shift)
    place = axis if axis is None or isinstance(axis, (int, np.integer)) else tuple(axis)
    return record(np.roll(a, shift, place), (x, lambda g: np.roll(g, back, place)))


def tril(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Lower triangle of the last two axes, the rest zero."""
    return _triangle(x, diagonal, np.tril)


def triu(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Upper triangle of the last two axes, the rest zero."""
    return _triangle(x, diagonal, np.triu)


def _triangle(x: ArrayLike, diagonal: int, keep: Callable[[Array, int], Array]) -> Tensor:
    a = array_of(x)
    if a.ndim < 2:  # of which NumPy makes a matrix of copies
        raise ValueError(f"a triangle needs at least two axes, got shape {a.shape}")
    return record(keep(a, diagonal), (x, lambda g: keep(g, diagonal)))
