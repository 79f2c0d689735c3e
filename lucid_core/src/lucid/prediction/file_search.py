"""Directories, patterns and lists of files, as the files they stand for."""

from __future__ import annotations

import glob
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

from lucid.text import open_text

__all__ = ["find_files"]

#: Suffixes and folders named when they are passed over; the rest are counted.
_NAMED = 5


def find_files(
    sources: Sequence[str],
    suffixes: Sequence[str],
    log: Callable[[str], object] | None = None,
) -> Iterator[str]:
    """The files that ``sources`` stand for, one after another.

    Files of lists and directories are never all in memory; the matches of a pattern are
    sorted first.

    Parameters
    ----------
    sources : sequence of str
        Files, taken as they are; directories, searched with all below them; patterns such as
        ``"photos/**/*.jpg"``, in which ``**`` stands for any directories; ``"@list.txt"``, a
        text file with any of these on each line.  In a list, paths are relative to the
        current directory, as everywhere else; empty lines and lines that begin with ``#``
        are passed over.
    suffixes : sequence of str
        In lower case, such as ``".jpg"``: what a file in a directory must end in.  Hidden
        files and directories are passed over.  Linked directories are searched after the
        others, each once, but not those that contain the link.
    log : callable, optional
        Called at the end with a sentence on each directory that could not be searched, and
        with one that counts the files of directories that have other suffixes.  By default
        only the former are told, as warnings.

    Returns
    -------
    iterator of str
        Within a source in the order of the names.

    Raises
    ------
    OSError
        At once, if a source is not there; on the way, if a line of a list is not.
    ValueError
        On the way, if a source stands for no file.
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
    """One call of :func:`find_files`.

    Attributes
    ----------
    passed_over : Counter of str
        How many files of directories were left out, by suffix.
    unreadable : list of str
        A sentence for each directory that could not be searched, or was not.
    """

    def __init__(self, suffixes: tuple[str, ...], log: Callable[[str], object] | None) -> None:
        self.suffixes = suffixes
        self.log = log
        self.passed_over: Counter[str] = Counter()
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
        for sentence in self.unreadable[:_NAMED]:
            log(sentence)
        if (more := len(self.unreadable) - _NAMED) > 0:
            log(f"{more:,} more folders were not searched")
        if self.passed_over and self.log is not None:
            total = self.passed_over.total()
            self.log(
                f"passed over {total:,} file{'s' * (total != 1)} in folders without the suffix "
                f"of an image ({_counts(self.passed_over)})"
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
            raise ValueError(f"{path}: the list leads back to itself")
        empty = True
        for number, entry in _entries(path):
            empty = False
            try:
                _check(entry)
            except OSError as error:
                raise _not_there(error, entry, path, number) from None
            yield from self._files_of(entry, (*lists, identity))
        if empty:
            raise ValueError(f"{path}: expected a list with a path on each line, it names none")

    # --- directories ------------------------------------------------------------------------

    def _of_directory(self, root: str) -> Iterator[str]:
        before, readable = self.passed_over.copy(), len(self.unreadable)
        waiting, seen = deque([root]), set[tuple[int, int]]()
        empty = True
        while waiting:  # for links, once the tree itself is through
            for file in self._below(waiting.popleft(), waiting, seen):
                empty = False
                yield file
        if empty and len(self.unreadable) == readable:
            others = _counts(self.passed_over - before)
            raise ValueError(
                f"{root}: expected images, found "
                + (f"only files without the suffix of one ({others})" if others else "no files")
            )

    def _below(self, folder: str, links: deque[str], seen: set[tuple[int, int]]) -> Iterator[str]:
        """The files below a directory that was not yet searched; adds to ``links``."""
        try:
            status = os.stat(folder)
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable.append(f"{folder}: cannot be searched ({error.strerror})")
            return
        if (identity := (status.st_dev, status.st_ino)) in seen:
            return
        if os.path.islink(folder) and seen and _is_around(folder):
            self.unreadable.append(f"{folder}: not followed, it links to a folder around itself")
            return
        seen.add(identity)
        folders: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(entry.path)
            elif kind == "special":  # reading a pipe would wait for ever
                self.passed_over["pipe or device"] += 1
            elif entry.name.lower().endswith(self.suffixes):
                yield entry.path
            else:
                self.passed_over[os.path.splitext(entry.name)[1].lower() or "no suffix"] += 1
        for path in folders:
            yield from self._below(path, links, seen)

    # --- patterns ---------------------------------------------------------------------------

    def _of_pattern(self, pattern: str) -> Iterator[str]:
        readable = len(self.unreadable)
        self._find_unreadable(pattern)
        # ``**`` matches directories besides what is in them, and goes round in linked ones.
        matches = [path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path)]
        places: dict[tuple[str, str], str] = {}
        for path in sorted(matches, key=lambda path: (path.count(os.sep), path)):
            folder, name = os.path.split(path)
            places.setdefault((os.path.realpath(folder), name), path)
        if not places and len(self.unreadable) == readable:
            raise ValueError(f"{pattern}: expected images, found no file that matches")
        yield from sorted(places.values())

    def _find_unreadable(self, pattern: str) -> None:
        """Note the directories that ``glob`` passes over in silence."""
        parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
        first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        depth = math.inf if "**" in parts else len(parts) - first
        root = os.sep.join(parts[:first]) or (os.sep if first else os.curdir)

        def note(error: OSError) -> None:
            self.unreadable.append(f"{error.filename}: cannot be searched ({error.strerror})")

        if os.path.isdir(root):
            for folder, names, _ in os.walk(root, onerror=note):
                below = os.path.relpath(folder, root)
                level = 0 if below == os.curdir else below.count(os.sep) + 1
                if level + 1 >= depth:
                    names.clear()


def _entries(path: str) -> Iterator[tuple[int, str]]:
    """The entries of a list, with the numbers of their lines."""
    # Names of files need not be text; in UTF-8 these are kept byte by byte.
    with open_text(path, "surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            entry = line.rstrip("\n")
            if "\0" in entry:
                raise ValueError(f"{path}: expected text with a path on each line, got other data")
            if not os.path.lexists(entry):
                entry = entry.strip()
                if entry.startswith("#") and not os.path.lexists(entry):
                    continue
            if entry:
                yield number, entry


def _not_there(error: OSError, entry: str, path: str, number: int) -> OSError:
    hint = ""
    if os.path.lexists(os.path.join(os.path.dirname(path), entry)):
        hint = " (it is in the list's directory, but paths are relative to the current one)"
    return type(error)(error.errno, f"{path}, line {number}: {error.strerror}{hint}", entry)


def _is_around(link: str) -> bool:
    """Whether a link leads to a directory that contains the link."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.join(os.path.realpath(os.path.dirname(link)), "").startswith(target)


def _kind(entry: os.DirEntry[str]) -> str:
    """``"folder"``, ``"file"`` or ``"special"``; a link to nothing is a file."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError:
        return "file"  # reading it will say what is wrong with it
    return "special"


def _counts(suffixes: Counter[str]) -> str:
    shown = [f"{count:,} {suffix}" for suffix, count in suffixes.most_common(_NAMED)]
    rest = suffixes.total() - sum(count for _, count in suffixes.most_common(_NAMED))
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])
