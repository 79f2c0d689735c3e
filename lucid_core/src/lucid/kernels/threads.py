"""The one place that decides threads: a small pool that runs ranges of a kernel.

Kernels release the GIL (compiled code and NumPy's matrix product both do), so
plain Python threads run them side by side.  Workers sleep on a queue between
jobs and spin nowhere; the calling thread takes part in its own job, so a job
finishes even when every worker is busy, from however many Python threads jobs
are started at once, and it returns or raises only when no thread touches its
arrays any more, after Ctrl-C too.  After a fork the child starts a pool of its own.
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

from lucid.kernels.processors import available_processors

__all__ = ["get_num_threads", "parallel_for", "set_num_threads", "single_threaded_blas"]

# More chunks than threads, so that a thread which the system delays holds nobody up for long.
_CHUNKS_PER_THREAD = 4
# The same for kernels that need no Python to draw one.
_CHUNKS_PER_HELPER = 32


def _default_num_threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return available_processors()


class _Job:
    """One kernel over ``count`` items, cut into ``chunks`` ranges that threads draw in turn."""

    def __init__(
        self, kernel: Callable[..., Any], count: int, chunks: int, args: tuple[Any, ...]
    ) -> None:
        self.kernel = kernel
        self.count = count
        self.chunks = chunks
        self.limit = chunks  # 0 after an error: nobody begins another range
        self.args = args
        self.draw = itertools.count()  # next() on it is atomic, as are the two below
        self.came: list[None] = []
        self.left: SimpleQueue[BaseException | None] = SimpleQueue()

    def _take_part(self) -> BaseException | None:
        """Run ranges until none is left; return what went wrong."""
        try:
            while (i := next(self.draw)) < self.limit:
                start = self.count * i // self.chunks
                stop = self.count * (i + 1) // self.chunks
                self.kernel(start, stop, *self.args)
        except BaseException as error:  # handed to the calling thread
            self.limit = 0
            return error
        return None

    def help(self) -> None:
        """What a worker does.  It has come before it draws, so that nobody overlooks it."""
        self.came.append(None)
        self.left.put(self._take_part())

    def lead(self) -> None:
        """What the calling thread does; afterwards no thread runs a range any more."""
        error = self._take_part()
        gone = 0
        while gone < len(self.came):
            try:
                fault = self.left.get()
            except BaseException as interruption:  # Ctrl-C; others still write to the arrays
                error = error or interruption
                continue
            gone += 1
            error = error or fault
        if error is not None:
            raise error


class _Local(threading.local):
    inside = False  # of a kernel


class _Pool:
    def __init__(self, size: int) -> None:
        self.size = size
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.workers = 0
        self.lock = threading.Lock()
        self.local = _Local()

    def run(self, job: _Job, helpers: int) -> None:
        if self.workers < helpers:
            self._hire(helpers)
        for _ in range(min(helpers, self.workers)):
            self.jobs.put(job)
        self.local.inside = True
        try:
            job.lead()
        finally:
            self.local.inside = False

    def _hire(self, wanted: int) -> None:
        with self.lock:
            while self.workers < wanted:
                name = f"lucid-{self.workers}"
                try:
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                except RuntimeError:  # the system gives no more threads: fewer do as well
                    return
                self.workers += 1

    def _work(self) -> None:
        self.local.inside = True
        while True:
            job = self.jobs.get()
            job.help()
            del job  # the arrays of a finished job must not live until the next one


_pool = _Pool(_default_num_threads())


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock may have been held: begin afresh."""
    global _pool, _blas
    _pool = _Pool(_pool.size)
    _blas.restore()
    _blas = _Blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_num_threads() -> int:
    """How many threads kernels use, the calling one included.

    Returns
    -------
    int
        At least 1; what :func:`set_num_threads` set, or its default.
    """
    return _pool.size


def set_num_threads(count: int) -> None:
    """Set how many threads kernels use.

    Parameters
    ----------
    count : int
        At least 1, the calling thread included.  The default is
        ``OMP_NUM_THREADS`` where it is set, else the processors that this
        process may use: its affinity, limited by a container's quota.

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
    if pool.local.inside:
        threads = 1
    share = getattr(kernel, "share", None)
    most = threads * (_CHUNKS_PER_THREAD if share is None else _CHUNKS_PER_HELPER)
    chunks = min(most, max(threads, count // grain))
    if share is not None:
        share(count, chunks, threads - 1, args)
    elif threads == 1:
        kernel(0, count, *args)
    else:
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
                self.restore()

    def restore(self) -> None:
        """Give BLAS the threads that it had before, if any were taken."""
        for library, threads in zip(self.libraries or [], self.saved, strict=False):
            library.set_num_threads(threads)
        self.saved = []


_blas = _Blas()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to the calling thread inside the block.

    Two pools that both want every core slow each other down several times over;
    kernels that call ``numpy.matmul`` from the pool's threads wrap themselves in
    this.  The previous number of threads is restored at the end.

    Yields
    ------
    None
        While BLAS keeps to one thread.
    """
    blas = _blas
    blas.enter()
    try:
        yield
    finally:
        blas.leave()
