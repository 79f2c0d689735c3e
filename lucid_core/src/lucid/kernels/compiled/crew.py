"""Threads that run one kernel together, without the GIL and without the system's help.

Handing ranges to Python threads one by one costs more than many a kernel runs: each must
wait for the GIL, and to wake a sleeping thread takes tens of microseconds.  Here the
calling thread writes what is to be done on a *board*, in compiled code; its
helpers, in compiled code as well, look at the board, draw ranges and check out.
No Python runs until the last range is done.

The board is some int64 in memory, each on a cache line of its own:

======== ==========================================================================
TICKET   counts jobs; a change tells helpers that there is something new
OPEN     ticket of the job that helpers may join, 0 when there is none
INSIDE   helpers that may be touching the job; the caller returns when it is 0
JOINED   helpers that wanted to join
WANTED   how many may
CHUNKS   ranges in all: COUNT items are divided into them
FAULT    set when a range failed
FUNCTION address of the code that draws and runs ranges of this kernel for these types
ARGUMENTS what the kernel is called with, in the form that FUNCTION expects
NEXT     for each participant, how many of its own ranges have been drawn
======== ==========================================================================

Everybody begins with ranges of their own, the same ones in every kernel, and takes over
others' when these are done: what a thread has written is often what it reads next.
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

from lucid.kernels.compiled.compiling import compiled
from lucid.kernels.compiled.simd import ADDRESS, pointer

__all__ = ["Share"]

cgutils: Any = untyped_cgutils

_LINE = 64
(
    TICKET, OPEN, INSIDE, JOINED, WANTED, CHUNKS, COUNT, FAULT, FUNCTION, ARGUMENTS,
) = range(0, 10 * _LINE, _LINE)  # fmt: skip
# An array is seven numbers; the longest list of arguments has about twenty arrays.
_ARGUMENT_BYTES = 4096
NEXT = ARGUMENTS + _ARGUMENT_BYTES
# More than so many have to draw from the same ranges.
_MOST_PARTICIPANTS = 64
# For how long, in seconds, a thread looks out for something to happen before it sleeps.
_LOOK_OUT = 5e-4
# How often it asks, in seconds, when others take longer than that.
_ASK_AGAIN = 5e-5

# What a caller gets that has to wait a little longer for its helpers.
_UNFINISHED = -1

_MACHINE = platform.machine().lower()


def _relax(context: Any) -> Any:
    """Tell the processor that this is a loop that waits, where it can be told."""

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


def _look(context: Any, address: Any) -> Any:
    """The number at ``address`` as it is now, whichever thread wrote it."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return b.load_atomic(pointer(b, values[0]), "seq_cst", 8, typ=ADDRESS)

    return types.int64(types.int64), generate


def _add(context: Any, address: Any, value: Any) -> Any:
    """Add to the number at ``address`` for all threads to see; what it was before."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return b.atomic_rmw("add", _typed(b, values[0]), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


def _write(context: Any, address: Any, value: Any) -> Any:
    """Put a number at ``address`` for all threads to see; what it was before."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return b.atomic_rmw("xchg", _typed(b, values[0]), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


def _typed(b: Any, address: Any) -> Any:
    return b.inttoptr(address, ADDRESS.as_pointer())


def _run(context: Any, function: Any, board: Any, participant: Any) -> Any:
    """Call FUNCTION, or another one like it: 0 where it went well."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, (types.int64, types.int64))
        return _call(b, b.inttoptr(values[0], kind.as_pointer()), values[1:])

    return types.int64(types.int64, types.int64, types.int64), generate


def _call(b: Any, function: Any, arguments: Sequence[Any]) -> Any:
    """A call in Numba's own convention: (result, exception, *arguments) -> status."""
    kind = function.type.pointee
    slots = [cgutils.alloca_once(b, pointer.pointee) for pointer in kind.args[:2]]
    return b.sext(b.call(function, [*slots, *arguments]), ADDRESS)


relax: Any = intrinsic(_relax)
look: Any = intrinsic(_look)
add: Any = intrinsic(_add)
write: Any = intrinsic(_write)
run: Any = intrinsic(_run)


