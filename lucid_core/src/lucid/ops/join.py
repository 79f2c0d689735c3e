"""Concatenating, splitting and repeating."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, record_joint
from lucid.autograd.variable import Array
from lucid.dtypes import promote
from lucid.ops.docstrings import NO_AXIS, add_sections
from lucid.ops.index import getitem
from lucid.ops.operands import normalize_axis

if TYPE_CHECKING:
    from lucid.tensor import Tensor


@add_sections(
    {
        "tensors : sequence of array-like": "At least one; equal shapes except along ``axis``.",
        "axis : int, default 0": "Axis to join along.",
    },
    "Common dtype of all tensors (see :func:`lucid.add`).",
    {
        "ValueError": "If there are no tensors, or the shapes do not match.",
        "numpy.exceptions.AxisError": "If the first tensor has no such axis.",
    },
)
def concatenate(tensors: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """Concatenate tensors along an existing axis."""
    arrays = _same_dtype(tensors, "concatenate")
    position = normalize_axis(axis, arrays[0].ndim)
    try:
        if position == 1 and _are_channels_last(arrays):
            value = kernels.concatenate_channels(*arrays)
        else:
            value = np.concatenate(arrays, position)
    except ValueError as error:
        rule = f"of equal shape except along axis {position}"
        raise _shape_error("concatenate", rule, arrays, {position}) or error from None
    ends = np.cumsum([a.shape[position] for a in arrays])[:-1]
    return record_joint(value, tensors, lambda g: np.split(g, ends, position))


@add_sections(
    {
        "tensors : sequence of array-like": "At least one; equal shapes.",
        "axis : int, default 0": "Position of the new axis in the result.",
    },
    "Common dtype of all tensors (see :func:`lucid.add`).",
    {
        "ValueError": "If there are no tensors, or the shapes differ.",
        "numpy.exceptions.AxisError": "If the result has no such axis.",
    },
)
def stack(tensors: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """Stack tensors along a new axis."""
    arrays = _same_dtype(tensors, "stack")
    position = normalize_axis(axis, arrays[0].ndim + 1)
    try:
        value = np.stack(arrays, position)
    except ValueError as error:
        raise _shape_error("stack", "of equal shape", arrays) or error from None
    return record_joint(value, tensors, lambda g: list(np.moveaxis(g, position, 0)))


def _are_channels_last(arrays: list[Array]) -> bool:
    """Return whether arrays are channels-last images of one batch and size."""
    n, *size = arrays[0].shape
    return all(
        a.ndim == 4 and [a.shape[0], *a.shape[2:]] == [n, *size[1:]] and kernels.is_channels_last(a)
        for a in arrays
    )


@add_sections(
    {
        "x : array-like": "Shape (N, C, ...).",
        "groups : int": "Number of groups; divides C.",
    },
    "Shape and dtype of ``x``.",
    {"ValueError": "If ``x`` has fewer than two axes, or ``groups`` does not divide C."},
)
def channel_shuffle(x: ArrayLike, groups: int) -> Tensor:
    """Interleave the channels of groups: view them as (groups, C / groups), and transpose.

    References
    ----------
    Zhang et al., *ShuffleNet*, 2018, section 3.1.
    """
    a = array_of(x)
    if a.ndim < 2 or groups < 1 or a.shape[1] % groups:
        raise ValueError(
            "channel_shuffle expected an input of shape (N, C, ...) with C divisible by groups, "
            f"got {a.shape} and groups={groups}"
        )
    inverse = a.shape[1] // groups
    value = kernels.channel_shuffle(a, groups)
    return record(value, (x, lambda g: kernels.channel_shuffle(g, max(1, inverse))))


def _shape_error(
    name: str, rule: str, arrays: list[Array], free: Container[int] = ()
) -> ValueError | None:
    """Return the error for the first array whose shape does not match the first one."""
    first = arrays[0].shape
    for i, a in enumerate(arrays):
        sizes = enumerate(zip(a.shape, first, strict=False))
        if a.ndim != len(first) or any(m != n and axis not in free for axis, (m, n) in sizes):
            return ValueError(
                f"{name} expected tensors {rule}, got {first} and {a.shape} (tensors 0 and {i}); "
                "reshape, resize or pad them"
            )
    return None


def _same_dtype(tensors: Sequence[ArrayLike], name: str) -> list[Array]:
    arrays = [array_of(t) for t in tensors]
    if not arrays:
        raise ValueError(f"{name} expected at least one tensor, got none")
    dtype = arrays[0].dtype
    for a in arrays[1:]:
        dtype = promote(dtype, a.dtype)
    return [a.astype(dtype, copy=False) for a in arrays]


def split(x: ArrayLike, size_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split into chunks along an axis.

    Parameters
    ----------
    x : array-like
        Any shape.
    size_or_sections : int or sequence of int
        Length of every chunk (the last may be shorter), or the length of each.
    axis : int, default 0
        Axis to split.

    Returns
    -------
    list of Tensor
        Views of ``x``.

    Raises
    ------
    ValueError
        If a length is negative, the single length is 0, or the sum is not that of the axis.
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    position = normalize_axis(axis, a.ndim)
    total = a.shape[position]
    if isinstance(size_or_sections, (int, np.integer)):
        size = int(size_or_sections)
        if size <= 0:
            raise ValueError(f"split expected a positive size, got {size}")
        sizes = [min(size, total - start) for start in range(0, total, size)] or [0]
    else:
        sizes = [int(n) for n in size_or_sections]
        if sum(sizes) != total or min(sizes, default=0) < 0:
            raise ValueError(f"split expected sizes that sum to {total}, got {sizes} (axis {axis})")
    ends = np.cumsum([0, *sizes])
    before = (slice(None),) * position
    return [getitem(x, (*before, slice(ends[i], ends[i + 1]))) for i in range(len(sizes))]


def chunk(x: ArrayLike, chunks: int, axis: int = 0) -> list[Tensor]:
    """Split into at most ``chunks`` chunks of equal length; the last may be shorter.

    Parameters
    ----------
    x : array-like
        Any shape.
    chunks : int
        Maximum number of chunks; fewer if rounding up their length uses up the axis.
    axis : int, default 0
        Axis to split.

    Returns
    -------
    list of Tensor
        Views of ``x``.

    Raises
    ------
    ValueError
        If ``chunks`` is less than 1.
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    if chunks < 1:
        raise ValueError(f"expected chunks >= 1, got {chunks}")
    a = array_of(x)
    total = a.shape[normalize_axis(axis, a.ndim)]
    return split(x, max(1, -(-total // chunks)), axis)


@add_sections(
    {
        "x : array-like": "Any shape.",
        "repeats : int or sequence of int": "Repetitions of the last axes; for more numbers than "
        "axes, axes of length 1 are prepended.",
    },
    "A copy in the dtype of ``x``.",
)
def tile(x: ArrayLike, repeats: int | Sequence[int]) -> Tensor:
    """Repeat the whole tensor along each axis."""
    a = array_of(x)
    counts = (repeats,) if isinstance(repeats, (int, np.integer)) else tuple(repeats)
    counts = (1,) * (a.ndim - len(counts)) + counts
    shape = a.shape
    padded = (1,) * (len(counts) - a.ndim) + shape

    def vjp(g: Array) -> Array:
        paired = [n for pair in zip(counts, padded, strict=True) for n in pair]
        added: Array = g.reshape(paired).sum(axis=tuple(range(0, len(paired), 2)))
        return added.reshape(shape)

    return record(np.tile(a, counts), (x, vjp))


@add_sections(
    {
        "x : array-like": "Any shape.",
        "repeats : int": "Number of repetitions, >= 0.",
        "axis : int": "Axis to repeat along.",
    },
    "A copy, ``repeats`` times as long along ``axis``.",
    NO_AXIS | {"ValueError": "If ``repeats`` is negative."},
)
def repeat_interleave(x: ArrayLike, repeats: int, axis: int) -> Tensor:
    """Repeat each element along an axis."""
    a = array_of(x)
    position = normalize_axis(axis, a.ndim)
    paired = (*a.shape[: position + 1], repeats, *a.shape[position + 1 :])

    def vjp(g: Array) -> Array:
        added: Array = g.reshape(paired).sum(axis=position + 1)
        return added

    return record(np.repeat(a, repeats, position), (x, vjp))
