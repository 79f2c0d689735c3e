"""On-disk cache of results per file, invalidated when the file changes."""

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

#: Cache files of other folders to keep.
_OTHER_FOLDERS = 64


class FileCache:
    """Cache of results for the files in one folder, such as image sizes.

    An entry is valid while the file keeps its size and modification time.  The cache is a JSON
    file in Lucid's cache folder (``LUCID_CACHE_DIR``), by ``kind`` (name and version of the
    results, such as ``"image-headers-1"``) and absolute path of ``root``.  A missing or damaged
    cache is treated as empty; write errors are ignored.
    """

    def __init__(self, kind: str, root: str | os.PathLike[str]) -> None:
        self.kind = kind
        self.root = os.path.abspath(root)
        self._entries: dict[str, Any] = {}
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:32]
        self._file: Path | None = None
        with suppress(OSError, ValueError):  # no home folder, no file, or damaged
            self._file = cache_folder() / kind / f"{name}.json"
            content = json.loads(self._file.read_bytes())
            if isinstance(content, dict) and isinstance(content.get("files"), dict):
                self._entries = content["files"]

    def get(self, path: str | os.PathLike[str], status: os.stat_result) -> Any:
        """Return the result for a file; None if missing or the file has changed."""
        entry = self._entries.get(self._name(path))
        if not isinstance(entry, list) or len(entry) != 3:
            return None
        return entry[2] if entry[:2] == [status.st_size, status.st_mtime_ns] else None

    def update(self, results: Mapping[Any, tuple[os.stat_result, Any]]) -> None:
        """Write JSON-serializable results, each with ``os.stat`` from before the computation."""
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
