"""Replay of recorded kernel launches in compiled code, without Python between them.

A launch is a function address, the division of its work, and its arguments, packed as the thread
pool's job slot holds them (:mod:`.thread_pool`).  A recording keeps these words of each launch;
the replay copies them into the slot and runs the job.

Numba passes an array as a structure of words: a reference-counted owner, the Python object, the
number of elements, the size of an element, the address, the shape and the strides.  Recorded
arrays have no owner and no object, so compiled code neither counts references nor frees memory: the
owner of a recording must keep its memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lucid.kernels.compiled import thread_pool
from lucid.kernels.compiled.njit import njit
from lucid.kernels.compiled.thread_pool import (
    ACTIVE,
    ARGUMENTS,
    AWAKE,
    CHUNKS,
    COUNT,
    FAILED,
    FUNCTION,
    JOINED,
    MAX_PARTICIPANTS,
    MAX_WORKERS,
    NEXT,
    OPEN,
    TICKET,
    atomic_exchange,
    atomic_load,
    call_function,
    pause,
)
from lucid.kernels.layout import Array

__all__ = ["LaunchList", "NotRecordableError"]

_WORD = 8
_LINE = 64
#: Words of an array before its shape; the address is the last of them.
_HEADER = 5


class NotRecordableError(Exception):
    """Arguments of a kernel that cannot be recorded."""


class LaunchList:
    """Recorded launches.

    Attributes
    ----------
    constants : list of numpy.ndarray
        Arrays outside of the recorder's memory, kept alive.
    """

    def __init__(self) -> None:
        self._jobs: list[tuple[int, int, int, int, int, int]] = []
        self._words: list[Array] = []
        self._size = 0
        self.constants: list[Array] = []
        self._final: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def add(
        self, slot: int, count: int, chunks: int, workers: int, args: tuple[Any, ...]
    ) -> list[tuple[int, Array]]:
        """Append the launch whose arguments are still in the slot.

        Returns the array arguments, each with the position of its address among all words.
        """
        words, arrays = _layout(args)
        copied = _read(slot + ARGUMENTS, words)
        for position, array in arrays:
            if int(copied[position + 1]) != id(array):
                raise NotRecordableError("arguments are packed in another way than expected")
            copied[position : position + 2] = 0
        function = int(_read(slot + FUNCTION, 1)[0])
        self._jobs.append((function, count, chunks, workers, self._size, words))
        self._words.append(copied)
        addresses = [(self._size + position + _HEADER - 1, array) for position, array in arrays]
        self._size += words
        return addresses

    def close(self) -> None:
        """Make the launches replayable."""
        jobs = np.array(self._jobs, np.int64).reshape(-1, 6)
        self._final = jobs, np.concatenate([np.empty(0, np.int64), *self._words])
        self._words = []

    def bind(self, positions: Array, addresses: Array) -> tuple[Array, Array]:
        """Return jobs and words with these addresses at these positions; see :meth:`add`."""
        assert self._final is not None
        jobs, words = self._final
        words = words.copy()
        words[positions] = addresses
        return jobs, words

    def replay(self, positions: Array, addresses: Array) -> None:
        """Run the launches with these addresses at these positions; see :meth:`add`.

        Several threads may call it at once.  Raises MemoryError if a launch failed.
        """
        jobs, words = self.bind(positions, addresses)
        pool = thread_pool.current_pool()
        if pool.lock.acquire(blocking=False):
            try:
                workers = pool.wake(int(jobs[:, 3].max(initial=0)))
                status = _replay(pool.slot, jobs, words, workers)
            finally:
                pool.lock.release()
        else:  # the pool serves another Python thread
            own = thread_pool.ThreadPool()
            status = _replay(own.slot, jobs, words, 0)
        if status != 0:
            raise MemoryError("a kernel failed, most likely out of memory; use smaller inputs")


def _layout(args: tuple[Any, ...]) -> tuple[int, list[tuple[int, Array]]]:
    """Return the number of words of arguments, and the position of each array."""
    words, arrays = 0, []
    for value in args:
        if isinstance(value, np.ndarray):
            arrays.append((words, value))
            words += _HEADER + 2 * value.ndim
        elif isinstance(value, tuple) and all(isinstance(part, int | np.int64) for part in value):
            words += len(value)
        elif isinstance(value, int | np.int64) and not isinstance(value, bool):
            words += 1
        else:
            raise NotRecordableError(f"an argument is a {type(value).__name__}")
    return words, arrays


def _copy_words(context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy int64 words between addresses."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        size = ir.IntType(64)
        copy = b.module.declare_intrinsic("llvm.memcpy", [byte, byte, size])
        target, source = (b.inttoptr(value, byte) for value in values[:2])
        length = b.mul(values[2], ir.Constant(size, _WORD))
        b.call(copy, [target, source, length, ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


copy_words: Any = intrinsic(_copy_words)


@njit
def _read_words(address: int, result: Array) -> None:
    copy_words(result.ctypes.data, address, len(result))


def _read(address: int, count: int) -> Array:
    result = np.empty(count, np.int64)
    _read_words(address, result)
    return result


@njit
def _run_jobs(slot: int, jobs: Array, words: Array, most: int) -> int:
    for i in range(len(jobs)):
        function, count, chunks, workers, first, size = jobs[i]
        workers = min(workers, most)
        atomic_exchange(slot + COUNT, count)
        atomic_exchange(slot + CHUNKS, chunks)
        atomic_exchange(slot + MAX_WORKERS, workers)
        atomic_exchange(slot + JOINED, 0)
        atomic_exchange(slot + FAILED, 0)
        for participant in range(min(workers + 1, MAX_PARTICIPANTS)):
            atomic_exchange(slot + NEXT + participant * _LINE, 0)
        copy_words(slot + ARGUMENTS, words.ctypes.data + first * _WORD, size)
        atomic_exchange(slot + FUNCTION, function)
        if workers:
            ticket = atomic_load(slot + TICKET) + 1
            atomic_exchange(slot + OPEN, ticket)
            atomic_exchange(slot + TICKET, ticket)
        status = call_function(function, slot, 0)
        if workers:
            atomic_exchange(slot + OPEN, 0)
            while atomic_load(slot + ACTIVE) != 0:
                pause()
        if status != 0 or atomic_load(slot + FAILED) != 0:
            return 1
    return 0


@njit
def _replay(slot: int, jobs: Array, words: Array, most: int) -> int:
    """Run the jobs in order with up to ``most`` workers; return 0, or 1 after a failure."""
    atomic_exchange(slot + AWAKE, most)  # nothing wakes workers between the jobs
    status = _run_jobs(slot, jobs, words, most)
    atomic_exchange(slot + AWAKE, 0)
    return status
