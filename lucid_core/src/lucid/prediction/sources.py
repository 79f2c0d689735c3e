"""Directories, patterns and lists of files, as the files they stand for."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator, Sequence

__all__ = ["find_files"]


def find_files(sources: Sequence[str], suffixes: Sequence[str]) -> Iterator[str]:
    """The files that ``sources`` stand for, one after another.

    Those of lists and directories are never all in memory; what a pattern matches is sorted first.

    Parameters
    ----------
    sources : sequence of str
        Files, taken as they are; directories, searched with all below them, without
        hidden ones; patterns such as ``"photos/**/*.jpg"``, in which ``**`` stands for
        any directories; ``"@list.txt"``, a text file with any of these on each line.
    suffixes : sequence of str
        In lower case, such as ``".jpg"``: what a file in a directory must end in.

    Returns
    -------
    iterator of str
        Within a source in the order of the names.

    Raises
    ------
    FileNotFoundError
        At once, if a source is not there; on the way, if a line of a list is not.
    ValueError
        On the way, if a directory or a pattern stands for no file.
    """
    for source in sources:
        _check(source)
    return (file for source in sources for file in _files_of(source, tuple(suffixes)))


def _check(source: str) -> None:
    wanted = source[1:] if _is_list(source) else source
    if not (os.path.lexists(wanted) or glob.has_magic(wanted)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), wanted)


def _is_list(source: str) -> bool:
    return source.startswith("@") and not os.path.lexists(source)


def _files_of(source: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    if _is_list(source):
        with open(source[1:], encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if entry := line.rstrip("\r\n"):
                    _check(entry)
                    yield from _files_of(entry, suffixes)
    elif os.path.isdir(source):
        yield from _some(_walk(source, suffixes), source, f"ends in {', '.join(suffixes)}")
    elif os.path.lexists(source):
        yield source
    else:
        matches = sorted(glob.iglob(source, recursive=True))
        # ``**`` matches directories besides what is in them.
        files = (match for match in matches if not os.path.isdir(match))
        yield from _some(files, source, "matches")


def _walk(folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    for directory, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield os.path.join(directory, name)


def _some(files: Iterator[str], source: str, how: str) -> Iterator[str]:
    """The same files, and an error if there are none."""
    empty = True
    for file in files:
        empty = False
        yield file
    if empty:
        raise ValueError(f"{source}: expected images, found no file that {how}")
