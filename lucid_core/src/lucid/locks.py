"""Lock files, for exclusive access to a run folder or a report.

The lock is the operating system's lock of the file, which ends with the process.  The file names
its owner, for error messages and for file systems without locks or whose locks are not shared
between machines.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock"]

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
#: File systems and mount options whose locks may not be visible to other machines.
_UNSHARED_TYPES = ("fuse", "9p", "vboxsf", "prl_fs", "virtiofs")
_UNSHARED_OPTIONS = {"nolock", "nobrl", "localflock", "local_lock=flock", "local_lock=all"}
_BYTE = 1 << 30  # beyond the contents, since locked bytes cannot be read on Windows


class FileLock:
    """Exclusive lock of a file or folder between processes, and within this process.

    It is released by :meth:`release`, or when the object or the process ends.  Forked children do
    not inherit it.

    Parameters
    ----------
    path : path-like
        Lock file, which exists while the lock is held.  Its folder is created if missing.
    target : path-like
        File or folder that the lock protects, for error messages.
    remedy : str
        Alternative to waiting, for error messages.

    Examples
    --------
    >>> from lucid.locks import FileLock
    >>> with FileLock("report.json.lock", "report.json", "give another --output"):
    ...     pass  # exclusive access to report.json
    """

    def __init__(
        self, path: str | os.PathLike[str], target: str | os.PathLike[str], remedy: str
    ) -> None:
        self.path = Path(os.path.abspath(path))  # independent of later chdir
        self.target = os.fspath(target)
        self.remedy = remedy
        self._finalizer: weakref.finalize[..., FileLock] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._finalizer is not None

    def acquire(self) -> None:
        """Acquire the lock, unless this object holds it already.

        Raises
        ------
        ValueError
            If another process holds it, or may hold it on another machine.
        OSError
            If the lock file cannot be written.
        """
        if self.held:
            return
        try:
            created = _make_folders(self.path.parent)
            descriptor = self._open()
        except OSError as error:
            reason = error.strerror or str(error)
            raise type(error)(
                f"{self.target}: cannot be written to: {reason} ({self.path}); {self.remedy}"
            ) from error
        self._finalizer = weakref.finalize(
            self, _release, self.path, descriptor, created, os.getpid()
        )
        _held[descriptor] = self

    def release(self) -> None:
        """Release the lock if this object holds it."""
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.release()

    def _open(self) -> int:
        """Open and lock the file, write this process into it and return its descriptor."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(self.path, flags, 0o666)
            try:
                locked = _lock(descriptor)
                owner = self._read_owner(descriptor)
                if locked is False:
                    raise ValueError(self._in_use(owner))
                if not _is_at(descriptor, self.path):  # its owner removed it meanwhile
                    os.close(descriptor)
                    continue
                if owner is not None and owner.may_run(locked is True, self.path):
                    raise ValueError(self._in_use(owner))
                _write_owner(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def _read_owner(self, descriptor: int) -> _Owner | None:
        """Read the owner from the file; None if it is empty."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        text = os.read(descriptor, 1 << 16)
        try:
            return _Owner(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            raise ValueError(
                f"{self.path}: expected a lock file, got another or damaged file; remove it, or "
                f"{self.remedy}"
            ) from None

    def _in_use(self, owner: _Owner | None) -> str:
        holder = "another process" if owner is None else str(owner)
        if owner is None or owner.is_here:
            return f"{self.target}: in use by {holder}; wait for it, stop it, or {self.remedy}"
        return (
            f"{self.target}: in use by {holder}, which cannot be checked from "
            f"{socket.gethostname()}; if that process has ended, remove {self.path}, else "
            f"{self.remedy}"
        )


@dataclass(frozen=True)
class _Owner:
    """Process that holds a lock, as written in the lock file."""

    pid: int
    host: str
    boot: str | None
    started: int | None
    since: str
    command: str

    @classmethod
    def current(cls) -> _Owner:
        pid = os.getpid()
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        command = shlex.join(sys.argv)[:200]
        return cls(pid, socket.gethostname(), _boot_id(), _start_time(pid), since, command)

    @property
    def is_here(self) -> bool:
        """Whether the process runs or ran on this machine since its last boot."""
        return self.boot == _boot_id() if self.boot else self.host == socket.gethostname()

    def may_run(self, locked: bool, path: Path) -> bool:
        """Whether the process may still run, given whether we got the system's lock of ``path``."""
        if self.is_here:
            return not locked and _runs(self.pid, self.started)
        if self.host == socket.gethostname():  # this machine, before its last boot
            return False
        return not (locked and _locks_are_shared(path))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


# --- file locks of the operating system -----------------------------------------------------------


def _lock(descriptor: int) -> bool | None:
    """Lock the file; False if another process holds it, None if the file system has no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locks_are_shared(path: Path) -> bool:
    """Whether the mount table shows a file system that shares locks between machines."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    kind, options = "", set[str]()
    folder, longest = str(path.resolve().parent), -1
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = mount.split()[4].encode().decode("unicode_escape")  # a space is \040
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            longest, (kind, _, *rest) = len(point), source.split()
            options = {*",".join([mount.split()[5], *rest]).split(",")}
    return longest >= 0 and not kind.startswith(_UNSHARED_TYPES) and not options & _UNSHARED_OPTIONS


# --- owner ----------------------------------------------------------------------------------------


def _write_owner(descriptor: int) -> None:
    text = json.dumps(asdict(_Owner.current())).encode()
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, text)


def _boot_id() -> str | None:
    """Return the id of this boot, which containers of a machine share; None if unknown."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None if unknown."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text()
        return int(text.rpartition(")")[2].split()[19])
    return None


def _runs(pid: int, started: int | None) -> bool:
    if started is not None:
        return _start_time(pid) == started
    if os.name == "nt":  # os.kill would terminate the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- release --------------------------------------------------------------------------------------

_held: weakref.WeakValueDictionary[int, FileLock] = weakref.WeakValueDictionary()


def _make_folders(folder: Path) -> list[Path]:
    """Create a folder; return the folders that were missing, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _release(path: Path, descriptor: int, created: list[Path], pid: int) -> None:
    if pid != os.getpid():
        return
    _held.pop(descriptor, None)
    if os.name == "nt":  # an open file cannot be removed
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)
    with suppress(OSError):
        path.unlink()
    if os.name != "nt":  # remove while locked, so that no process locks it between
        os.close(descriptor)
    for folder in created:  # if they are still empty
        with suppress(OSError):
            folder.rmdir()


def _forget_in_child() -> None:
    """Close descriptors in a forked child, which would keep the lock if the parent is killed."""
    for descriptor, lock in list(_held.items()):
        if lock._finalizer is not None:
            lock._finalizer.detach()
            lock._finalizer = None
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
