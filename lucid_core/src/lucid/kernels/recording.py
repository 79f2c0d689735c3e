"""Recording of kernel calls, to replay them without Python.

While a recorder is active in a thread, kernels of the thread allocate from the recorder's memory
and report every launch.  A kernel takes part if it is declared with ``data``, the names of the
arguments that hold data; its other arrays are constants.  Anything else that computes leaves its
result outside of the recorder's memory, so that a later kernel or the end of the recording
notices it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from lucid.kernels.layout import Array

__all__ = ["Recorder", "current", "recording", "refuse"]


class Recorder(Protocol):
    """Receives the kernel calls and launches of a thread."""

    def call(self, kernel: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a kernel."""

    def launch(
        self, launcher: Any, slot: int, count: int, chunks: int, workers: int, args: tuple[Any, ...]
    ) -> None:
        """Record a launch whose arguments are still in the job slot."""

    def fail(self, reason: str) -> None:
        """Give up, because of a computation that is not a launch."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array | None:
        """Allocate an array, or return None for the usual allocator."""


class _Local(threading.local):
    recorder: Recorder | None = None


_local = _Local()
#: Number of active recorders in all threads: a fast check.
active = 0
_lock = threading.Lock()


def current() -> Recorder | None:
    """Return the recorder of this thread."""
    return _local.recorder if active else None


def refuse(reason: str) -> None:
    """Say that a kernel computes otherwise than by launches."""
    recorder = current()
    if recorder is not None:
        recorder.fail(reason)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Make a recorder active in this thread."""
    global active
    with _lock:
        active += 1
    before, _local.recorder = _local.recorder, recorder
    try:
        yield
    finally:
        _local.recorder = before
        with _lock:
            active -= 1


def _after_fork() -> None:
    """Reset the state of other threads, which the child does not have."""
    global active, _lock
    _lock = threading.Lock()
    active = int(_local.recorder is not None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
