"""Worker processes that prefetch batches.

Each worker has its own pipe and loads every n-th batch, so batches arrive in order and a dying
process cannot keep a lock.  The loader requests few batches at a time in small messages, so two
full pipes cannot deadlock.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import random
import signal
import time
import traceback
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from lucid.data.batch_sampler import BatchSampler, Collate, fetch_batch
from lucid.data.main_guard import NO_GUARD, exit_if_importing_main, main_guard_hint
from lucid.tensor import Tensor

__all__ = ["WorkerPool", "block_sigint"]

_JOIN_TIMEOUT = 1.0  # seconds before workers are terminated


class WorkerPool:
    """Processes that load the batches of a sampler, ``prefetch`` in advance each.

    ``dataset`` and ``collate`` are pickled to every worker.
    """

    def __init__(
        self, dataset: Any, collate: Collate, sampler: BatchSampler, count: int, prefetch: int
    ) -> None:
        exit_if_importing_main()
        try:
            job = pickle.dumps((dataset, collate, sampler), protocol=5)
        except Exception as error:
            raise TypeError(
                f"expected a picklable dataset and collate for worker processes: {error}; define "
                "them at the top level of a module, or pass workers=0"
            ) from error
        self.prefetch = prefetch
        self.owner = os.getpid()
        self._pending = [0] * count
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self.close = weakref.finalize(self, _end, self._pipes, self._processes, self.owner)
        try:
            self._start(count)
            for worker, pipe in enumerate(self._pipes):
                try:
                    pipe.send_bytes(job)
                except OSError:
                    raise self._worker_died(worker) from None
        except BaseException:
            self.close()
            raise

    def _start(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        with block_sigint():
            for number in range(count):
                ours, theirs = context.Pipe()
                self._pipes.append(ours)
                process = context.Process(
                    target=_worker_loop, args=(theirs,), name=f"lucid-data-{number}", daemon=True
                )
                process.start()
                self._processes.append(process)
                theirs.close()  # else the pipe stays open when the worker ends

    @property
    def alive(self) -> bool:
        """Whether this process can request batches."""
        return self.close.alive and self.owner == os.getpid()

    def batches(self, epoch: int, first: int, last: int) -> Iterator[Any]:
        """Yield batches ``first`` to ``last - 1`` of an epoch, in order."""
        count = len(self._pipes)
        ahead = count * self.prefetch
        self._discard_pending()
        for batch in range(first, min(first + ahead, last)):
            self._request(batch % count, epoch, batch)
        for batch in range(first, last):
            kind, content = self._receive(batch % count)
            if kind == "error":
                raise _unpack_error(content, f"in worker {batch % count} of a DataLoader")
            if batch + ahead < last:
                self._request(batch % count, epoch, batch + ahead)
            yield content

    def _discard_pending(self) -> None:
        """Receive and drop batches that an earlier iteration requested."""
        for worker in range(len(self._pipes)):
            while self._pending[worker]:
                self._receive(worker)

    def _request(self, worker: int, epoch: int, batch: int) -> None:
        try:
            self._pipes[worker].send((epoch, batch))
        except OSError:
            raise self._worker_died(worker) from None
        self._pending[worker] += 1

    def _receive(self, worker: int) -> tuple[str, Any]:
        try:
            message = _receive_message(self._pipes[worker])
        except (EOFError, OSError):
            raise self._worker_died(worker) from None
        except BaseException:  # Ctrl-C within a message leaves the pipe unusable
            self.close()
            raise
        self._pending[worker] -= 1
        return message

    def _worker_died(self, worker: int) -> RuntimeError:
        process = self._processes[worker]
        process.join(_JOIN_TIMEOUT)
        code = process.exitcode
        self.close()
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            hint = "; out of memory?" if -code == getattr(signal, "SIGKILL", None) else ""
        else:
            how, hint = f"ended with exit code {code}", ""
            if code in (1, NO_GUARD):
                hint = f"; {main_guard_hint()}"
        return RuntimeError(f"worker {worker} of a DataLoader {how}{hint}")


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT while starting processes, which inherit the block.

    The parent ends them after Ctrl-C.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pipes: list[Connection], processes: list[BaseProcess], owner: int) -> None:
    for pipe in pipes:
        pipe.close()  # ends a worker that waits on it
    if os.getpid() != owner:  # a forked child is not their parent
        return
    deadline = time.monotonic() + _JOIN_TIMEOUT
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join(_JOIN_TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()


# --- messages ------------------------------------------------------------------------------------
#
# Arrays are sent out of band (pickle protocol 5) and arrive in writable memory.


class _Pickler(pickle.Pickler):
    """Pickler that rejects computed tensors, whose graph cannot leave the process."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor) and obj.requires_grad and not obj.is_leaf:
            raise ValueError(
                "expected a batch without gradients, got a tensor of shape "
                f"{obj.shape} computed from tensors that require gradients, whose graph cannot "
                "leave the worker process; detach() the tensors in the dataset, or pass workers=0"
            )
        return NotImplemented


