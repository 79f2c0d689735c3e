"""Lists of arrays of any size, cut into chunks that threads process in parallel.

A model has hundreds of parameters, most of them tiny: one kernel call for each would cost more
than its work.  So a kernel gets one table of addresses and lengths of chunks of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, register_jitable

from lucid.kernels.compiled.jit import GRAIN
from lucid.kernels.layout import Array, flatten_in_memory_order
from lucid.kernels.threads import parallel_for

__all__ = ["ParameterChunks", "floats"]

# Elements of a chunk: those of five arrays fit the second-level cache.
_CHUNK = 8192
_FLOAT32 = np.dtype(np.float32)
# Numba's modules carry no types.
_FLOAT_POINTER: Any = types.CPointer(types.float32)  # type: ignore[no-untyped-call]
_carray: Any = numba.carray  # type: ignore[attr-defined]
T = TypeVar("T")


class ParameterChunks:
    """Table of chunks of float32 arrays: parameters, and buffers and gradients of the same shapes.

    Parameters
    ----------
    written : sequence of sequence of numpy.ndarray
        For each role (parameters, buffers, ...), the arrays that the kernel may write to, one
        for each parameter.
    read : sequence of numpy.ndarray, optional
        Arrays of one more role, which the kernel only reads.

    Attributes
    ----------
    table : numpy.ndarray
        int64 (chunks, roles + 2): the address of the chunk in the array of each role, the
        written ones first; its length; the position of its parameter.

    Notes
    -----
    Parameters whose arrays are not float32, not writable or differ in their memory order are
    skipped; so are all, if two arrays overlap, since threads would race.
    """

    def __init__(
        self, written: Sequence[Sequence[Array]], read: Sequence[Array] | None = None
    ) -> None:
        # Keeps the arrays alive, and with them the addresses.
        self._arrays: list[list[Array]] = []
        positions: list[int] = []
        self._skipped: list[int] = []
        roles = [*written, *([] if read is None else [read])]
        for i, arrays in enumerate(zip(*roles, strict=True)):
            lines = _flatten(arrays, len(written))
            if lines is None:
                self._skipped.append(i)
            else:
                positions.append(i)
                self._arrays.append(lines)
        pointers = [line.__array_interface__["data"][0] for each in self._arrays for line in each]
        addresses = np.array(pointers, np.int64).reshape(-1, len(roles))
        lengths = np.array([len(lines[0]) for lines in self._arrays], np.int64)
        if written and _overlaps(addresses, lengths):
            self._skipped = list(range(len(roles[0])))
            addresses, lengths, positions = addresses[:0], lengths[:0], []
        self.table = _make_table(addresses, lengths, np.array(positions, np.int64))

    def skipped(self, values: Sequence[T]) -> list[T]:
        """Select the values, one for each parameter, of the skipped parameters."""
        return [values[i] for i in self._skipped] if values else []

    def run(self, kernel: Any, *args: Any) -> None:
        """Call ``kernel(start, stop, table, *args)`` in parallel; item = one chunk."""
        parallel_for(kernel, len(self.table), self.table, *args, grain=GRAIN // _CHUNK)


def _flatten(arrays: tuple[Array, ...], count: int) -> list[Array] | None:
    """Return the arrays of one parameter flat; the first ``count`` are written to."""
    written, read = arrays[:count], arrays[count:]
    if any(array.dtype != _FLOAT32 or not array.flags.aligned for array in arrays):
        return None
    if not all(array.flags.writeable for array in written):
        return None
    lines = flatten_in_memory_order(*arrays)
    if lines is None and read:
        # An array that is only read may be copied to the right order.
        copy = np.empty_like(arrays[0])
        copy[...] = read[0]
        lines = flatten_in_memory_order(*written, copy)
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
    """Cast an address to a pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return _FLOAT_POINTER(types.int64), generate


_to_pointer: Any = intrinsic(_pointer)


@register_jitable
def floats(address: int, length: int) -> Any:
    """Return the ``length`` float32 at ``address`` as an array, inside a kernel."""
    return _carray(_to_pointer(address), (length,))
