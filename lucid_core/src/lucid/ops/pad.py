"""Padding with a constant or with elements of the tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.operands import refuse_gradients

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["MODES", "PadWidth", "pad"]

#: One number for both ends of all axes, one (before, after), or one pair per axis.
PadWidth: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]

MODES = ("constant", "reflect", "edge", "wrap")


def pad(x: ArrayLike, pad_width: PadWidth, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pad the ends of axes, with arguments in NumPy's order.

    Parameters
    ----------
    x : array-like
        Any shape.
    pad_width : int, (before, after), or one (before, after) for each axis
        Number of elements to add.  ``nn.functional.pad`` takes PyTorch's order, last axis first.
    mode : {"constant", "reflect", "edge", "wrap"}
        Pad with ``value``, with elements mirrored at the edge element (not repeated), with the
        edge element, or with elements of the opposite end.
    value : float, default 0
        Fill value for ``mode="constant"``.

    Returns
    -------
    Tensor
        Each axis longer by ``before + after``.

    Raises
    ------
    ValueError
        If the widths are negative or do not match the axes, the mode is unknown, or an empty
        axis is padded with its elements.

    Examples
    --------
    >>> import lucid
    >>> lucid.pad(lucid.tensor([1, 2, 3]), (2, 1), mode="reflect")
    tensor([3, 2, 1, 2, 3, 2])
    """
    refuse_gradients("pad", value=value)
    a = array_of(x)
    widths = _widths(pad_width, a.ndim)
    if mode not in MODES:
        raise ValueError(f"expected mode to be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if mode != "constant":
        return _pad_from_elements(x, a, widths, mode)
    inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, a.shape, strict=True))
    full = tuple(n + before + after for (before, after), n in zip(widths, a.shape, strict=True))
    padded = np.empty_like(a, shape=full)
    padded[...] = value
    padded[inner] = a
    return record(padded, (x, lambda g: g[inner]))


def _widths(pad_width: PadWidth, ndim: int) -> list[tuple[int, int]]:
    given: Any = pad_width
    try:
        # An empty list is valid for a scalar.
        pairs = np.broadcast_to(
            np.asarray(given) if np.size(given) else np.empty((0, 2)), (ndim, 2)
        )
    except ValueError:
        pairs = np.empty(0)
    if pairs.shape != (ndim, 2) or (
        pairs.size and (pairs.dtype.kind not in "iu" or pairs.min() < 0)
    ):
        raise ValueError(
            f"expected pad_width to be one number, one (before, after), or one for each of {ndim} "
            f"axes, none negative, got {pad_width}"
        )
    return [(int(before), int(after)) for before, after in pairs]


def _pad_from_elements(x: ArrayLike, a: Array, widths: list[tuple[int, int]], mode: str) -> Tensor:
    """Pad axis by axis with elements of the axis, including those added before."""
    sources = [
        (axis, before, _source_indices(n, before, after, mode, a.shape))
        for axis, ((before, after), n) in enumerate(zip(widths, a.shape, strict=True))
        if before or after
    ]
    padded, shape = a, a.shape
    for axis, _, indices in sources:
        padded = padded.take(indices, axis)

    def vjp(g: Array) -> Array:
        for axis, before, indices in reversed(sources):
            g = _sum_padding(g, axis, before, indices, shape[axis])
        return g

    return record(padded.copy() if padded is a else padded, (x, vjp))


def _source_indices(
    length: int, before: int, after: int, mode: str, shape: tuple[int, ...]
) -> Array:
    """Return the index of the source element of each position of the padded axis."""
    if not length:
        raise ValueError(
            f"mode {mode!r} expected axes with elements, got shape {shape}; use mode='constant'"
        )
    indices: Array = np.pad(np.arange(length), (before, after), mode=mode)  # type: ignore[call-overload]
    return indices


def _sum_padding(g: Array, axis: int, before: int, indices: Array, length: int) -> Array:
    """Add the gradients of the padding to those of its source elements."""
    lined = np.moveaxis(g, axis, 0)
    gradient = lined[before : before + length].copy(order="K")
    for i in (*range(before), *range(before + length, len(indices))):
        gradient[indices[i]] += lined[i]
    back: Array = np.moveaxis(gradient, 0, axis)
    return back