def _send_message(pipe: Connection, kind: str, content: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    body = io.BytesIO()
    _Pickler(body, protocol=5, buffer_callback=buffers.append).dump((kind, content))
    views = [buffer.raw() for buffer in buffers]
    pipe.send_bytes(pickle.dumps((body.getvalue(), [view.nbytes for view in views])))
    for view in views:
        if view.nbytes:
            pipe.send_bytes(view)


def _receive_message(pipe: Connection) -> tuple[str, Any]:
    body, sizes = pickle.loads(pipe.recv_bytes())
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        if buffer.nbytes:
            pipe.recv_bytes_into(buffer.data)
    kind, content = pickle.loads(body, buffers=buffers)
    return kind, content


def _pack_error(error: BaseException) -> tuple[bytes | None, str, str]:
    """Pack an exception: pickled if possible, its repr, and the traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # some exceptions pickle but do not unpickle
    except Exception:
        return None, repr(error), text
    return pickled, repr(error), text


def _unpack_error(content: tuple[bytes | None, str, str], where: str) -> BaseException:
    pickled, shown, text = content
    error = pickle.loads(pickled) if pickled is not None else RuntimeError(f"{shown} {where}")
    error.add_note(f"{where}:\n\n{text}")
    return error


# --- in the worker -------------------------------------------------------------------------------


def _worker_loop(pipe: Connection) -> None:
    with suppress(EOFError, OSError):  # the loader is gone
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        job = pipe.recv_bytes()
        try:
            from lucid.kernels import set_num_threads

            set_num_threads(1)  # the workers share the processors
            dataset, collate, sampler = pickle.loads(job)
        except BaseException as error:
            failure = _pack_error(error)
            while True:
                pipe.recv()
                _send_message(pipe, "error", failure)
        while True:
            epoch, batch = pipe.recv()
            try:
                _seed_global_generators(sampler, epoch, batch)
                message = ("batch", fetch_batch(dataset, collate, sampler, epoch, batch))
            except BaseException as error:
                message = ("error", _pack_error(error))
            _send_result(pipe, *message)


def _send_result(pipe: Connection, kind: str, content: Any) -> None:
    try:
        _send_message(pipe, kind, content)
    except OSError:
        raise
    except Exception as error:  # the batch cannot be pickled; nothing was sent
        _send_message(pipe, "error", _pack_error(error))


def _seed_global_generators(sampler: BatchSampler, epoch: int, batch: int) -> None:
    """Seed the global generators of Python and NumPy, which datasets may use."""
    start = np.random.SeedSequence(sampler.batch_seed(epoch, batch)).generate_state(4)
    random.seed(start.tobytes())
    np.random.seed(start)  # noqa: NPY002 - the global generator
