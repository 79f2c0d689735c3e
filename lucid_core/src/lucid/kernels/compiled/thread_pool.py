"""Thread pool of compiled kernels: workers run ranges without the GIL and without system calls.

Handing ranges to Python threads costs more than many kernels take: each thread waits for the
GIL, and waking a sleeping thread takes tens of microseconds.  Here the calling thread fills a
*job slot* from compiled code; workers, also in compiled code, poll the slot, draw chunks with
atomic additions and check out.  No Python runs until the last chunk is done.

A job slot is a block of int64 fields, each on a cache line of its own:

============ =======================================================================
TICKET       counts jobs; workers see a new job by a new ticket
OPEN         ticket of the job that workers may join, 0 if there is none
ACTIVE       workers that may be touching the job; the caller returns when it is 0
JOINED       workers that tried to join
MAX_WORKERS  workers that may join
CHUNKS       number of ranges that COUNT items are divided into
COUNT        number of items
FAILED       nonzero after a range raised an error
AWAKE        nonzero while more jobs follow, so that no worker sleeps
FUNCTION     address of the code that draws and runs the ranges of this kernel and types
ARGUMENTS    arguments of the kernel, in the layout that FUNCTION expects
NEXT         for each participant, the number of its own chunks that have been drawn
============ =======================================================================

Each participant begins with its own chunks, the same ones in every kernel, and then takes
chunks of the others: what a thread has written is often what it reads next.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from lucid.kernels import recording
from lucid.kernels.compiled.njit import njit
from lucid.kernels.compiled.vector_ir import ADDRESS, pointer

__all__ = ["Launcher", "ThreadPool", "current_pool"]

cgutils: Any = untyped_cgutils

_CACHE_LINE = 64
(
    TICKET, OPEN, ACTIVE, JOINED, MAX_WORKERS, CHUNKS, COUNT, FAILED, AWAKE, FUNCTION, ARGUMENTS,
) = range(0, 11 * _CACHE_LINE, _CACHE_LINE)  # fmt: skip
# An array is seven int64; the longest argument list has about twenty arrays.
_ARGUMENT_BYTES = 4096
NEXT = ARGUMENTS + _ARGUMENT_BYTES
# Further participants share the chunks of these.
MAX_PARTICIPANTS = 64
# Seconds that a worker spins without a new job before it sleeps.
_SPIN_SECONDS = 5e-4
# Seconds between polls of a caller that waits longer than that for its workers.
_POLL_SECONDS = 5e-5

# Status of a job whose workers are not done when the caller stops spinning.
_UNFINISHED = -1

_MACHINE = platform.machine().lower()


def _pause(context: Any) -> Any:
    """Hint to the processor that this is a spin loop, on processors that have such a hint."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        name, arguments = None, []
        if _MACHINE in ("x86_64", "amd64"):
            name = "llvm.x86.sse2.pause"
        elif _MACHINE in ("aarch64", "arm64"):
            name, arguments = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]
        if name is not None:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
            b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)
        return context.get_dummy_value()

    return types.void(), generate


def _atomic_load(context: Any, address: Any) -> Any:
    """Load the int64 at ``address``."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return b.load_atomic(pointer(b, values[0]), "seq_cst", 8, typ=ADDRESS)

    return types.int64(types.int64), generate


def _atomic(operation: str) -> Callable[..., Any]:
    """Make an intrinsic ``(address, value) -> previous value`` for an LLVM ``atomicrmw``."""

    def _read_modify_write(context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
            return b.atomic_rmw(operation, _typed(b, values[0]), values[1], "seq_cst")

        return types.int64(types.int64, types.int64), generate

    return _read_modify_write


def _typed(b: Any, address: Any) -> Any:
    return b.inttoptr(address, ADDRESS.as_pointer())


def _call_function(context: Any, function: Any, slot: Any, participant: Any) -> Any:
    """Call the function at an address, FUNCTION of a slot; return 0 on success."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, (types.int64, types.int64))
        return _call(b, b.inttoptr(values[0], kind.as_pointer()), values[1:])

    return types.int64(types.int64, types.int64, types.int64), generate


