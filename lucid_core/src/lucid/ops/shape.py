"""Rearranging elements: none of these compute anything, their derivatives put things back."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.variable import Array
from lucid.ops.operands import Axis, normalize_axes, normalize_axis, reduction_axes

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
    """The same elements in another shape; one length may be -1, to be worked out.

    Parameters
    ----------
    x : array-like
        Any shape.
    *shape : int or sequence of int
        The lengths, one by one or as one sequence.

    Returns
    -------
    Tensor
        A view of ``x`` where its memory allows, else a copy.

    Raises
    ------
    ValueError
        If ``x`` has another number of elements.
    TypeError
        If a length is no integer.
    """
    a = array_of(x)
    before = a.shape
    return record(a.reshape(shape_of(shape)), (x, lambda g: g.reshape(before)))


def view(x: ArrayLike, *shape: Shape) -> Tensor:
    """The same memory in another shape; one length may be -1, to be worked out.

    Parameters
    ----------
    x : array-like
        Any shape.
    *shape : int or sequence of int
        The lengths, one by one or as one sequence.

    Returns
    -------
    Tensor
        A view of ``x``: writing into one changes the other.

    Raises
    ------
    ValueError
        If ``x`` has another number of elements, or its memory cannot be seen in that shape
        without a copy, which :func:`reshape` makes.
    TypeError
        If a length is no integer.
    """
    a, wanted = array_of(x), shape_of(shape)
    seen = a.reshape(wanted)
    if not np.may_share_memory(seen, a) and a.size:
        raise ValueError(
            f"a view of shape {wanted} does not exist for a tensor of shape {a.shape} with "
            f"strides {a.strides}: use reshape(), which copies"
        )
    before = a.shape
    return record(seen, (x, lambda g: g.reshape(before)))


def flatten(x: ArrayLike, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """Axes ``start_axis`` to ``end_axis`` (included) joined into one.

    Parameters
    ----------
    x : array-like
        Any shape; a scalar becomes a vector of one element.
    start_axis : int, default 0
        First axis to join.
    end_axis : int, default -1
        Last axis to join.

    Returns
    -------
    Tensor
        A view of ``x`` where its memory allows, else a copy.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If ``start_axis`` comes after ``end_axis``.
    """
    a = array_of(x)
    if a.ndim == 0:
        return reshape(x, 1)
    start, end = normalize_axis(start_axis, a.ndim), normalize_axis(end_axis, a.ndim)
    if start > end:
        raise ValueError(f"start_axis {start_axis} comes after end_axis {end_axis}")
    joined = int(np.prod(a.shape[start : end + 1]))
    return reshape(x, (*a.shape[:start], joined, *a.shape[end + 1 :]))


def transpose(x: ArrayLike, *axes: int) -> Tensor:
    """Exchange two axes, or reorder all of them.

    Two axes are exchanged, as in PyTorch; as many as the tensor has are the new
    order, as in NumPy; none reverses the order.

    Parameters
    ----------
    x : array-like
        Any shape.
    *axes : int
        Two axes to exchange, all axes in their new order, or none.

    Returns
    -------
    Tensor
        A view of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If they are neither two nor all, or one is given twice in an order of all.
    """
    a = array_of(x)
    order = list(range(a.ndim))
    if len(axes) == 2:
        i, j = (normalize_axis(axis, a.ndim) for axis in axes)
        order[i], order[j] = j, i
    elif axes:
        return permute(x, *axes)
    else:
        order.reverse()
    return permute(x, *order)


def permute(x: ArrayLike, *axes: Shape) -> Tensor:
    """The axes in a new order.

    Parameters
    ----------
    x : array-like
        Any shape.
    *axes : int or sequence of int
        All axes in their new order, one by one or as one sequence.

    Returns
    -------
    Tensor
        A view of ``x``; its axis i is axis ``axes[i]`` of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is missing or given twice.
    TypeError
        If an axis is no integer.
    """
    a = array_of(x)
    order = normalize_axes(shape_of(axes), a.ndim)
    if len(order) != a.ndim:
        raise ValueError(f"permute needs an order of all {a.ndim} axes, got {axes}")
    back = np.argsort(order)
    return record(a.transpose(order), (x, lambda g: g.transpose(back)))


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """One axis moved to another place, or several, the others keeping their order.

    Parameters
    ----------
    x : array-like
        Any shape.
    source : int or sequence of int
        Axes to move.
    destination : int or sequence of int
        The place of each in the result.

    Returns
    -------
    Tensor
        A view of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis or place.
    ValueError
        If there are not as many places as axes, or one is given twice.
    """
    a = array_of(x)
    sources, places = normalize_axes(source, a.ndim), normalize_axes(destination, a.ndim)
    if len(sources) != len(places):
        raise ValueError(f"moveaxis of axes {source} to as many places, got {destination}")
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute(x, order)


def squeeze(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Without axes of length 1: all of them, or those named (others are left as they are).

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to remove where they have length 1; default all.

    Returns
    -------
    Tensor
        A view of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    axes = tuple(i for i in reduction_axes(axis, a.ndim) if a.shape[i] == 1)
    shape = a.shape
    return record(a.squeeze(axes), (x, lambda g: g.reshape(shape)))


def unsqueeze(x: ArrayLike, axis: int) -> Tensor:
    """With a new axis of length 1 at ``axis``.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int
        Place of the new axis in the result; -1 puts it last.

    Returns
    -------
    Tensor
        A view of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If the result has no such axis.
    """
    a = array_of(x)
    place, shape = normalize_axis(axis, a.ndim + 1), a.shape
    return record(np.expand_dims(a, place), (x, lambda g: g.reshape(shape)))


def expand(x: ArrayLike, *shape: Shape) -> Tensor:
    """Broadcast to a shape.

    Parameters
    ----------
    x : array-like
        A shape that broadcasts to the one wanted.
    *shape : int or sequence of int
        The lengths, one by one or as one sequence; -1 keeps an axis as it is.

    Returns
    -------
    Tensor
        A view of ``x``, which must not be written into.

    Raises
    ------
    ValueError
        If ``x`` does not broadcast to the shape, or -1 stands for an axis that it does not have.
    TypeError
        If a length is no integer.
    """
    a = array_of(x)
    wanted = shape_of(shape)
    offset = len(wanted) - a.ndim
    if offset < 0:
        raise ValueError(f"cannot expand shape {a.shape} to fewer axes: {wanted}")
    if -1 in wanted[:offset]:
        raise ValueError(f"-1 in {wanted} stands for an axis that shape {a.shape} does not have")
    full = tuple(a.shape[i - offset] if n == -1 else n for i, n in enumerate(wanted))
    before = a.shape
    return record(np.broadcast_to(a, full), (x, lambda g: unbroadcast(g, before)))


broadcast_to = expand


def flip(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Reversed along axes.

    Parameters
    ----------
    x : array-like
        Any shape.
    axis : int or sequence of int, optional
        Axes to reverse; default all.

    Returns
    -------
    Tensor
        A view of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If an axis is given twice.
    """
    a = array_of(x)
    axes = normalize_axes(axis, a.ndim)
    return record(np.flip(a, axes), (x, lambda g: np.flip(g, axes)))


