"""Disk store of compiled kernels.

The cache folder is ``LUCID_CACHE_DIR``; else ``lucid`` in ``NUMBA_CACHE_DIR``; else ``lucid``
in the user's cache folder (``XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches``;
``%LOCALAPPDATA%``).  In it, ``kernels`` has one folder per *fingerprint*, a digest of all that
the machine code depends on (:mod:`lucid.kernels.compiled.numba_cache`).

An entry is one file: the SHA-256 of its content, then the content.  It is written under a
temporary name and moved into place, so concurrent readers find a whole entry or none.
Missing, damaged and untrusted entries count as absent.

Entries are pickles, which can run code when they are loaded.  So an entry is read only if it,
its folder and the folder above belong to this user or root and nobody else may write to them
(not checked on Windows, where a user's profile is private).
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

__all__ = ["Store", "cache_folder", "user_cache_folder"]

# Fingerprints kept besides the current one: other versions, other processors on a shared home.
_OTHER_FINGERPRINTS = 7
# Age in seconds at which a temporary file counts as abandoned.
_ABANDONED_SECONDS = 3600
_DIGEST_BYTES = hashlib.sha256().digest_size
# Regardless of the umask: entries that others may write to are not trusted.
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def cache_folder() -> Path:
    """Return Lucid's cache folder, which need not exist.

    Raises
    ------
    OSError
        If no environment variable names it and the user has no home.
    """
    if own := os.environ.get("LUCID_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    if numba := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(numba).expanduser().absolute() / "lucid"
    return user_cache_folder()


def user_cache_folder() -> Path:
    """Return Lucid's folder in the user's cache folder, which need not exist.

    Raises
    ------
    OSError
        If the user has no home.
    """
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "lucid" / "cache"
    if sys.platform not in ("win32", "darwin"):
        chosen = os.environ.get("XDG_CACHE_HOME", "")
        if Path(chosen).is_absolute():  # the specification ignores relative ones
            return Path(chosen) / "lucid"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise OSError(f"no cache folder: {error}") from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "lucid"


class Store:
    """Entries of one fingerprint.

    Parameters
    ----------
    folder : pathlib.Path
        Lucid's cache folder.
    fingerprint : str
        Name of the folder of the entries, in ``kernels``.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / "kernels" / fingerprint
        self._used = False

    def read(self, name: str) -> bytes | None:
        """Return the content written under ``name``, or None."""
        try:
            self._check_folders()
            with open(self.folder / name, "rb") as file:
                _check_trust(os.fstat(file.fileno()), file.name)
                digest, content = file.read(_DIGEST_BYTES), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() != digest:
            return None
        self._touch()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write ``content`` under ``name``, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written or would not be trusted.
        """
        self.prepare()
        target = self.folder / name
        temporary = self.folder / f".{os.urandom(8).hex()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with open(os.open(temporary, flags, _FILE_MODE), "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def prepare(self) -> None:
        """Create the folder if needed, and then remove old fingerprints beside it.

        Raises
        ------
        OSError
            If it cannot be created or is not trusted.
        """
        if not self.folder.is_dir():
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(_FOLDER_MODE, exist_ok=True)
            self._remove_old()
        self._check_folders()

    def _check_folders(self) -> None:
        # lstat, since others could redirect a link.
        for folder in (self.folder, self.folder.parent):
            _check_trust(folder.lstat(), str(folder))

    def _touch(self) -> None:
        if not self._used:
            self._used = True
            with contextlib.suppress(OSError):
                os.utime(self.folder)

    def _remove_old(self) -> None:
        """Remove the least recently used fingerprints and abandoned temporary files."""
        with contextlib.suppress(OSError):
            others = [folder for folder in self.folder.parent.iterdir() if folder != self.folder]
            others.sort(key=lambda folder: folder.lstat().st_mtime, reverse=True)
            for folder in others[_OTHER_FINGERPRINTS:]:
                shutil.rmtree(folder, ignore_errors=True)
            for file in self.folder.parent.glob("*/.*"):
                if time.time() - file.lstat().st_mtime > _ABANDONED_SECONDS:
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