@compiled
def serve(board: int, seen: int, most: int) -> int:
    """What a helper does: join new jobs, until there has been none for ``most`` looks.

    Takes and returns the newest ticket that it has seen.
    """
    looks = 0
    while looks < most:
        ticket = look(board + TICKET)
        if ticket == seen:
            looks += 1
            relax()
            continue
        seen, looks = ticket, 0
        # First inside, then the look whether it is open: the caller does it the other way
        # round, so either it waits for this helper or the helper finds the job closed.
        add(board + INSIDE, 1)
        if look(board + OPEN) == ticket:
            number = add(board + JOINED, 1)
            if (
                number < look(board + WANTED)
                and run(look(board + FUNCTION), board, number + 1) != 0
            ):
                write(board + FAULT, 1)
        add(board + INSIDE, -1)
    return seen


@compiled
def await_helpers(board: int, most: int) -> bool:
    """Look up to ``most`` times whether all helpers have left."""
    for _ in range(most):
        if look(board + INSIDE) == 0:
            return True
        relax()
    return False


@compiled
def look_at(address: int) -> int:
    """For Python: the number at ``address``."""
    number: int = look(address)
    return number


def _publish_and_run(ranges: Callable[..., Any]) -> Any:
    """The intrinsic by which the caller opens a job and takes part in it.

    ``ranges(board, participant, arguments)`` is what everybody runs; helpers reach it through a
    function that takes the arguments from the board.
    """

    def _publish(context: Any, board: Any, arguments: Any) -> Any:
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
            place = inner.add(address, ir.Constant(ADDRESS, ARGUMENTS))
            loaded = inner.load(inner.inttoptr(place, packed.as_pointer()))
            inside = types.void(types.int64, types.int64, arguments)
            context.compile_internal(inner, ranges, inside, [address, participant, loaded])
            context.call_conv.return_value(inner, context.get_dummy_value())

            place = b.add(values[0], ir.Constant(ADDRESS, ARGUMENTS))
            b.store(values[1], b.inttoptr(place, packed.as_pointer()))
            place = b.add(values[0], ir.Constant(ADDRESS, FUNCTION))
            b.store(b.ptrtoint(function, ADDRESS), _typed(b, place))
            # Whatever was written before an atomic addition is seen by whoever sees its result.
            ticket = b.add(
                b.load_atomic(pointer(b, values[0]), "seq_cst", 8, typ=ADDRESS),
                ir.Constant(ADDRESS, 1),
            )
            place = b.add(values[0], ir.Constant(ADDRESS, OPEN))
            b.atomic_rmw("xchg", _typed(b, place), ticket, "seq_cst")
            b.atomic_rmw("xchg", _typed(b, values[0]), ticket, "seq_cst")
            return _call(b, function, [values[0], ir.Constant(ADDRESS, 0)])

        return types.int64(types.int64, arguments), generate

    return intrinsic(_publish)


