"""Caching allocator for the outputs of kernels.

The first write to a page of fresh memory is a page fault, which costs more than the write: a
training step would spend a fifth of its time on them.  So arrays are allocated in blocks that
return to a pool when the array and all its views are gone.

The pool holds at most 1.25 times the memory that was in use at once lately: it frees unused
blocks before it allocates new ones, and forgets old peaks.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.kernels import recording
from lucid.kernels.layout import Array

__all__ = ["Pool", "empty", "empty_channels_last", "owns_memory", "pool"]

# The C library serves smaller arrays as fast, from its own pool.
_MIN_BYTES = 1 << 16
# A cache line, so that aligned vectors do not straddle two.
_ALIGNMENT = 64
# Bytes held, in use or not, relative to the peak in use: the peaks of different sizes come at
# different times.
_SLACK = 1.25
# If no block of a size is free, one up to this many times as large is used instead, so that
# sizes needed at different times of a step share blocks.
_MAX_OVERSIZE = 1.5
# Requests after which the peak is measured anew.
_PEAK_WINDOW = 4096


class _Block:
    """``size`` bytes of memory, beginning at ``address``."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = np.empty(size + _ALIGNMENT, np.uint8)
        begin = self.memory.ctypes.data
        self.address = begin + -begin % _ALIGNMENT


class _BlockOwner:
    """Returns its block to the pool when it is deleted.

    It is the base of the array in the block, so that views of the array keep it alive too.
    """

    __slots__ = ("__array_interface__", "block", "release")

    def __init__(
        self,
        release: Callable[[_Block], None],
        block: _Block,
        shape: tuple[int, ...],
        typestr: str,
    ) -> None:
        self.release = release
        self.block = block
        self.__array_interface__ = {
            "data": (block.address, False),
            "shape": shape,
            "typestr": typestr,
            "version": 3,
        }

    def __del__(self) -> None:
        self.release(self.block)


def block_of(array: Array) -> _BlockOwner | None:
    """Return the owner of the block that an array or view is in; None for other memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if type(base) is _BlockOwner else None


def owns_memory(array: Array) -> bool:
    """Return whether NumPy or the pool allocated the array's memory for it: it is no view."""
    base: Any = array.base
    return base is None or type(base) is _BlockOwner


class Pool:
    """Pool of memory blocks by size; the block returned last is reused first.

    Parameters
    ----------
    min_bytes : int
        Size of the smallest arrays; smaller ones are NumPy's.
    """

    def __init__(self, min_bytes: int = _MIN_BYTES) -> None:
        self._min_bytes = min_bytes
        self._lock = threading.Lock()
        # The garbage collector may return a block at any point, so without the lock: it is
        # only queued here, and accounted for at the next request.
        self._returned: deque[_Block] = deque()
        self._blocks: OrderedDict[int, list[_Block]] = OrderedDict()
        self._used = self._free = 0
        self._peak = self._peak_before = 0
        self._requests = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
        """Return an uninitialized array in C order, like `numpy.empty`."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < self._min_bytes:
            return np.empty(shape, dtype)
        block = self._take(_size_class(size))
        return np.asarray(_BlockOwner(self._returned.append, block, shape, dtype.str))

    def owns(self, owner: _BlockOwner) -> bool:
        """Return whether a block is of this pool."""
        return owner.release == self._returned.append

    def held(self) -> tuple[int, int]:
        """Return the bytes of blocks in use, and of free ones."""
        with self._lock:
            self._collect_returned()
            return self._used, self._free

    def release(self) -> None:
        """Free all unused blocks."""
        with self._lock:
            self._collect_returned()
            self._shrink(0)

    def _take(self, size: int) -> _Block:
        with self._lock:
            if self._returned:
                self._collect_returned()
            self._requests += 1
            if self._requests == _PEAK_WINDOW:
                self._reset_peak(self._used + size)
            blocks = self._blocks.get(size) or self._find_larger(size)
            if blocks:
                size = blocks[-1].size
            self._peak = max(self._peak, self._used + size)
            if blocks:
                # The counter first: Ctrl-C in between must not leave it too high.
                self._free -= size
                block = blocks.pop()
                self._used += size
                return block
            self._shrink(self._limit() - size)
        try:
            block = _Block(size)
        except MemoryError:
            self.release()
            block = _Block(size)
        with self._lock:
            self._used += size
        return block

    def _find_larger(self, size: int) -> list[_Block] | None:
        """Return the free blocks of the smallest larger size within `_MAX_OVERSIZE`, or None."""
        fit = range(size + 1, int(_MAX_OVERSIZE * size) + 1)
        found = min((n for n, blocks in self._blocks.items() if blocks and n in fit), default=0)
        return self._blocks.get(found)

    def _collect_returned(self) -> None:
        while self._returned:
            block = self._returned.popleft()
            size = block.size
            self._used -= size
            self._free += size
            self._blocks.setdefault(size, []).append(block)
            self._blocks.move_to_end(size)

    def _limit(self) -> int:
        """Return how many bytes the pool may hold."""
        return int(_SLACK * max(self._peak, self._peak_before))

    def _reset_peak(self, used: int) -> None:
        """Start a new window of peak measurement."""
        self._requests = 0
        self._peak_before, self._peak = self._peak, used
        self._shrink(self._limit())

    def _shrink(self, most: int) -> None:
        """Free unused blocks until at most ``most`` bytes are held, or none is left."""
        while self._blocks and self._used + self._free > most:
            size, blocks = next(iter(self._blocks.items()))
            if blocks:
                blocks.pop(0)
                self._free -= size
            if not blocks:
                del self._blocks[size]


def _size_class(size: int) -> int:
    """Round up to a size class, by at most an eighth, so that sizes recur."""
    step = 1 << max(size.bit_length() - 4, 12)
    return -(-size // step) * step


pool = Pool()


def empty(shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
    """Return an uninitialized array in C order from the pool of this thread's recorder, or all."""
    if recording.active and (recorder := recording.current()) is not None:
        array = recorder.empty(shape, dtype)
        if array is not None:
            return array
    return pool.empty(shape, dtype)


def empty_channels_last(shape: tuple[int, int, int, int], dtype: np.dtype[Any] | type) -> Array:
    """Return an uninitialized (N, C, H, W) array with channels last in memory."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def _after_fork() -> None:
    """Replace the lock, which a thread that the child does not have may hold."""
    pool._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
