"""Results about files, kept on disk until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lucid.kernels.cache import cache_folder
from lucid.weights import atomic_write

__all__ = ["FileCache"]

#: Cached folders kept beside the one in use.
_OTHER_FOLDERS = 64


class FileCache:
    """Results about the files of one folder, such as the sizes of its images.

    A result is valid as long as the file has the same size and the same time of modification.
    The cache is one JSON file in Lucid's cache folder (``LUCID_CACHE_DIR``).  One that is
    missing or damaged is empty, and one that cannot be written is not: the results are then
    computed again the next time.

    Parameters
    ----------
    kind : str
        Name of what is computed, with a version: ``"image-headers-1"``.
    root : path-like
        The folder.  Its absolute path identifies it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lucid.data.file_cache import FileCache
    >>> file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = file.write_text("abc")
    >>> cache = FileCache("lengths-1", file.parent)
    >>> cache.get(file, file.stat()) is None
    True
    >>> cache.update({file: (file.stat(), 3)})
    >>> FileCache("lengths-1", file.parent).get(file, file.stat())
    3
    """

    def __init__(self, kind: str, root: str | os.PathLike[str]) -> None:
        self.kind = kind
        self.root = os.path.abspath(root)
        self._entries: dict[str, Any] = {}
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:32]
        self._file: Path | None = None
        with suppress(OSError, ValueError):  # no home, no file, or a damaged one
            self._file = cache_folder() / kind / f"{name}.json"
            content = json.loads(self._file.read_bytes())
            if isinstance(content, dict) and isinstance(content.get("files"), dict):
                self._entries = content["files"]

    def get(self, path: str | os.PathLike[str], status: os.stat_result) -> Any:
        """Result about a file, or None if there is none or the file has changed.

        Parameters
        ----------
        path : path-like
            The file.
        status : os.stat_result
            What ``os.stat`` says of it now.
        """
        entry = self._entries.get(self._name(path))
        if not isinstance(entry, list) or len(entry) != 3:
            return None
        return entry[2] if entry[:2] == [status.st_size, status.st_mtime_ns] else None

    def update(self, results: Mapping[Any, tuple[os.stat_result, Any]]) -> None:
        """Keep results, which must be what JSON can hold.

        Parameters
        ----------
        results : mapping of path-like to (os.stat_result, object)
            By file, its status from before the result was computed, and the result.
        """
        for path, (status, result) in results.items():
            self._entries[self._name(path)] = [status.st_size, status.st_mtime_ns, result]
        if self._file is None:
            return
        content = {"folder": self.root, "files": self._entries}
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._file) as file:
                file.write(json.dumps(content, separators=(",", ":")).encode())
            self._remove_old()

    def _name(self, path: str | os.PathLike[str]) -> str:
        return os.path.relpath(os.path.abspath(path), self.root)

    def _remove_old(self) -> None:
        assert self._file is not None
        others = [path for path in self._file.parent.glob("*.json") if path != self._file]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[_OTHER_FOLDERS:]:
            path.unlink()