def _driver(kernel: Any) -> Any:
    """The compiled function with which a thread runs ``kernel`` over all of its ranges.

    Machine code goes by names made of a function's own and a number counted in its process.
    Without the kernel's name in it, code that two processes have kept on disk could go by one
    name, and a third that loads both would run one kernel for the other.
    """

    def ranges(board: int, participant: int, arguments: tuple[Any, ...]) -> None:
        count, chunks = look(board + COUNT), look(board + CHUNKS)
        participants = min(look(board + WANTED) + 1, _MOST_PARTICIPANTS)
        for step in range(participants):
            # Of oneself first, then of those that follow.
            owner = (participant + step) % participants
            first, last = chunks * owner // participants, chunks * (owner + 1) // participants
            i = first + add(board + NEXT + owner * _LINE, 1)
            while i < last:
                kernel(count * i // chunks, count * (i + 1) // chunks, *arguments)
                i = first + add(board + NEXT + owner * _LINE, 1)

    ranges.__qualname__ = _name_for(kernel, "ranges")
    publish = _publish_and_run(ranges)

    def drive(board: int, count: int, chunks: int, helpers: int, most: int, *arguments: Any) -> Any:
        write(board + COUNT, count)
        write(board + CHUNKS, chunks)
        write(board + WANTED, helpers)
        write(board + JOINED, 0)
        write(board + FAULT, 0)
        for participant in range(min(helpers + 1, _MOST_PARTICIPANTS)):
            write(board + NEXT + participant * _LINE, 0)
        status = publish(board, arguments)
        write(board + OPEN, 0)
        if status != 0:  # nobody begins another range
            write(board + FAULT, 1)
            for participant in range(min(helpers + 1, _MOST_PARTICIPANTS)):
                write(board + NEXT + participant * _LINE, chunks)
        for _ in range(most):
            if look(board + INSIDE) == 0:
                break
            relax()
        if look(board + INSIDE) != 0:
            return _UNFINISHED
        return status | look(board + FAULT)

    drive.__qualname__ = _name_for(kernel, "drive")
    return drive


def _name_for(kernel: Any, part: str) -> str:
    function = kernel.py_func
    return f"{function.__module__}.{function.__qualname__}.{part}"


class _Crew:
    """A board and the threads that watch it."""

    def __init__(self) -> None:
        self._memory = np.zeros((NEXT + _MOST_PARTICIPANTS * _LINE + _LINE) // 8, np.int64)
        address = self._memory.ctypes.data
        self.board = address + -address % _LINE
        #: Held by the caller whose job is on the board.
        self.lock = threading.Lock()
        self.helpers = 0
        self.looks = 1
        # Helpers that sleep, and what wakes one of them.
        self._asleep: deque[None] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()

    def wake(self, wanted: int) -> int:
        """See to it that so many helpers watch the board; how many there are."""
        while self.helpers < wanted:
            if not self.helpers:
                self._measure()
            name = f"lucid-crew-{self.helpers}"
            try:
                threading.Thread(target=self._help, name=name, daemon=True).start()
            except RuntimeError:  # the system gives no more threads: fewer do as well
                break
            self.helpers += 1
        if self._asleep:
            for _ in range(min(wanted, len(self._asleep))):
                with suppress(IndexError):  # if it woke up by itself
                    self._asleep.pop()
                    self._bell.put(None)
        return min(wanted, self.helpers)

    def finish(self) -> None:
        """Wait until no helper is inside, however long; Ctrl-C is raised afterwards."""
        interruption: BaseException | None = None
        while True:
            try:
                while not await_helpers(self.board, 1):
                    time.sleep(_ASK_AGAIN)
                break
            except BaseException as caught:  # others still write to the arrays
                interruption = interruption or caught
        if interruption is not None:
            raise interruption

    def _measure(self) -> None:
        """Find out how many looks a thread takes in the time that it may look out for."""
        looks = 1000
        for _ in range(2):  # the first time, it is compiled or loaded
            start = time.perf_counter()
            serve(self.board, 0, looks)
            each = (time.perf_counter() - start) / looks
        self.looks = max(1, int(_LOOK_OUT / each))
        # What is seldom needed is not to be compiled when it is.
        await_helpers(self.board, 1)
        look_at(self.board)

    def _help(self) -> None:
        seen = 0
        while True:
            seen = serve(self.board, seen, self.looks)
            self._asleep.append(None)
            self._bell.get()


_crew = _Crew()


def _after_fork() -> None:
    """Threads do not survive a fork, and a job may have been on the board: begin afresh."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Share:
    """Runs a kernel over ``range(count)``, cut into chunks, with helpers; its ``share``."""

    def __init__(self, kernel: Any) -> None:
        self.name = kernel.py_func.__qualname__
        self.drive = compiled(_driver(kernel), around=kernel.py_func)

    def __call__(self, count: int, chunks: int, helpers: int, args: tuple[Any, ...]) -> None:
        crew = _crew
        if helpers and crew.lock.acquire(blocking=False):
            try:
                self._run(crew, count, chunks, crew.wake(helpers), args)
            finally:
                crew.lock.release()
        else:  # alone, or others are at it from another Python thread: cores are busy as it is
            self._run(_Crew(), count, 1, 0, args)

    def _run(
        self, crew: _Crew, count: int, chunks: int, helpers: int, args: tuple[Any, ...]
    ) -> None:
        status = _UNFINISHED
        try:
            status = self.drive(crew.board, count, chunks, helpers, crew.looks, *args)
        finally:
            if status == _UNFINISHED:
                crew.finish()
                status = look_at(crew.board + FAULT)
        if status != 0:
            raise MemoryError(f"kernel {self.name} failed: most likely there is no more memory")
