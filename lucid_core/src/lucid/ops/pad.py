"""Extending tensors at their ends: by a constant, or by what they hold themselves."""

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

#: One number for all ends, (before, after) for every axis, or one such pair for each axis.
PadWidth: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]

MODES = ("constant", "reflect", "edge", "wrap")


def pad(x: ArrayLike, pad_width: PadWidth, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Extended at the ends of every axis.

    Parameters
    ----------
    x : array-like
        Any shape.
    pad_width : int, (before, after), or one (before, after) for each axis
        How many elements to add, as in NumPy.  ``nn.functional.pad`` takes
        PyTorch's order, last axis first.
    mode : {"constant", "reflect", "edge", "wrap"}
        What to add: ``value``; the elements mirrored at the last one, which is
        not repeated; the last one; or those of the other end.
    value : float, default 0
        What to fill with, where the mode is ``"constant"``.

    Returns
    -------
    Tensor
        Each axis longer by ``before + after``.

    Raises
    ------
    ValueError
        If the widths do not fit the axes or are negative, the mode is unknown,
        or an axis without elements is to be extended by its elements.

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
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if mode != "constant":
        return _extended(x, a, widths, mode)
    inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, a.shape, strict=True))
    full = tuple(n + before + after for (before, after), n in zip(widths, a.shape, strict=True))
    padded = np.empty_like(a, shape=full)
    padded[...] = value
    padded[inner] = a
    return record(padded, (x, lambda g: g[inner]))


def _widths(pad_width: PadWidth, ndim: int) -> list[tuple[int, int]]:
    """One pair for each axis."""
    given: Any = pad_width
    try:
        # No pairs at all are one for each axis of a scalar.
        pairs = np.broadcast_to(
            np.asarray(given) if np.size(given) else np.empty((0, 2)), (ndim, 2)
        )
    except ValueError:
        pairs = np.empty(0)
    if pairs.shape != (ndim, 2) or (
        pairs.size and (pairs.dtype.kind not in "iu" or pairs.min() < 0)
    ):
        raise ValueError(
            f"pad_width must be one number, one (before, after) pair, or one for each of "
            f"{ndim} axes, none negative, got {pad_width}"
        )
    return [(int(before), int(after)) for before, after in pairs]


def _extended(x: ArrayLike, a: Array, widths: list[tuple[int, int]], mode: str) -> Tensor:
    """Each axis in turn, by elements of its own; what earlier axes added is extended too."""
    sources = [
        (axis, before, _places(n, before, after, mode, a.shape))
        for axis, ((before, after), n) in enumerate(zip(widths, a.shape, strict=True))
        if before or after
    ]
    padded, shape = a, a.shape
    for axis, _, places in sources:
        padded = padded.take(places, axis)

    def vjp(g: Array) -> Array:
        for axis, before, places in reversed(sources):
            g = _collected(g, axis, before, places, shape[axis])
        return g

    return record(padded.copy() if padded is a else padded, (x, vjp))


def _places(length: int, before: int, after: int, mode: str, shape: tuple[int, ...]) -> Array:
    """Which element of an axis stands at each place of the longer one."""
    if not length:
        raise ValueError(
            f"mode {mode!r} cannot extend an axis without elements: the shape is {shape}"
        )
    places: Array = np.pad(np.arange(length), (before, after), mode=mode)  # type: ignore[call-overload]
    return places


def _collected(g: Array, axis: int, before: int, places: Array, length: int) -> Array:
    """The gradient of one axis: each element's own, and those of its copies at the ends."""
    lined = np.moveaxis(g, axis, 0)
    gradient = lined[before : before + length].copy(order="K")
    for i in (*range(before), *range(before + length, len(places))):
        gradient[places[i]] += lined[i]
    back: Array = np.moveaxis(gradient, 0, axis)
    return back
