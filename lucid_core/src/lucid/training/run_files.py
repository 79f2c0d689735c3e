"""Files of a run, and the lock that lets one training at a time write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lucid.locks import FileLock
from lucid.training.communicator import Communicator

__all__ = ["BEST", "LAST", "LOG", "held_by_main", "run_lock"]

LAST, BEST, LOG, LOCK = "last.safetensors", "best.safetensors", "metrics.csv", "run.lock"


def run_lock(folder: Path) -> FileLock:
    """Return the lock of a run's folder, not yet taken."""
    return FileLock(folder / LOCK, folder, "choose another --output")


@contextmanager
def held_by_main(lock: FileLock | None, communicator: Communicator) -> Iterator[None]:
    """Hold a lock on rank 0 for all ranks, and release it at the end of the block."""
    if lock is None:
        yield
        return
    communicator.from_main(lock.acquire)
    try:
        yield
    finally:
        lock.release()
