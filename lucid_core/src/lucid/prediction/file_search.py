"""Find image files: folders, glob patterns and lists."""

from __future__ import annotations

import glob
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

from lucid.text import open_text

__all__ = ["find_files"]

#: Skipped suffixes and folders listed by name; the rest are counted.
_MAX_LISTED = 5


def find_files(
    sources: Sequence[str], suffixes: Sequence[str], log: Callable[[str], object] | None = None
) -> Iterator[str]:
    """Find files by path, folder, glob pattern or list.

    Lazy, except that the matches of a pattern are sorted first.

    Parameters
    ----------
    sources : sequence of str
        Files; folders, searched recursively; patterns such as ``"photos/**/*.jpg"``;
        ``"@list.txt"``, a text file with one of these per line, relative to the current
        directory.  Empty lines and lines that begin with ``#`` are skipped.
    suffixes : sequence of str
        Suffixes of the files in folders, in lower case, such as ``".jpg"``.  Hidden files and
        folders are skipped.  Symlinked folders are searched last, each once, except those that
        contain the link.
    log : callable, optional
        Called at the end with a message for each folder that could not be searched, and one that
        counts skipped files.  Default: warnings for the former only.

    Returns
    -------
    iterator of str
        Sorted by name within a source.

    Raises
    ------
    OSError
        If a source does not exist (at the call), or a line of a list does not (while iterating).
    ValueError
        While iterating, if a source has no files.
    """
    for source in sources:
        _check(source)
    return _Search(tuple(suffixes), log).files(sources)


def _check(source: str) -> None:
    wanted = source[1:] if _is_list(source) else source
    if not glob.has_magic(wanted):
        os.lstat(wanted)


def _is_list(source: str) -> bool:
    return source.startswith("@") and not os.path.lexists(source)