def roll(x: ArrayLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Shifted along axes, what leaves at one end entering at the other.

    Parameters
    ----------
    x : array-like
        Any shape.
    shift : int or sequence of int
        By how many places, towards higher indices: one number for all axes, or one for each.
    axis : int or sequence of int, optional
        Axes to shift along; by default the flattened tensor, which then regains its shape.

    Returns
    -------
    Tensor
        A copy, of the shape of ``x``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    back = -shift if isinstance(shift, (int, np.integer)) else tuple(-s for s in shift)
    place = axis if axis is None or isinstance(axis, (int, np.integer)) else tuple(axis)
    return record(np.roll(a, shift, place), (x, lambda g: np.roll(g, back, place)))


def tril(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Lower triangle of the last two axes, the rest zero.

    Parameters
    ----------
    x : array-like
        Shape (..., M, N).
    diagonal : int, default 0
        Last diagonal to keep: 0 is the main one, positive ones lie above it.

    Returns
    -------
    Tensor
        A copy, of the shape and dtype of ``x``.

    Raises
    ------
    ValueError
        If ``x`` has fewer than two axes.
    """
    return _triangle(x, diagonal, np.tril)


def triu(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Upper triangle of the last two axes, the rest zero.

    Parameters
    ----------
    x : array-like
        Shape (..., M, N).
    diagonal : int, default 0
        First diagonal to keep: 0 is the main one, positive ones lie above it.

    Returns
    -------
    Tensor
        A copy, of the shape and dtype of ``x``.

    Raises
    ------
    ValueError
        If ``x`` has fewer than two axes.
    """
    return _triangle(x, diagonal, np.triu)


def _triangle(x: ArrayLike, diagonal: int, keep: Callable[[Array, int], Array]) -> Tensor:
    a = array_of(x)
    if a.ndim < 2:  # of which NumPy makes a matrix of copies
        raise ValueError(f"a triangle needs at least two axes, got shape {a.shape}")
    return record(keep(a, diagonal), (x, lambda g: keep(g, diagonal)))
