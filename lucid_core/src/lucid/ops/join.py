"""Joining, cutting and repeating: their derivatives put the pieces back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, record_joint
from lucid.autograd.variable import Array
from lucid.dtypes import promote
from lucid.ops.index import getitem
from lucid.ops.operands import normalize_axis

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def concatenate(tensors: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """Tensors joined along an axis that they have.

    Parameters
    ----------
    tensors : sequence of array-like
        At least one; their shapes differ along ``axis`` at most.
    axis : int, default 0
        Axis to join along.

    Returns
    -------
    Tensor
        Along ``axis`` as long as all together.
        Of different dtypes the common one, as :func:`lucid.add` has it for tensors.

    Raises
    ------
    ValueError
        If there is no tensor, or the shapes do not fit.
    numpy.exceptions.AxisError
        If the first tensor has no such axis.
    """
    arrays = _same_dtype(tensors, "concatenate")
    place = normalize_axis(axis, arrays[0].ndim)
    value = np.concatenate(arrays, place)
    ends = np.cumsum([a.shape[place] for a in arrays])[:-1]
    return record_joint(value, tensors, lambda g: np.split(g, ends, place))


def stack(tensors: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """Tensors joined along a new axis.

    Parameters
    ----------
    tensors : sequence of array-like
        At least one, of equal shapes.
    axis : int, default 0
        Place of the new axis in the result.

    Returns
    -------
    Tensor
        With one axis more, as long as there are tensors.
        Of different dtypes the common one, as :func:`lucid.add` has it for tensors.

    Raises
    ------
    ValueError
        If there is no tensor, or the shapes differ.
    numpy.exceptions.AxisError
        If the result has no such axis.
    """
    arrays = _same_dtype(tensors, "stack")
    place = normalize_axis(axis, arrays[0].ndim + 1)
    value = np.stack(arrays, place)
    return record_joint(value, tensors, lambda g: list(np.moveaxis(g, place, 0)))


def _same_dtype(tensors: Sequence[ArrayLike], name: str) -> list[Array]:
    arrays = [array_of(t) for t in tensors]
    if not arrays:
        raise ValueError(f"{name} needs at least one tensor")
    dtype = arrays[0].dtype
    for a in arrays[1:]:
        dtype = promote(dtype, a.dtype)
    return [a.astype(dtype, copy=False) for a in arrays]


def split(x: ArrayLike, size_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Consecutive pieces along an axis.

    Parameters
    ----------
    x : array-like
        Any shape.
    size_or_sections : int or sequence of int
        Length of every piece (the last may be shorter), or the length of each.
    axis : int, default 0
        Axis to cut.

    Returns
    -------
    list of Tensor
        Views of ``x``.

    Raises
    ------
    ValueError
        If a length is negative or the only one 0, or they do not add up to the axis.
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = array_of(x)
    place = normalize_axis(axis, a.ndim)
    total = a.shape[place]
    if isinstance(size_or_sections, (int, np.integer)):
        size = int(size_or_sections)
        if size <= 0:
            raise ValueError(f"the size of a piece must be positive, got {size}")
        sizes = [min(size, total - start) for start in range(0, total, size)] or [0]
    else:
        sizes = [int(n) for n in size_or_sections]
        if sum(sizes) != total or min(sizes, default=0) < 0:
            raise ValueError(f"pieces of {sizes} do not add up to the {total} of axis {axis}")
    ends = np.cumsum([0, *sizes])
    before = (slice(None),) * place
    return [getitem(x, (*before, slice(ends[i], ends[i + 1]))) for i in range(len(sizes))]


def chunk(x: ArrayLike, chunks: int, axis: int = 0) -> list[Tensor]:
    """At most ``chunks`` consecutive pieces of equal length, the last perhaps shorter.

    Parameters
    ----------
    x : array-like
        Any shape.
    chunks : int
        How many pieces at most; fewer where pieces of one length use the axis up sooner.
    axis : int, default 0
        Axis to cut.

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
        raise ValueError(f"chunks must be at least 1, got {chunks}")
    a = array_of(x)
    total = a.shape[normalize_axis(axis, a.ndim)]
    return split(x, max(1, -(-total // chunks)), axis)


def tile(x: ArrayLike, repeats: int | Sequence[int]) -> Tensor:
    """x repeated as a whole, ``repeats`` times along each axis.

    Parameters
    ----------
    x : array-like
        Any shape.
    repeats : int or sequence of int
        Numbers for the last axes.  If there are more of them than axes, ``x`` first gets axes
        of length 1 in front.

    Returns
    -------
    Tensor
        A copy, of the dtype of ``x``.
    """
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


def repeat_interleave(x: ArrayLike, repeats: int, axis: int) -> Tensor:
    """Each element along an axis repeated ``repeats`` times in place.

    Parameters
    ----------
    x : array-like
        Any shape.
    repeats : int
        How often, at least 0.
    axis : int
        Axis to repeat along.

    Returns
    -------
    Tensor
        A copy, ``repeats`` times as long along ``axis``.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    ValueError
        If ``repeats`` is negative.
    """
    a = array_of(x)
    place = normalize_axis(axis, a.ndim)
    paired = (*a.shape[: place + 1], repeats, *a.shape[place + 1 :])

    def vjp(g: Array) -> Array:
        added: Array = g.reshape(paired).sum(axis=place + 1)
        return added

    return record(np.repeat(a, repeats, place), (x, vjp))
