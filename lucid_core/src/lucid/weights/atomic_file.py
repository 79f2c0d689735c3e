"""Atomic file replacement: readers see the old file or the new one, never a part.

The content is written to a temporary file in the same directory (a rename is atomic within one
file system), synced, and renamed; then the directory is synced, so that the rename survives a
power failure.

A killed process leaves its temporary file.  Each writer locks its own, and the system releases
the lock when the process ends; the next writer of the same file removes unlocked ones.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: an open file cannot be removed, which serves as the lock
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Replace a file atomically.

    A symbolic link is followed: its target is replaced.

    Parameters
    ----------
    path : path-like
        The file to create or replace.

    Yields
    ------
    binary file
        Temporary file to write to.  If the block raises, it is removed and ``path`` is unchanged.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.
    IsADirectoryError
        If ``path`` is a directory.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the directory {target.parent} does not exist"
        )
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: expected a file, got a directory")
    _remove_stale(target)
    temporary, file = _create(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name != "nt":  # rename while open, still locked
                os.replace(temporary, target)
        if os.name == "nt":
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            error.filename = os.fspath(path)  # write errors have no file name
        raise
    _flush_directory(target.parent)


def _affixes(target: Path) -> tuple[str, str]:
    # Truncated to stay below the limit of 255 bytes per name.
    return f".{target.name[:50]}.", ".tmp"


def _create(target: Path) -> tuple[Path, BinaryIO]:
    prefix, suffix = _affixes(target)
    while True:
        temporary = target.parent / f"{prefix}{secrets.token_hex(8)}{suffix}"
        # tempfile would create private files; this one gets the default mode of the user.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
        if _lock(descriptor) and _has_name(descriptor):
            return temporary, os.fdopen(descriptor, "wb")
        os.close(descriptor)  # removed by another writer before it was locked


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system: see _remove_stale
        return True
    return True


def _has_name(descriptor: int) -> bool:
    return os.name == "nt" or os.fstat(descriptor).st_nlink > 0


def _remove_stale(target: Path) -> None:
    """Remove the temporary files of dead writers of ``target``."""
    prefix, suffix = _affixes(target)
    for name in os.listdir(target.parent):
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        stale = target.parent / name
        with suppress(OSError):  # already removed, or no permission
            if fcntl is None:
                stale.unlink()
                continue
            with open(stale, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()


def _flush_directory(directory: Path) -> None:
    if os.name == "nt":  # directories cannot be opened
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # unsupported on some network file systems
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
