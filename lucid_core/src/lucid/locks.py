"""Lock files: one process at a time writes to a run folder or a report.

The operating system's lock on the file decides, so the lock of a killed process is gone at
once.  The file's content says who holds it, for the error message, and decides where the
file system has no locks or does not share them between machines.
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
#: File systems, and mount options, whose locks other machines may not see.
_UNSHARED_TYPES = ("fuse", "9p", "vboxsf", "prl_fs", "virtiofs")
_UNSHARED_OPTIONS = {"nolock", "nobrl", "localflock", "local_lock=flock", "local_lock=all"}
_BYTE = 1 << 30  # Windows locks bytes against reading, so one behind the content


class FileLock:
    """Exclusive lock of something that one process at a time may write to.

    Another :class:`FileLock` on the same file is refused, in this process too.  The lock ends
    with :meth:`release`, with the object, or with the process, however it ends.  Forked
    children do not inherit it.

    Parameters
    ----------
    path : path-like
        The lock file.  Exists while the lock is held; its folder is made if it is missing.
    target : path-like
        What the lock protects, as error messages name it.
    remedy : str
        What to do instead of waiting, for error messages.

    Examples
    --------
    >>> from lucid.locks import FileLock
    >>> with FileLock("report.json.lock", "report.json", "give another --output"):
    ...     pass  # nobody else writes to report.json here
    """

    def __init__(
        self, path: str | os.PathLike[str], target: str | os.PathLike[str], remedy: str
    ) -> None:
        self.path = Path(os.path.abspath(path))  # released wherever the process is by then
        self.target = os.fspath(target)
        self.remedy = remedy
        self._finalizer: weakref.finalize[..., FileLock] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._finalizer is not None

    def acquire(self) -> None:
        """Take the lock; does nothing if it is held already.

        Raises
        ------
        ValueError
            If another process holds it, or may hold it on another machine; names that process.
        OSError
            If the lock file cannot be written.
        """
        if self.held:
            return
        try:
            made = _make_folders(self.path.parent)
            descriptor = self._open()
        except OSError as error:
            reason = error.strerror or str(error)
            raise type(error)(
                f"{self.target}: cannot be written to: {reason} ({self.path}); {self.remedy}"
            ) from error
        self._finalizer = weakref.finalize(self, _release, self.path, descriptor, made, os.getpid())
        _held[descriptor] = self

    def release(self) -> None:
        """Give the lock back; does nothing if it is not held."""
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
        """Open the file, lock it and write into it who we are; gives its descriptor."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(self.path, flags, 0o666)
            try:
                locked = _lock(descriptor)
                owner = self._read_owner(descriptor)
                if locked is False:
                    raise ValueError(self._in_use(owner))
                if not _is_at(descriptor, self.path):  # removed by its owner meanwhile
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
        """The process in the file; None if it is empty."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        text = os.read(descriptor, 1 << 16)
        try:
            return _Owner(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            raise ValueError(
                f"{self.path}: expected a lock file, got another or a damaged file; remove it, or "
                f"{self.remedy}"
            ) from None

    def _in_use(self, owner: _Owner | None) -> str:
        who = "another process" if owner is None else str(owner)
        if owner is None or owner.is_here:
            return (
                f"{self.target}: in use by {who}; wait for it to end or stop it, or {self.remedy}"
            )
        return (
            f"{self.target}: in use by {who}, which cannot be checked from "
            f"{socket.gethostname()}; if that process has ended, remove {self.path}, else "
            f"{self.remedy}"
        )


@dataclass(frozen=True)
class _Owner:
    """The process that holds a lock, as the lock file describes it."""

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
        """Whether the process ran on this machine since it was started."""
        return self.boot == _boot_id() if self.boot else self.host == socket.gethostname()

    def may_run(self, locked: bool, path: Path) -> bool:
        """Whether the process may still be running, after its lock file has been opened.

        Parameters
        ----------
        locked : bool
            Whether the operating system has given us the lock.
        path : path
            The lock file.
        """
        if self.is_here:
            return not locked and _runs(self.pid, self.started)
        if self.host == socket.gethostname():  # this machine, before it was started again
            return False
        return not (locked and _locks_are_shared(path))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


# --- the lock of the operating system -------------------------------------------------------------


def _lock(descriptor: int) -> bool | None:
    """Whether the lock was free and is ours now; None where the file system has no locks."""
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
    """Whether the file system's locks hold between machines, as far as the mount table says."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    kind, options = "", set[str]()
    place, longest = str(path.resolve().parent), -1
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = mount.split()[4].encode().decode("unicode_escape")  # a space is \040
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            longest, (kind, _, *rest) = len(point), source.split()
            options = {*",".join([mount.split()[5], *rest]).split(",")}
    return longest >= 0 and not kind.startswith(_UNSHARED_TYPES) and not options & _UNSHARED_OPTIONS


# --- who holds it ---------------------------------------------------------------------------------


def _write_owner(descriptor: int) -> None:
    text = json.dumps(asdict(_Owner.current())).encode()
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, text)


def _boot_id() -> str | None:
    """The running kernel, which the containers of a machine share; None where it has no id."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if that is not known."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text()
        return int(text.rpartition(")")[2].split()[19])
    return None


def _runs(pid: int, started: int | None) -> bool:
    if started is not None:
        return _start_time(pid) == started
    if os.name == "nt":  # os.kill ends a process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- the end of a lock ----------------------------------------------------------------------------

_held: weakref.WeakValueDictionary[int, FileLock] = weakref.WeakValueDictionary()


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder; gives those that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _release(path: Path, descriptor: int, made: list[Path], pid: int) -> None:
    if pid != os.getpid():
        return
    _held.pop(descriptor, None)
    if os.name == "nt":  # an open file cannot be removed there
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)
    with suppress(OSError):
        path.unlink()
    if os.name != "nt":  # removed while locked: nobody can lock it any more
        os.close(descriptor)
    for folder in made:  # those that nothing was written to
        with suppress(OSError):
            folder.rmdir()


def _forget_in_child() -> None:
    """Close a forked child's copies, which would keep the lock of a parent that is killed."""
    for descriptor, lock in list(_held.items()):
        if lock._finalizer is not None:
            lock._finalizer.detach()
            lock._finalizer = None
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
