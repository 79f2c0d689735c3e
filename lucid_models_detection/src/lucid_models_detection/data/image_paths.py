"""Resolve the file names of annotations to paths below the image folder.

Annotation tools write backslashes, URL encoding, and absolute paths of another machine.  Only an
absolute name is shortened to its last parts: a relative one could then match another image.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

__all__ = ["PathError", "is_absolute", "is_file", "relative_path"]

_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]+://")


class PathError(ValueError):
    """A file name is not a path below the image folder, or is ambiguous."""

    def __init__(self, message: str, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


def is_absolute(name: str) -> bool:
    """Return whether a name is an absolute path on any operating system, or a URL."""
    return _ABSOLUTE.match(name) is not None


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False if it is too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def relative_path(name: object, folder: Path) -> tuple[str, bool]:
    """Resolve the ``file_name`` of an annotation to the path of an image below a folder.

    Returns the path relative to ``folder``, with slashes (the file need not exist), and whether the
    image was found in another folder than ``name`` says.
    """
    if not isinstance(name, str) or not name.strip() or not _is_encodable(name):
        raise PathError("expected a relative path")
    if is_absolute(name):
        return _resolve_absolute(name, folder)
    path = _normalize(name)
    if "\\" in name and not is_file(folder / name):
        path = _normalize(name.replace("\\", "/"))
    if "%" in path and not is_file(folder / path):
        decoded = unquote(path)
        if decoded != path and _is_encodable(decoded) and not is_absolute(decoded):
            decoded = _normalize(decoded)
            path = decoded if is_file(folder / decoded) else path
    outside = path.startswith("../")
    if "/" in path and (outside or not is_file(folder / path)):
        # "images/a.png" or "../images/a.png" below a folder "images"
        parts = [part for part in path.split("/") if part != ".."]
        own = os.path.abspath(folder).split(os.sep)
        for count in range(1, len(parts)):
            tail = "/".join(parts[count:])
            if own[-count:] == parts[:count] and is_file(folder / tail):
                return tail, True
    if outside:
        raise PathError(f"expected a relative path inside {folder}")
    return _match_unicode_form(path, folder)


def _match_unicode_form(path: str, folder: Path) -> tuple[str, bool]:
    """Match accents written as one character (NFC) or as two (NFD)."""
    if not path.isascii() and not is_file(folder / path):
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, path)
            if is_file(folder / other):
                return other, True
    return path, False


def _resolve_absolute(name: str, folder: Path) -> tuple[str, bool]:
    """Resolve an absolute name, usually of another machine, by its last parts."""
    if os.path.isabs(name):
        try:
            inside = Path(os.path.normpath(name)).relative_to(Path(os.path.abspath(folder)))
        except ValueError:
            pass
        else:
            return _normalize(inside.as_posix()), False
    plain = name.replace("\\", "/")
    if "://" in plain:
        plain = unquote(plain.split("://", 1)[1].split("?", 1)[0])
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if ".." in parts or not _is_encodable(plain):
        raise PathError("expected a relative path")
    tails = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    found = [tail for tail in tails if is_file(folder / tail)]
    if len(found) == 1:
        return found[0], True
    if found:
        names = ", ".join(found)
        raise PathError(f"several images fit: {names}; expected a relative path", ambiguous=True)
    raise PathError(f"expected a relative path, or one that ends as an image in {folder} does")


def _normalize(name: str) -> str:
    path = posixpath.normpath(name)
    if path in (".", ".."):
        raise PathError("expected a relative path to a file")
    return path


def _is_encodable(name: str) -> bool:
    """Return whether the operating system allows such a name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # JSON can have a lone surrogate
        return False
