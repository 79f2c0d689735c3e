"""Shape manipulation: reshape, transpose, expand, flip, roll and triangles."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.variable import Array
from lucid.ops.docstrings import NO_AXIS, add_sections
from lucid.ops.operands import Axis, normalize_axes, normalize_axis, reduction_axes

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Shape = int | Sequence[int]

_X = {"x : array-like": "Any shape."}
_SHAPE = {"*shape : int or sequence of int": "New shape, as integers or one sequence."}
_NOT_INTEGER = {"TypeError": "If an argument is not an integer."}
_REPEATED = {"ValueError": "If an axis is repeated."}
_VIEW = "A view of ``x``."
_VIEW_OR_COPY = "A view of ``x`` if its memory layout allows, else a copy."


def shape_of(shape: tuple[Shape, ...]) -> tuple[int, ...]:
    """Parse a shape passed as separate integers or as one sequence."""
    given: Any = shape
    if len(shape) == 1 and isinstance(shape[0], Iterable) and np.ndim(shape[0]):
        given = shape[0]
    try:
        return tuple(operator.index(n) for n in given)
    except TypeError:
        raise TypeError(f"expected a shape of integers, got {given!r}") from None


def _reshaped(a: Array, shape: tuple[int, ...]) -> Array:
    try:
        return a.reshape(shape)
    except ValueError:
        rule = " and at most one -1" if shape.count(-1) > 1 else ""
        raise ValueError(
            f"expected a shape with {a.size} elements{rule}, got {shape} for x of shape {a.shape}"
        ) from None


@add_sections(
    _X | _SHAPE,
    _VIEW_OR_COPY,
    {"ValueError": "If ``x`` has another number of elements."} | _NOT_INTEGER,
)
def reshape(x: ArrayLike, *shape: Shape) -> Tensor:
    """Reshape; one length may be -1 and is inferred."""
    a = array_of(x)
    before = a.shape
    return record(_reshaped(a, shape_of(shape)), (x, lambda g: g.reshape(before)))


@add_sections(
    _X | _SHAPE,
    "A view of ``x``: writing to one changes the other.",
    {
        "ValueError": "If ``x`` has another number of elements, or its memory layout requires a "
        "copy, which :func:`reshape` makes."
    }
    | _NOT_INTEGER,
)
def view(x: ArrayLike, *shape: Shape) -> Tensor:
    """Reshape without a copy; one length may be -1 and is inferred."""
    a, wanted = array_of(x), shape_of(shape)
    seen = _reshaped(a, wanted)
    if not np.may_share_memory(seen, a) and a.size:
        raise ValueError(
            f"expected a shape that needs no copy, got {wanted} (for a tensor of shape {a.shape} "
            f"with strides {a.strides}); use reshape()"
        )
    before = a.shape
    return record(seen, (x, lambda g: g.reshape(before)))


@add_sections(
    {
        "x : array-like": "Any shape; a scalar becomes a vector of one element.",
        "start_axis : int, default 0": "First axis.",
        "end_axis : int, default -1": "Last axis.",
    },
    _VIEW_OR_COPY,
    NO_AXIS | {"ValueError": "If ``start_axis`` is after ``end_axis``."},
)
def flatten(x: ArrayLike, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """Flatten axes ``start_axis`` to ``end_axis`` (inclusive) into one."""
    a = array_of(x)
    if a.ndim == 0:
        return reshape(x, 1)
    start, end = normalize_axis(start_axis, a.ndim), normalize_axis(end_axis, a.ndim)
    if start > end:
        raise ValueError(
            f"flatten expected start_axis <= end_axis, got {start_axis} and {end_axis}"
        )
    joined = int(np.prod(a.shape[start : end + 1]))
    return reshape(x, (*a.shape[:start], joined, *a.shape[end + 1 :]))


@add_sections(
    _X | {"*axes : int": "Two axes to swap, all axes in their new order, or none."},
    _VIEW,
    NO_AXIS | {"ValueError": "If the number of axes is neither 0, 2 nor all, or one is repeated."},
)
def transpose(x: ArrayLike, *axes: int) -> Tensor:
    """Swap two axes, or permute all axes.

    Two axes are swapped, as in PyTorch; all axes are the new order, as in NumPy; without
    arguments the order is reversed.
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


@add_sections(
    _X | {"*axes : int or sequence of int": "All axes in their new order."},
    _VIEW,
    NO_AXIS | {"ValueError": "If an axis is missing or repeated."} | _NOT_INTEGER,
)
def permute(x: ArrayLike, *axes: Shape) -> Tensor:
    """Permute the axes; axis ``i`` of the result is axis ``axes[i]`` of ``x``."""
    a = array_of(x)
    order = normalize_axes(shape_of(axes), a.ndim)
    if len(order) != a.ndim:
        raise ValueError(f"permute expected an order of all {a.ndim} axes, got {axes}")
    back = np.argsort(order)
    return record(a.transpose(order), (x, lambda g: g.transpose(back)))


