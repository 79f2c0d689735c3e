"""Walking through big arrays in pieces that stay in the processor's cache.

An update such as ``p -= lr * m / (sqrt(v) + eps)`` is several NumPy calls, each
of which would stream whole arrays through memory.  Over blocks of some tens of
thousands of values only the first call does; the scratch that the others need
is one block long.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lucid.autograd.variable import Array

__all__ = ["blocks"]

#: Values in a block: five arrays of them in float32 take little over a megabyte.
BLOCK = 65536


def blocks(parameter: Array, *others: Array) -> Iterator[tuple[Array, ...]]:
    """Corresponding pieces of arrays of one shape, and a scratch array for each piece.

    Parameters
    ----------
    parameter : numpy.ndarray
        Its order in memory decides how the arrays are cut.
    *others : numpy.ndarray
        The same shape.

    Yields
    ------
    tuple of numpy.ndarray
        Views of the parameter and of the others, writable where they are, and
        last an uninitialised array of the same shape in the parameter's dtype.
    """
    arrays = (parameter, *others)
    flat = [_flat(array) for array in arrays]
    order = _order(parameter)
    if any(_order(array) != order for array in others) or any(line is None for line in flat):
        # Not the same order in memory throughout: the array is its only block.
        yield (*arrays, np.empty_like(parameter))
        return
    lines = [line for line in flat if line is not None]
    scratch = np.empty(min(BLOCK, parameter.size), parameter.dtype)
    for start in range(0, parameter.size, BLOCK):
        pieces = [line[start : start + BLOCK] for line in lines]
        yield (*pieces, scratch[: len(pieces[0])])


def _order(array: Array) -> tuple[int, ...]:
    """The strides that matter: those of axes with more than one element."""
    return tuple(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1)


def _flat(array: Array) -> Array | None:
    """The values in memory order as a view of one axis; None where there is no such view."""
    line = array.ravel(order="K")
    return line if np.may_share_memory(line, array) else None
