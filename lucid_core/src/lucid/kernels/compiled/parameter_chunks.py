"""Many arrays, large and tiny, as one list of pieces that threads share out among them.

A model has hundreds of parameters, most of them tiny.  A call for each would cost more
than its work, and leave threads idle; so a kernel is given a table of the addresses and
lengths of pieces of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, register_jitable

from lucid.kernels.compiled.jit import GRAIN
from lucid.kernels.layout import Array, as_lines
from lucid.kernels.threads import parallel_for

__all__ = ["ParameterChunks", "floats"]

# Values of a piece: so many of five arrays stay in the cache next to the processor.
_CHUNK = 8192
_FLOAT32 = np.dtype(np.float32)
# Numba's modules carry no types.
_FLOAT_POINTER: Any = types.CPointer(types.float32)  # type: ignore[no-untyped-call]
_carray: Any = numba.carray  # type: ignore[attr-defined]
T = TypeVar("T")


class ParameterChunks:
    """Arrays of float32, in groups of which each belongs to one tensor, cut alike.

    Parameters
    ----------
    written : sequence of sequence of numpy.ndarray
        For each role (parameters, buffers, ...) the arrays of all tensors, which the
        kernel may write to.
    read : sequence of numpy.ndarray, optional
        The arrays of one more role, which it only reads.

    Attributes
    ----------
    table : numpy.ndarray
        For each piece the addresses of its first value in the array of each role,
        the written ones first; then its length; then the position of its tensor.

    Notes
    -----
    Tensors are left out whose arrays are not float32, not writable, or not alike in
    memory; all of them, if two arrays overlap, of which one thread could write what
    another reads.
    """

    def __init__(
        self, written: Sequence[Sequence[Array]], read: Sequence[Array] | None = None
    ) -> None:
        # Addresses are good for as long as somebody holds the arrays.
        self._flatten: list[list[Array]] = []
        positions: list[int] = []
        self._skipped: list[int] = []
        roles = [*written, *([] if read is None else [read])]
        for i, arrays in enumerate(zip(*roles, strict=True)):
            lines = _flatten(arrays, len(written))
            if lines is None:
                self._skipped.append(i)
            else:
                positions.append(i)
                self._flatten.append(lines)
        places = [line.__array_interface__["data"][0] for each in self._flatten for line in each]
        addresses = np.array(places, np.int64).reshape(-1, len(roles))
        lengths = np.array([len(lines[0]) for lines in self._flatten], np.int64)
        if written and _overlaps(addresses, lengths):
            self._skipped = list(range(len(roles[0])))
            addresses, lengths, positions = addresses[:0], lengths[:0], []
        self.table = _make_table(addresses, lengths, np.array(positions, np.int64))

    def skipped(self, values: Sequence[T]) -> list[T]:
        """Of a value for each tensor those of the tensors left out; of no values none."""
        return [values[i] for i in self._skipped] if values else []

    def run(self, kernel: Any, *args: Any) -> None:
        """Call ``kernel(start, stop, table, *args)`` in parallel; an item is a piece."""
        parallel_for(kernel, len(self.table), self.table, *args, grain=GRAIN // _CHUNK)


def _flatten(arrays: tuple[Array, ...], count: int) -> list[Array] | None:
    """The arrays of one tensor in the order of memory; the first ``count`` are written to."""
    written, read = arrays[:count], arrays[count:]
    if any(array.dtype != _FLOAT32 or not array.flags.aligned for array in arrays):
        return None
    if not all(array.flags.writeable for array in written):
        return None
    lines = as_lines(*arrays)
    if lines is None and read:
        # What is only read may lie as it likes: a copy will do.
        copy = np.empty_like(arrays[0])
        copy[...] = read[0]
        lines = as_lines(*written, copy)
    return lines


def _overlaps(addresses: Array, lengths: Array) -> bool:
    first = addresses.reshape(-1)
    last = (addresses + _FLOAT32.itemsize * lengths[:, None]).reshape(-1)
    order = np.argsort(first)
    return bool((first[order][1:] < last[order][:-1]).any())


def _make_table(addresses: Array, lengths: Array, positions: Array) -> Array:
    counts = -(-lengths // _CHUNK)
    tensors = np.repeat(np.arange(len(lengths)), counts)
    offsets = _CHUNK * (np.arange(len(tensors)) - (np.cumsum(counts) - counts)[tensors])
    table = np.empty((len(tensors), addresses.shape[1] + 2), np.int64)
    table[:, :-2] = addresses[tensors] + _FLOAT32.itemsize * offsets[:, None]
    table[:, -2] = np.minimum(lengths[tensors] - offsets, _CHUNK)
    table[:, -1] = positions[tensors]
    return table


def _pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return _FLOAT_POINTER(types.int64), generate


_to_pointer: Any = intrinsic(_pointer)


@register_jitable
def floats(address: int, length: int) -> Any:
    """Inside of a kernel: the ``length`` numbers of float32 at ``address``, as an array."""
    return _carray(_to_pointer(address), (length,))
