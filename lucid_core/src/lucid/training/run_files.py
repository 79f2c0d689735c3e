"""Files of a run, and the lock that lets one training at a time write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lucid.locks import FileLock
from lucid.training.communicator import Communicator

__all__ = ["BEST_MODEL", "LAST_CHECKPOINT", "METRICS_LOG", "hold_on_main", "run_lock"]

LAST_CHECKPOINT, BEST_MODEL, METRICS_LOG, LOCK = (
    "last.safetensors",
    "best.safetensors",
    "metrics.csv",
    "run.lock",
)


def run_lock(folder: Path) -> FileLock:
    """Return the lock of a run's folder, not yet taken."""
    return FileLock(folder / LOCK, folder, "choose another --output")


@contextmanager
def hold_on_main(lock: FileLock | None, communicator: Communicator) -> Iterator[None]:
    """Hold a lock on rank 0 for all ranks, and release it at the end of the block."""
    if lock is None:
        yield
        return
    communicator.call_on_main(lock.acquire)
    try:
        yield
    finally:
        lock.release()
