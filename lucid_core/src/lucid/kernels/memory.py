"""Memory for the arrays that kernels make, used again instead of returned to the system.

Large arrays come from the system page by page, and a page that is touched for the first
time costs more than writing it: a training step would spend a fifth of its time there.
So arrays are laid over blocks that a pool takes back when nobody holds the array, or a
view of it, any longer.

The pool never holds much more than has been in use at once lately: before it asks for
more, it lets unused blocks go, and what was needed long ago is forgotten.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.kernels.layout import Array

__all__ = ["Pool", "empty", "empty_channels_last", "owns_memory", "pool"]

# Smaller arrays are as quickly had from the C library, which keeps them itself.
_SMALLEST = 1 << 16
# Blocks begin on a line of the cache, so that vectors do not straddle two.
_ALIGNMENT = 64
# What is held, in use or not, as a share of the most that was in use: one class of
# sizes is wanted most while another is wanted least.
_SLACK = 1.25
# Where no block of a size is free, one up to so many times as large is used instead: sizes
# that are wanted at different times of a step share it.
_TOO_LARGE = 1.5
# The most that was in use is forgotten after one to two times so many requests.
_MEMORY = 4096


class _Block:
    """Memory of ``size`` bytes from ``address`` on."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = np.empty(size + _ALIGNMENT, np.uint8)
        begin = self.memory.ctypes.data
        self.address = begin + -begin % _ALIGNMENT


class _Lease:
    """Keeps a block from being given to anybody else while an array lies over it.

    It is the array's base, so views of the array hold it as well.
    """

    __slots__ = ("__array_interface__", "block", "give_back")

    def __init__(
        self,
        give_back: Callable[[_Block], None],
        block: _Block,
        shape: tuple[int, ...],
        typestr: str,
    ) -> None:
        self.give_back = give_back
        self.block = block
        self.__array_interface__ = {
            "data": (block.address, False),
            "shape": shape,
            "typestr": typestr,
            "version": 3,
        }

    def __del__(self) -> None:
        self.give_back(self.block)


def owns_memory(array: Array) -> bool:
    """Whether an array, no view of another, has memory of NumPy's or of the pool's."""
    base: Any = array.base
    return base is None or type(base) is _Lease


class Pool:
    """Blocks of memory by size; the one that came back last is given first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A block may come back in the middle of anything, when the garbage collector runs:
        # it is only put down here, and entered in the books with the next request.
        self._returned: deque[_Block] = deque()
        self._blocks: OrderedDict[int, list[_Block]] = OrderedDict()
        self._used = self._free = 0
        self._highest = self._highest_before = 0
        self._requests = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
        """An uninitialized array, in C order, like `numpy.empty`."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < _SMALLEST:
            return np.empty(shape, dtype)
        block = self._take(_class_of(size))
        return np.asarray(_Lease(self._returned.append, block, shape, dtype.str))

    def held(self) -> tuple[int, int]:
        """Bytes of blocks under arrays that are alive, and of those kept for the next ones."""
        with self._lock:
            self._settle()
            return self._used, self._free

    def release(self) -> None:
        """Return what is not in use to the system."""
        with self._lock:
            self._settle()
            self._shrink(0)

    def _take(self, size: int) -> _Block:
        with self._lock:
            if self._returned:
                self._settle()
            self._requests += 1
            if self._requests == _MEMORY:
                self._forget(self._used + size)
            blocks = self._blocks.get(size) or self._larger_than(size)
            if blocks:
                size = blocks[-1].size
            self._highest = max(self._highest, self._used + size)
            if blocks:
                # The counter first: Ctrl-C in between must not leave it too high for ever.
                self._free -= size
                block = blocks.pop()
                self._used += size
                return block
            self._shrink(self._most() - size)
        try:
            block = _Block(size)
        except MemoryError:
            self.release()
            block = _Block(size)
        with self._lock:
            self._used += size
        return block

    def _larger_than(self, size: int) -> list[_Block] | None:
        """Unused blocks of the next larger size that is not too large, or None."""
        fit = range(size + 1, int(_TOO_LARGE * size) + 1)
        found = min((n for n, blocks in self._blocks.items() if blocks and n in fit), default=0)
        return self._blocks.get(found)

    def _settle(self) -> None:
        while self._returned:
            block = self._returned.popleft()
            size = block.size
            self._used -= size
            self._free += size
            self._blocks.setdefault(size, []).append(block)
            self._blocks.move_to_end(size)

    def _most(self) -> int:
        """How much may be held."""
        return int(_SLACK * max(self._highest, self._highest_before))

    def _forget(self, used: int) -> None:
        """Begin to look for the most in use afresh."""
        self._requests = 0
        self._highest_before, self._highest = self._highest, used
        self._shrink(self._most())

    def _shrink(self, most: int) -> None:
        """Let unused blocks go until no more than ``most`` bytes are held, or none is left."""
        while self._blocks and self._used + self._free > most:
            size, blocks = next(iter(self._blocks.items()))
            if blocks:
                blocks.pop(0)
                self._free -= size
            if not blocks:
                del self._blocks[size]


def _class_of(size: int) -> int:
    """The size of block for so many bytes: at most an eighth more, so that sizes recur."""
    step = 1 << max(size.bit_length() - 4, 12)
    return -(-size // step) * step


pool = Pool()
empty = pool.empty


def empty_channels_last(shape: tuple[int, int, int, int], dtype: np.dtype[Any] | type) -> Array:
    """An uninitialized (N, C, H, W) array with channels last in memory."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def _after_fork() -> None:
    """The lock may have been held by a thread that the child does not have."""
    pool._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