class _Search:
    """State of one :func:`find_files` call: skipped files by suffix, unsearched folders."""

    def __init__(self, suffixes: tuple[str, ...], log: Callable[[str], object] | None) -> None:
        self.suffixes = suffixes
        self.log = log
        self.skipped: Counter[str] = Counter()
        self.unreadable: list[str] = []

    def files(self, sources: Sequence[str]) -> Iterator[str]:
        empty = True
        for source in sources:
            for file in self._files_of(source, ()):
                empty = False
                yield file
        if empty and self.unreadable:
            raise ValueError(f"expected images, found none; {self.unreadable[0]}")
        log = warnings.warn if self.log is None else self.log
        for message in self.unreadable[:_MAX_LISTED]:
            log(message)
        if (more := len(self.unreadable) - _MAX_LISTED) > 0:
            log(f"{more:,} more folders were not searched")
        if self.skipped and self.log is not None:
            total = self.skipped.total()
            self.log(
                f"skipped {total:,} file{'s' * (total != 1)} in folders without an image "
                f"suffix ({_counts(self.skipped)})"
            )

    def _files_of(self, source: str, lists: tuple[str, ...]) -> Iterator[str]:
        if _is_list(source):
            yield from self._of_list(source[1:], lists)
        elif os.path.isdir(source):
            yield from self._of_directory(source)
        elif os.path.lexists(source):
            yield source
        else:
            yield from self._of_pattern(source)

    # --- lists ------------------------------------------------------------------------------

    def _of_list(self, path: str, lists: tuple[str, ...]) -> Iterator[str]:
        identity = os.path.realpath(path)
        if identity in lists:
            raise ValueError(f"{path}: expected a list without cycles, it includes itself")
        empty = True
        for number, entry in _entries(path):
            empty = False
            try:
                _check(entry)
            except OSError as error:
                raise _missing_entry(error, entry, path, number) from None
            yield from self._files_of(entry, (*lists, identity))
        if empty:
            raise ValueError(f"{path}: expected a list with one path per line, got an empty list")

    # --- directories ------------------------------------------------------------------------

    def _of_directory(self, root: str) -> Iterator[str]:
        before, readable = self.skipped.copy(), len(self.unreadable)
        waiting, seen = deque([root]), set[tuple[int, int]]()
        empty = True
        while waiting:  # links are searched after the tree
            for file in self._below(waiting.popleft(), waiting, seen):
                empty = False
                yield file
        if empty and len(self.unreadable) == readable:
            others = _counts(self.skipped - before)
            raise ValueError(
                f"{root}: expected images, found "
                + (f"only files without an image suffix ({others})" if others else "no files")
            )

    def _below(self, folder: str, links: deque[str], seen: set[tuple[int, int]]) -> Iterator[str]:
        """Yield the files below a folder that was not searched yet; adds to ``links``."""
        try:
            status = os.stat(folder)
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable.append(f"{folder}: cannot be read ({error.strerror})")
            return
        if (identity := (status.st_dev, status.st_ino)) in seen:
            return
        if os.path.islink(folder) and seen and _links_to_parent(folder):
            self.unreadable.append(f"{folder}: not followed, links to a parent folder")
            return
        seen.add(identity)
        folders: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(entry.path)
            elif kind == "special":  # reading a pipe would block
                self.skipped["pipe or device"] += 1
            elif entry.name.lower().endswith(self.suffixes):
                yield entry.path
            else:
                self.skipped[os.path.splitext(entry.name)[1].lower() or "no suffix"] += 1
        for path in folders:
            yield from self._below(path, links, seen)

    # --- patterns ---------------------------------------------------------------------------

    def _of_pattern(self, pattern: str) -> Iterator[str]:
        readable = len(self.unreadable)
        self._find_unreadable(pattern)
        # ``**`` also matches folders, and visits symlinked ones repeatedly.
        matches = [path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path)]
        places: dict[tuple[str, str], str] = {}
        for path in sorted(matches, key=lambda path: (path.count(os.sep), path)):
            folder, name = os.path.split(path)
            places.setdefault((os.path.realpath(folder), name), path)
        if not places and len(self.unreadable) == readable:
            raise ValueError(f"{pattern}: expected images, found no file that matches")
        yield from sorted(places.values())

    def _find_unreadable(self, pattern: str) -> None:
        """Record the folders that ``glob`` skips silently."""
        parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
        first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        depth = math.inf if "**" in parts else len(parts) - first
        root = os.sep.join(parts[:first]) or (os.sep if first else os.curdir)

        def note(error: OSError) -> None:
            self.unreadable.append(f"{error.filename}: cannot be read ({error.strerror})")

        if os.path.isdir(root):
            for folder, names, _ in os.walk(root, onerror=note):
                below = os.path.relpath(folder, root)
                level = 0 if below == os.curdir else below.count(os.sep) + 1
                if level + 1 >= depth:
                    names.clear()


def _entries(path: str) -> Iterator[tuple[int, str]]:
    """Yield line number and entry of a list."""
    # File names may be invalid UTF-8; surrogateescape keeps their bytes.
    with open_text(path, "surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            entry = line.rstrip("\n")
            if "\0" in entry:
                raise ValueError(f"{path}: expected text with one path per line, got binary data")
            if not os.path.lexists(entry):
                entry = entry.strip()
                if entry.startswith("#") and not os.path.lexists(entry):
                    continue
            if entry:
                yield number, entry


def _missing_entry(error: OSError, entry: str, path: str, number: int) -> OSError:
    hint = ""
    if os.path.lexists(os.path.join(os.path.dirname(path), entry)):
        hint = " (it exists next to the list, but paths are relative to the current directory)"
    return type(error)(error.errno, f"{path}, line {number}: {error.strerror}{hint}", entry)


def _links_to_parent(link: str) -> bool:
    """Whether a link points to a folder that contains the link."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.join(os.path.realpath(os.path.dirname(link)), "").startswith(target)


def _kind(entry: os.DirEntry[str]) -> str:
    """Return ``"folder"``, ``"file"`` or ``"special"``; a broken link is a file."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError:
        return "file"  # reading it raises a clear error
    return "special"


def _counts(suffixes: Counter[str]) -> str:
    shown = [f"{count:,} {suffix}" for suffix, count in suffixes.most_common(_MAX_LISTED)]
    rest = suffixes.total() - sum(count for _, count in suffixes.most_common(_MAX_LISTED))
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])
