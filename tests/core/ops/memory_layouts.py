"""Memory layouts of arrays: strided, reversed, read-only, big-endian, unaligned, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def native(array: Array) -> Array:
    """Copy to C order and native byte order."""
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def transposed(array: Array) -> Array:
    return np.array(array.T, order="C").T


def channels_last(array: Array) -> Array:
    if array.ndim < 3:
        return transposed(array)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def every_second(array: Array) -> Array:
    """Strided view; the elements between must not be read or written."""
    filler = np.nan if array.dtype.kind == "f" else 1
    spread = np.full([2 * n + 1 for n in array.shape], filler, array.dtype)
    view = spread[(..., *(slice(1, None, 2) for _ in array.shape))]
    view[...] = array
    return view


def backwards(array: Array) -> Array:
    reverse = (..., *(slice(None, None, -1) for _ in array.shape))
    return native(array[reverse])[reverse]


def read_only(array: Array) -> Array:
    copy = native(array)
    copy.flags.writeable = False
    return copy


def big_endian(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder(">"))


def unaligned(array: Array) -> Array:
    """Unaligned array, such as a field of a packed file."""
    memory = bytearray(array.nbytes + 1)
    view = np.ndarray(array.shape, array.dtype, memory, offset=1)
    view[...] = array
    return view


def all_of_it(array: Array) -> Array:
    view = every_second(backwards(transposed(big_endian(array))))
    view.flags.writeable = False
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    layout.__name__: layout
    for layout in (
        transposed, channels_last, every_second, backwards, read_only, big_endian, unaligned,
        all_of_it,
    )
}  # fmt: skip


def repeated(array: Array) -> Array:
    """Broadcast the first row: read-only, several elements share memory."""
    if not array.ndim or not len(array):
        return read_only(array)
    return np.broadcast_to(native(array[:1]), array.shape)


def memory_of(array: Array) -> tuple[Any, ...]:
    """Snapshot of an array and its base, to detect writes."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    flags = array.flags
    return (
        array.dtype.str, array.shape, array.strides, flags.writeable, flags.aligned,
        flags.c_contiguous, flags.f_contiguous, array.tobytes(), root.tobytes(),
    )  # fmt: skip
