"""Replacing a file so that every moment, a crash included, shows the old one or the new one whole.

The new content goes into a temporary file in the same directory (a rename is
atomic within one file system only), reaches the disk, and takes the name of the
old file in one step; then the directory itself is flushed, so that the rename
survives a power cut too.

A process that is killed leaves its temporary behind.  A living writer holds a
lock on its own, which the system drops when the process ends in whatever way;
so the next writer of the same file removes those that nobody locks.
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
except ImportError:  # Windows, where nobody can remove a file that is open: that is the lock
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file so that readers see the old content or the new, never a part.

    A symbolic link is followed: what it points to is replaced, the link stays.

    Parameters
    ----------
    path : path-like
        The file to create or replace.

    Yields
    ------
    binary file
        Where to write the new content.  When the block ends with an exception,
        the temporary is removed and ``path`` stays as it was.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.
    IsADirectoryError
        If ``path`` is a directory.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no directory {target.parent}")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    _remove_stale(target)
    temporary, file = _create(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name != "nt":  # renamed while open and so still locked
                os.replace(temporary, target)
        if os.name == "nt":
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            error.filename = os.fspath(path)  # writing to an open file does not name it
        raise
    _flush_directory(target.parent)


def _affixes(target: Path) -> tuple[str, str]:
    # Cut so that the temporary's name cannot pass the 255 bytes that file systems allow.
    return f".{target.name[:50]}.", ".tmp"


def _create(target: Path) -> tuple[Path, BinaryIO]:
    prefix, suffix = _affixes(target)
    while True:
        temporary = target.parent / f"{prefix}{secrets.token_hex(8)}{suffix}"
        # Not tempfile: its files are private, and the result should have the user's usual mode.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
        if _lock(descriptor) and _has_name(descriptor):
            return temporary, os.fdopen(descriptor, "wb")
        os.close(descriptor)  # someone cleaned up between our creating and our locking it


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: cleaning up is off there, see _remove_stale
        return True
    return True


def _has_name(descriptor: int) -> bool:
    return os.name == "nt" or os.fstat(descriptor).st_nlink > 0


def _remove_stale(target: Path) -> None:
    """Remove the temporaries of writers of ``target`` that are no more."""
    prefix, suffix = _affixes(target)
    for name in os.listdir(target.parent):
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        stale = target.parent / name
        with suppress(OSError):  # another cleaner was faster, or the file is not ours to remove
            if fcntl is None:
                stale.unlink()
                continue
            with open(stale, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()


def _flush_directory(directory: Path) -> None:
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse; the file itself is whole
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
