"""File names of a run, and the lock that allows one process at a time to write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lucid.locks import FileLock
from lucid.training.communicator import Communicator

__all__ = ["BEST_MODEL", "LAST_CHECKPOINT", "METRICS_LOG", "hold_on_main", "run_lock"]

LAST_CHECKPOINT = "last.safetensors"
BEST_MODEL = "best.safetensors"
METRICS_LOG = "metrics.csv"
_LOCK = "run.lock"


def run_lock(folder: Path) -> FileLock:
    """Return the lock of a run folder, not acquired."""
    return FileLock(folder / _LOCK, folder, "choose another --output")


@contextmanager
def hold_on_main(lock: FileLock | None, communicator: Communicator) -> Iterator[None]:
    """Hold a lock on rank 0 during the block; raise on all ranks if that fails."""
    if lock is None:
        yield
        return
    communicator.call_on_main(lock.acquire)
    try:
        yield
    finally:
        lock.release()