def _call(b: Any, function: Any, arguments: Sequence[Any]) -> Any:
    """Call in Numba's convention: ``(result, exception, *arguments) -> status``."""
    kind = function.type.pointee
    results = [cgutils.alloca_once(b, pointer.pointee) for pointer in kind.args[:2]]
    return b.sext(b.call(function, [*results, *arguments]), ADDRESS)


pause: Any = intrinsic(_pause)
atomic_load: Any = intrinsic(_atomic_load)
atomic_add: Any = intrinsic(_atomic("add"))
atomic_exchange: Any = intrinsic(_atomic("xchg"))
call_function: Any = intrinsic(_call_function)


@njit
def worker_loop(slot: int, seen: int, max_spins: int) -> int:
    """Run new jobs until none has come for ``max_spins`` polls, and none is announced by AWAKE.

    Takes the last ticket that the worker has seen and returns the new one.
    """
    spins = 0
    while spins < max_spins or atomic_load(slot + AWAKE) != 0:
        ticket = atomic_load(slot + TICKET)
        if ticket == seen:
            spins += 1
            pause()
            continue
        seen, spins = ticket, 0
        # Become active first, then check that the job is open.  The caller does it the other
        # way round, so either it waits for this worker or the worker finds the job closed.
        atomic_add(slot + ACTIVE, 1)
        if atomic_load(slot + OPEN) == ticket:
            index = atomic_add(slot + JOINED, 1)
            if (
                index < atomic_load(slot + MAX_WORKERS)
                and call_function(atomic_load(slot + FUNCTION), slot, index + 1) != 0
            ):
                atomic_exchange(slot + FAILED, 1)
        atomic_add(slot + ACTIVE, -1)
    return seen


@njit
def workers_done(slot: int, max_spins: int) -> bool:
    """Poll up to ``max_spins`` times whether no worker is active."""
    for _ in range(max_spins):
        if atomic_load(slot + ACTIVE) == 0:
            return True
        pause()
    return False


@njit
def read_field(address: int) -> int:
    """Load a field of a slot from Python."""
    value: int = atomic_load(address)
    return value


def _publish_and_run(run_chunks: Callable[..., Any]) -> Any:
    """Make the intrinsic by which the caller opens a job and takes part in it.

    Every participant runs ``run_chunks(slot, participant, arguments)``; workers reach it
    through a function that loads the arguments from the slot.
    """

    def _publish(context: Any, slot: Any, arguments: Any) -> Any:
        if not isinstance(arguments, types.BaseTuple):
            raise TypingError("the arguments of a kernel must come as a tuple")

        def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
            packed = context.get_value_type(arguments)
            if context.get_abi_sizeof(packed) > _ARGUMENT_BYTES:
                raise TypingError(f"too many arguments for a kernel: {arguments}")
            kind = context.call_conv.get_function_type(types.none, (types.int64, types.int64))
            name = f"lucid_ranges_{len(b.module.functions)}"
            function = ir.Function(b.module, kind, name)
            function.linkage = "internal"
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            address, participant = context.call_conv.decode_arguments(
                inner, (types.int64, types.int64), function
            )
            field = inner.add(address, ir.Constant(ADDRESS, ARGUMENTS))
            loaded = inner.load(inner.inttoptr(field, packed.as_pointer()))
            inside = types.void(types.int64, types.int64, arguments)
            context.compile_internal(inner, run_chunks, inside, [address, participant, loaded])
            context.call_conv.return_value(inner, context.get_dummy_value())

            field = b.add(values[0], ir.Constant(ADDRESS, ARGUMENTS))
            b.store(values[1], b.inttoptr(field, packed.as_pointer()))
            field = b.add(values[0], ir.Constant(ADDRESS, FUNCTION))
            b.store(b.ptrtoint(function, ADDRESS), _typed(b, field))
            # The sequentially consistent writes below publish the plain stores above.
            ticket = b.add(
                b.load_atomic(pointer(b, values[0]), "seq_cst", 8, typ=ADDRESS),
                ir.Constant(ADDRESS, 1),
            )
            field = b.add(values[0], ir.Constant(ADDRESS, OPEN))
            b.atomic_rmw("xchg", _typed(b, field), ticket, "seq_cst")
            b.atomic_rmw("xchg", _typed(b, values[0]), ticket, "seq_cst")
            return _call(b, function, [values[0], ir.Constant(ADDRESS, 0)])

        return types.int64(types.int64, arguments), generate

    return intrinsic(_publish)


