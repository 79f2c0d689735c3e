"""Compiled kernels on disk: where they are kept, who is trusted, how they are written and read.

There is one folder, by this rule: ``LUCID_CACHE_DIR`` where it is set; else ``lucid`` in
``NUMBA_CACHE_DIR`` where that is set; else ``lucid`` in the user's cache folder
(``XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches``; ``%LOCALAPPDATA%``).  The
package's own folder is never written to.

In it, ``kernels`` has a folder for each *fingerprint*: what the machine code depends on, see
:mod:`lucid.kernels.compiled.jit`.  An entry is one file: the SHA-256 of its content, then
the content.  It is written beside its name and moved there, so whoever reads finds a
whole entry or none, however many processes write.  What is missing, damaged or
not trusted is as good as absent.

Trust: an entry is a pickle, which can do anything when it is loaded.  So an entry is read
only if it, its folder and the folder above belong to this user or to root and nobody
else may write to them (on Windows: as the folders of a user's profile are).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import NoReturn

__all__ = ["Store", "cache_folder"]

# Editions kept beside the one in use: of other processors that share a home, other versions.
_OTHER_EDITIONS = 7
# Seconds after which an unfinished file must be one that nobody will finish.
_ABANDONED = 3600
_DIGEST_BYTES = hashlib.sha256().digest_size
# Whatever the umask: an entry that others could write to would not be trusted.
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def cache_folder() -> Path:
    """Where Lucid keeps what it can make again; it need not be there.

    Raises
    ------
    OSError
        If nothing says where, because the user has no home.
    """
    if own := os.environ.get("LUCID_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    if numba := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(numba).expanduser().absolute() / "lucid"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "lucid" / "cache"
    if sys.platform not in ("win32", "darwin"):
        chosen = os.environ.get("XDG_CACHE_HOME", "")
        if Path(chosen).is_absolute():  # others are to be ignored, the specification says
            return Path(chosen) / "lucid"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise OSError(f"no cache folder: {error}") from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "lucid"


class Store:
    """The entries of one fingerprint.

    Parameters
    ----------
    folder : pathlib.Path
        Lucid's cache folder.
    fingerprint : str
        Name of the fingerprint's own folder in it.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / "kernels" / fingerprint
        self._used = False

    def read(self, name: str) -> bytes | None:
        """What was written under ``name``, to the byte, or None."""
        try:
            self._check_folders()
            with open(self.folder / name, "rb") as file:
                _check_trust(os.fstat(file.fileno()), file.name)
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() != digest:
            return None
        self._note_use()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keep ``content`` under ``name``.

        Raises
        ------
        OSError
            If that is not possible, or would not be trusted; nothing half-written is left.
        """
        self.prepare()
        target = self.folder / name
        unfinished = self.folder / f".{os.urandom(8).hex()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with open(os.open(unfinished, flags, _FILE_MODE), "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            os.replace(unfinished, target)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise

    def prepare(self) -> None:
        """Make the folder, where it is not there, and remove what has become old beside it.

        Raises
        ------
        OSError
            If it cannot be made, or is not to be trusted.
        """
        if not self.folder.is_dir():
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(_FOLDER_MODE, exist_ok=True)
            self._remove_old()
        self._check_folders()

    def _check_folders(self) -> None:
        # lstat: a link would be as good as its target only if nobody else could turn it.
        for folder in (self.folder, self.folder.parent):
            _check_trust(folder.lstat(), str(folder))

    def _note_use(self) -> None:
        if not self._used:
            self._used = True
            with contextlib.suppress(OSError):
                os.utime(self.folder)

    def _remove_old(self) -> None:
        """Remove the editions that were used longest ago, and what was never finished."""
        with contextlib.suppress(OSError):
            others = [folder for folder in self.folder.parent.iterdir() if folder != self.folder]
            others.sort(key=lambda folder: folder.lstat().st_mtime, reverse=True)
            for folder in others[_OTHER_EDITIONS:]:
                shutil.rmtree(folder, ignore_errors=True)
            for file in self.folder.parent.glob("*/.*"):
                if time.time() - file.lstat().st_mtime > _ABANDONED:
                    file.unlink()


def _check_trust(status: os.stat_result, path: str) -> None:
    if not hasattr(os, "geteuid"):  # Windows
        return
    if status.st_uid not in (0, os.geteuid()):
        _refuse(path, f"it belongs to another user ({status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _refuse(path, "others may write to it")


def _refuse(path: str, reason: str) -> NoReturn:
    raise PermissionError(f"{path} is not trusted with code: {reason}")
