"""Number of threads, and a thread pool that runs ranges of a kernel in parallel.

Compiled kernels run on the pool of :mod:`lucid.kernels.compiled.thread_pool`; the pool here
runs Python functions that release the GIL, such as blocks of NumPy's matrix product.  Its
workers sleep on a queue between jobs.  The calling thread takes part in its own job, so a job
finishes even when every worker is busy.  A call returns or raises, also on Ctrl-C, only when
no thread touches its arrays any more.  After a fork, the child starts a new pool.
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

from lucid.kernels import recording
from lucid.kernels.processors import available_processors

__all__ = ["get_num_threads", "parallel_for", "set_num_threads", "single_threaded_blas"]

# In a replay threads are awake: ranges may be smaller by this factor.
_AWAKE = 8
# More chunks than threads, so that a delayed thread holds up little work.
_PYTHON_CHUNKS_PER_THREAD = 4
# For compiled kernels, which draw chunks without Python.
_COMPILED_CHUNKS_PER_THREAD = 32


def _default_num_threads() -> int:
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    return available_processors()


class _Job:
    """A kernel over ``count`` items, cut into ``chunks`` ranges that threads draw in turn."""

    def __init__(
        self, kernel: Callable[..., Any], count: int, chunks: int, args: tuple[Any, ...]
    ) -> None:
        self.kernel = kernel
        self.count = count
        self.chunks = chunks
        self.limit = chunks  # 0 after an error: no thread begins another range
        self.args = args
        self.next_chunk = itertools.count()  # next(), append() and put() are atomic
        self.joined: list[None] = []
        self.results: SimpleQueue[BaseException | None] = SimpleQueue()

    def _run_chunks(self) -> BaseException | None:
        """Run ranges until none is left; return the error of one, if any."""
        try:
            while (i := next(self.next_chunk)) < self.limit:
                start = self.count * i // self.chunks
                stop = self.count * (i + 1) // self.chunks
                self.kernel(start, stop, *self.args)
        except BaseException as error:  # raised by the calling thread
            self.limit = 0
            return error
        return None

    def run_as_worker(self) -> None:
        """Join before drawing a range, so that the caller waits for this thread."""
        self.joined.append(None)
        self.results.put(self._run_chunks())

    def run_as_caller(self) -> None:
        """Take part, then wait until every thread that joined is done."""
        error = self._run_chunks()
        done = 0
        while done < len(self.joined):
            try:
                failure = self.results.get()
            except BaseException as interruption:  # Ctrl-C; others still write to the arrays
                error = error or interruption
                continue
            done += 1
            error = error or failure
        if error is not None:
            raise error


class _Local(threading.local):
    in_kernel = False


class _Pool:
    def __init__(self, size: int) -> None:
        self.size = size
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.workers = 0
        self.lock = threading.Lock()
        self.local = _Local()

    def run(self, job: _Job, workers: int) -> None:
        if self.workers < workers:
            self._start_workers(workers)
        for _ in range(min(workers, self.workers)):
            self.jobs.put(job)
        self.local.in_kernel = True
        try:
            job.run_as_caller()
        finally:
            self.local.in_kernel = False

    def _start_workers(self, wanted: int) -> None:
        with self.lock:
            while self.workers < wanted:
                name = f"lucid-{self.workers}"
                try:
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                except RuntimeError:  # the system gives no more threads; fewer do as well
                    return
                self.workers += 1

    def _work(self) -> None:
        self.local.in_kernel = True
        while True:
            job = self.jobs.get()
            job.run_as_worker()
            del job  # release the arrays of a finished job before waiting for the next one


_pool = _Pool(_default_num_threads())


def _after_fork() -> None:
    """Start afresh: threads do not survive a fork, and a lock may have been held."""
    global _pool, _blas
    _pool = _Pool(_pool.size)
    _blas.restore()
    _blas = _Blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_num_threads() -> int:
    """Return the number of threads that kernels use, the calling thread included.

    Returns
    -------
    int
        The number set by :func:`set_num_threads`, or its default.
    """
    return _pool.size


def set_num_threads(count: int) -> None:
    """Set the number of threads that kernels use.

    Parameters
    ----------
    count : int
        At least 1, the calling thread included.  The default is ``OMP_NUM_THREADS`` if it is
        set, else the number of processors in the affinity of the process, limited by the
        quota of its container.

    Raises
    ------
    TypeError
        If ``count`` is not an integer.
    ValueError
        If ``count`` is less than 1.
    """
    try:
        size = operator.index(count)
    except TypeError:
        raise TypeError(f"expected an integer number of threads, got {count!r}") from None
    if size < 1:
        raise ValueError(f"expected at least 1 thread, got {count}")
    _pool.size = size


def parallel_for(kernel: Callable[..., Any], count: int, *args: Any, grain: int = 1) -> None:
    """Call ``kernel(start, stop, *args)`` over ranges that cover ``range(count)``, in parallel.

    The kernel must release the GIL to run in parallel, and write only the output of items
    ``start`` to ``stop - 1``.  Inside another kernel, or with one thread, the calling thread
    runs the whole range.

    Parameters
    ----------
    kernel : callable
        Compiled kernel or Python function.
    count : int
        Number of items.
    *args
        Further arguments of the kernel.
    grain : int, default 1
        Smallest number of items in a range.
    """
    if count <= 0:
        return
    pool = _pool
    if recording.current() is not None:
        grain = max(1, grain // _AWAKE)
    threads = min(pool.size, -(-count // grain))
    if pool.local.in_kernel:
        threads = 1
    launch = getattr(kernel, "launch", None)
    per_thread = _PYTHON_CHUNKS_PER_THREAD if launch is None else _COMPILED_CHUNKS_PER_THREAD
    chunks = min(threads * per_thread, max(threads, count // grain))
    if launch is not None:
        launch(count, chunks, threads - 1, args)
    elif threads == 1:
        kernel(0, count, *args)
    else:
        pool.run(_Job(kernel, count, chunks, args), threads - 1)


class _Blas:
    """Lowers the number of threads of NumPy's BLAS to 1 while Lucid's threads call it."""

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
        """Restore the saved numbers of threads, if there are any."""
        for library, threads in zip(self.libraries or [], self.saved, strict=False):
            library.set_num_threads(threads)
        self.saved = []


_blas = _Blas()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to the calling thread inside the block, and restore its threads after it.

    Kernels that call ``numpy.matmul`` from the pool's threads use it: two pools that compete
    for every core are several times slower than one.

    Yields
    ------
    None
        While BLAS uses one thread.
    """
    blas = _blas
    blas.enter()
    try:
        yield
    finally:
        blas.leave()
