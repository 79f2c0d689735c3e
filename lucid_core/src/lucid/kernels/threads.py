"""The one place that decides threads: a small pool that runs ranges of a kernel.

Kernels release the GIL (compiled code and NumPy's matrix product both do), so
plain Python threads run them side by side.  Workers sleep on a queue between
jobs and spin nowhere; the calling thread takes part in its own job, so a job
finishes even when every worker is busy, from however many Python threads jobs
are started at once.  After a fork the child starts a pool of its own.
"""

from __future__ import annotations

import itertools
import operator
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

__all__ = ["get_num_threads", "parallel_for", "set_num_threads", "single_threaded_blas"]

# More chunks than threads, so that a thread which the system delays holds nobody up for long.
_CHUNKS_PER_THREAD = 4


def _default_num_threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        return max(1, os.cpu_count() or 1)


class _Job:
    """One kernel over ``count`` items, cut into ``chunks`` ranges that threads draw in turn."""

    def __init__(
        self, kernel: Callable[..., Any], count: int, chunks: int, args: tuple[Any, ...]
    ) -> None:
        self.kernel = kernel
        self.count = count
        self.chunks = chunks
        self.args = args
        self.draw = itertools.count()  # next() on it is atomic
        self.done: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()

    def take_part(self) -> None:
        """Run ranges until none is left, then report how many this thread has run."""
        finished = 0
        error: BaseException | None = None
        while (i := next(self.draw)) < self.chunks:
            if error is None:
                start = self.count * i // self.chunks
                stop = self.count * (i + 1) // self.chunks
                try:
                    self.kernel(start, stop, *self.args)
                except BaseException as caught:  # handed to the calling thread
                    error = caught
            finished += 1
        if finished:
            self.done.put((finished, error))

    def wait(self) -> None:
        left = self.chunks
        error: BaseException | None = None
        while left:
            finished, caught = self.done.get()
            left -= finished
            error = error or caught
        if error is not None:
            raise error


class _Pool:
    def __init__(self) -> None:
        self.size = _default_num_threads()
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.workers = 0
        self.lock = threading.Lock()
        self.local = threading.local()

    def run(self, job: _Job, helpers: int) -> None:
        if self.workers < helpers:
            with self.lock:
                while self.workers < helpers:
                    name = f"lucid-{self.workers}"
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                    self.workers += 1
        for _ in range(helpers):
            self.jobs.put(job)
        self.local.inside = True
        try:
            job.take_part()
        finally:
            self.local.inside = False
        job.wait()

    def _work(self) -> None:
        self.local.inside = True
        while True:
            job = self.jobs.get()
            job.take_part()
            del job  # the arrays of a finished job must not live until the next one


_pool = _Pool()


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock may have been held: begin afresh."""
    global _pool, _blas
    size = _pool.size
    _pool = _Pool()
    _pool.size = size
    _blas = _Blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_num_threads() -> int:
    """How many threads kernels use, the calling one included."""
    return _pool.size


def set_num_threads(count: int) -> None:
    """Set how many threads kernels use.

    Parameters
    ----------
    count : int
        At least 1, the calling thread included.  The default is
        ``OMP_NUM_THREADS`` where it is set, else the processors that this
        process may run on.

    Raises
    ------
    TypeError
        If ``count`` is no integer.
    ValueError
        If ``count`` is less than 1.
    """
    try:
        size = operator.index(count)
    except TypeError:
        raise TypeError(f"the number of threads must be an integer, got {count!r}") from None
    if size < 1:
        raise ValueError(f"the number of threads must be at least 1, got {count}")
    _pool.size = size


def parallel_for(kernel: Callable[..., Any], count: int, *args: Any, grain: int = 1) -> None:
    """Call ``kernel(start, stop, *args)`` over ranges that cover ``range(count)``, in parallel.

    The kernel must release the GIL for this to pay, and write only what belongs
    to the items ``start`` to ``stop - 1``.  Called from inside a kernel, or with
    one thread, it runs the whole range where it is.

    Parameters
    ----------
    kernel : callable
        Compiled kernel or Python function.
    count : int
        Number of items.
    *args
        Passed on to the kernel.
    grain : int, default 1
        Fewest items that are worth a range of their own.
    """
    if count <= 0:
        return
    pool = _pool
    threads = min(pool.size, -(-count // grain))
    if threads <= 1 or getattr(pool.local, "inside", False):
        kernel(0, count, *args)
        return
    chunks = min(threads * _CHUNKS_PER_THREAD, max(threads, count // grain))
    pool.run(_Job(kernel, count, chunks, args), threads - 1)


class _Blas:
    """The thread count of the BLAS behind NumPy, lowered while our own threads call it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.libraries: list[Any] | None = None
        self.saved: list[int] = []

    def enter(self) -> None:
        with self.lock:
            if self.libraries is None:
                from threadpoolctl import ThreadpoolController

                found = ThreadpoolController().select(user_api="blas").lib_controllers
                self.libraries = list(found)
            if self.users == 0:
                self.saved = [library.get_num_threads() for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for library, threads in zip(self.libraries or [], self.saved, strict=True):
                    library.set_num_threads(threads)


_blas = _Blas()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to the calling thread inside the block.

    Two pools that both want every core slow each other down several times over;
    kernels that call ``numpy.matmul`` from the pool's threads wrap themselves in
    this.  The previous number of threads is restored at the end.
    """
    blas = _blas
    blas.enter()
    try:
        yield
    finally:
        blas.leave()