@add_sections(
    _X
    | {
        "source : int or sequence of int": "Axes to move.",
        "destination : int or sequence of int": "Position of each in the result.",
    },
    _VIEW,
    NO_AXIS
    | {"ValueError": "If ``source`` and ``destination`` differ in length, or one is repeated."},
)
def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to new positions; the other axes keep their order."""
    a = array_of(x)
    sources, positions = normalize_axes(source, a.ndim), normalize_axes(destination, a.ndim)
    if len(sources) != len(positions):
        raise ValueError(
            f"moveaxis expected {len(sources)} destination axes for source={source}, "
            f"got {destination}"
        )
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for position, axis in sorted(zip(positions, sources, strict=True)):
        order.insert(position, axis)
    return permute(x, order)


@add_sections(
    _X | {"axis : int or sequence of int, optional": "Axes to remove; default all of length 1."},
    _VIEW,
    NO_AXIS | _REPEATED,
)
def squeeze(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Remove axes of length 1; axes of other lengths are kept."""
    a = array_of(x)
    axes = tuple(i for i in reduction_axes(axis, a.ndim) if a.shape[i] == 1)
    shape = a.shape
    return record(a.squeeze(axes), (x, lambda g: g.reshape(shape)))


@add_sections(
    _X | {"axis : int": "Position of the new axis in the result; -1 is last."},
    _VIEW,
    {"numpy.exceptions.AxisError": "If the result has no such axis."},
)
def unsqueeze(x: ArrayLike, axis: int) -> Tensor:
    """Insert an axis of length 1."""
    a = array_of(x)
    position, shape = normalize_axis(axis, a.ndim + 1), a.shape
    return record(np.expand_dims(a, position), (x, lambda g: g.reshape(shape)))


@add_sections(
    {
        "x : array-like": "Any shape that broadcasts to ``shape``.",
        "*shape : int or sequence of int": "New shape; -1 keeps the length of an axis.",
    },
    "A read-only view of ``x``.",
    {"ValueError": "If ``x`` does not broadcast to the shape, or -1 is given for a new axis."}
    | _NOT_INTEGER,
)
def expand(x: ArrayLike, *shape: Shape) -> Tensor:
    """Broadcast to a shape without a copy."""
    a = array_of(x)
    wanted = shape_of(shape)
    offset = len(wanted) - a.ndim
    if offset < 0:
        raise ValueError(
            f"expand expected a shape of at least {a.ndim} axes, got {wanted} (for {a.shape})"
        )
    if -1 in wanted[:offset]:
        raise ValueError(
            f"expand expected the lengths of new axes, got -1 in {wanted} (for {a.shape})"
        )
    full = tuple(a.shape[i - offset] if n == -1 else n for i, n in enumerate(wanted))
    before = a.shape
    return record(np.broadcast_to(a, full), (x, lambda g: unbroadcast(g, before)))


broadcast_to = expand


@add_sections(
    _X | {"axis : int or sequence of int, optional": "Axes to reverse; default all."},
    _VIEW,
    NO_AXIS | _REPEATED,
)
def flip(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Reverse the order of elements along axes."""
    a = array_of(x)
    axes = normalize_axes(axis, a.ndim)
    return record(np.flip(a, axes), (x, lambda g: np.flip(g, axes)))


@add_sections(
    _X
    | {
        "shift : int or sequence of int": "Positions to shift by, toward higher indices; one "
        "number for all axes, or one per axis.",
        "axis : int or sequence of int, optional": "Axes to roll along; default the flattened "
        "tensor.",
    },
    "A copy in the shape of ``x``.",
    NO_AXIS,
)
def roll(x: ArrayLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Roll elements along axes; elements beyond the end reenter at the start."""
    a = array_of(x)
    back = -shift if isinstance(shift, (int, np.integer)) else tuple(-s for s in shift)
    position = axis if axis is None or isinstance(axis, (int, np.integer)) else tuple(axis)
    return record(np.roll(a, shift, position), (x, lambda g: np.roll(g, back, position)))


_triangle_docs = add_sections(
    {
        "x : array-like": "Shape (..., M, N).",
        "diagonal : int, default 0": "Diagonal that bounds the triangle, inclusive; positive ones "
        "are above the main diagonal.",
    },
    "A copy in the shape and dtype of ``x``.",
    {"ValueError": "If ``x`` has fewer than two axes."},
)


@_triangle_docs
def tril(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Lower triangle of the last two axes; the other elements are 0."""
    return _triangle(x, diagonal, np.tril)


@_triangle_docs
def triu(x: ArrayLike, diagonal: int = 0) -> Tensor:
    """Upper triangle of the last two axes; the other elements are 0."""
    return _triangle(x, diagonal, np.triu)


def _triangle(x: ArrayLike, diagonal: int, keep: Callable[[Array, int], Array]) -> Tensor:
    a = array_of(x)
    if a.ndim < 2:  # NumPy would broadcast it to a matrix
        raise ValueError(f"tril and triu expected at least two axes, got shape {a.shape}")
    return record(keep(a, diagonal), (x, lambda g: keep(g, diagonal)))