def _make_driver(kernel: Any) -> Any:
    """Return the function, still to be compiled, that runs ``kernel`` as a job.

    Its qualified name contains the kernel's.  Numba names machine code by the function and a
    counter of the process: without the kernel's name, code that two processes have cached could
    have one name, and a third process that loads both would run one kernel for the other.
    """

    def run_chunks(slot: int, participant: int, arguments: tuple[Any, ...]) -> None:
        count, chunks = atomic_load(slot + COUNT), atomic_load(slot + CHUNKS)
        participants = min(atomic_load(slot + MAX_WORKERS) + 1, MAX_PARTICIPANTS)
        for step in range(participants):
            # First the participant's own chunks, then those of the following ones.
            owner = (participant + step) % participants
            first, last = chunks * owner // participants, chunks * (owner + 1) // participants
            i = first + atomic_add(slot + NEXT + owner * _CACHE_LINE, 1)
            while i < last:
                kernel(count * i // chunks, count * (i + 1) // chunks, *arguments)
                i = first + atomic_add(slot + NEXT + owner * _CACHE_LINE, 1)

    run_chunks.__qualname__ = _qualified_name(kernel, "ranges")
    publish = _publish_and_run(run_chunks)

    def drive(
        slot: int, count: int, chunks: int, workers: int, max_spins: int, *arguments: Any
    ) -> Any:
        atomic_exchange(slot + COUNT, count)
        atomic_exchange(slot + CHUNKS, chunks)
        atomic_exchange(slot + MAX_WORKERS, workers)
        atomic_exchange(slot + JOINED, 0)
        atomic_exchange(slot + FAILED, 0)
        for participant in range(min(workers + 1, MAX_PARTICIPANTS)):
            atomic_exchange(slot + NEXT + participant * _CACHE_LINE, 0)
        status = publish(slot, arguments)
        atomic_exchange(slot + OPEN, 0)
        if status != 0:  # nobody begins another chunk
            atomic_exchange(slot + FAILED, 1)
            for participant in range(min(workers + 1, MAX_PARTICIPANTS)):
                atomic_exchange(slot + NEXT + participant * _CACHE_LINE, chunks)
        for _ in range(max_spins):
            if atomic_load(slot + ACTIVE) == 0:
                break
            pause()
        if atomic_load(slot + ACTIVE) != 0:
            return _UNFINISHED
        return status | atomic_load(slot + FAILED)

    drive.__qualname__ = _qualified_name(kernel, "drive")
    return drive


def _qualified_name(kernel: Any, part: str) -> str:
    function = kernel.py_func
    return f"{function.__module__}.{function.__qualname__}.{part}"


class ThreadPool:
    """A job slot and the worker threads that poll it."""

    def __init__(self) -> None:
        fields = NEXT + MAX_PARTICIPANTS * _CACHE_LINE
        self._memory = np.zeros((fields + _CACHE_LINE) // 8, np.int64)
        address = self._memory.ctypes.data
        self.slot = address + -address % _CACHE_LINE
        #: Held by the caller whose job is in the slot.
        self.lock = threading.Lock()
        self.workers = 0
        self.max_spins = 1
        # Sleeping workers, and the queue that wakes one of them.
        self._sleeping: deque[None] = deque()
        self._wakeups: SimpleQueue[None] = SimpleQueue()

    def wake(self, wanted: int) -> int:
        """Start or wake up to ``wanted`` workers; return how many there are."""
        while self.workers < wanted:
            if not self.workers:
                self._calibrate()
            name = f"lucid-worker-{self.workers}"
            try:
                threading.Thread(target=self._work, name=name, daemon=True).start()
            except RuntimeError:  # the system gives no more threads; fewer do as well
                break
            self.workers += 1
        if self._sleeping:
            for _ in range(min(wanted, len(self._sleeping))):
                with suppress(IndexError):  # none sleeps any more
                    self._sleeping.pop()
                    self._wakeups.put(None)
        return min(wanted, self.workers)

    def wait(self) -> None:
        """Wait until no worker is active; raise an interruption (Ctrl-C) only then."""
        interruption: BaseException | None = None
        while True:
            try:
                while not workers_done(self.slot, 1):
                    time.sleep(_POLL_SECONDS)
                break
            except BaseException as caught:  # workers still write to the arrays
                interruption = interruption or caught
        if interruption is not None:
            raise interruption

    def _calibrate(self) -> None:
        """Measure how many polls fit `_SPIN_SECONDS`."""
        spins = 1000
        for _ in range(2):  # the first call compiles the loop or loads it
            start = time.perf_counter()
            worker_loop(self.slot, 0, spins)
            each = (time.perf_counter() - start) / spins
        self.max_spins = max(1, int(_SPIN_SECONDS / each))
        # Compile now what is seldom needed, not in the middle of a job.
        workers_done(self.slot, 1)
        read_field(self.slot)

    def _work(self) -> None:
        seen = 0
        while True:
            seen = worker_loop(self.slot, seen, self.max_spins)
            self._sleeping.append(None)
            # While this thread waited for the GIL, a job may have begun that did not wake it.
            before, seen = seen, worker_loop(self.slot, seen, 1)
            if seen == before:
                self._wakeups.get()
            else:
                with suppress(IndexError):  # woken meanwhile
                    self._sleeping.pop()


_pool = ThreadPool()


def current_pool() -> ThreadPool:
    """Return the pool that all kernels share."""
    return _pool


def _after_fork() -> None:
    """Start afresh: threads do not survive a fork, and a job may have been in the slot."""
    global _pool
    _pool = ThreadPool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Launcher:
    """Run a kernel over ``range(count)``, cut into chunks, on the pool; a kernel's ``launch``."""

    def __init__(self, kernel: Any) -> None:
        self.name = kernel.py_func.__qualname__
        self.drive = njit(_make_driver(kernel), kernel=kernel.py_func)

    def __call__(self, count: int, chunks: int, workers: int, args: tuple[Any, ...]) -> None:
        pool = _pool
        if workers and pool.lock.acquire(blocking=False):
            try:
                self._run(pool, count, chunks, pool.wake(workers), args)
                self._record(pool, count, chunks, workers, args)
            finally:
                pool.lock.release()
        else:  # one thread, or the pool serves another Python thread: the cores are busy
            pool = ThreadPool()
            self._run(pool, count, 1, 0, args)
            self._record(pool, count, chunks if workers else 1, workers, args)

    def _run(
        self, pool: ThreadPool, count: int, chunks: int, workers: int, args: tuple[Any, ...]
    ) -> None:
        status = _UNFINISHED
        try:
            status = self.drive(pool.slot, count, chunks, workers, pool.max_spins, *args)
        finally:
            if status == _UNFINISHED:
                pool.wait()
                status = read_field(pool.slot + FAILED)
        if status != 0:
            raise MemoryError(
                f"kernel {self.name} failed, most likely out of memory; use smaller inputs"
            )

    def _record(
        self, pool: ThreadPool, count: int, chunks: int, workers: int, args: tuple[Any, ...]
    ) -> None:
        """Tell this thread's recorder, if there is one, of a launch divided as requested."""
        if recording.active and (recorder := recording.current()) is not None:
            recorder.launch(self, pool.slot, count, chunks, workers, args)
