"""File names of annotations as paths below the folder of the images.

Tools write backslashes, URL encoding, and paths of the machine where the images were annotated.
A name is never shortened to its last part unless it is absolute: another image may have that one.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

__all__ = ["PathError", "is_absolute", "is_there", "relative_path"]

_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]+://")


class PathError(ValueError):
    """A file name cannot be a path below the folder of the images, or fits several images."""

    def __init__(self, message: str, several: bool = False) -> None:
        super().__init__(message)
        self.several = several


def is_absolute(name: str) -> bool:
    """Whether a name is an absolute path of any operating system, or a URL."""
    return _ABSOLUTE.match(name) is not None


def is_there(path: Path) -> bool:
    """Whether a path is a file; one that is too long is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def relative_path(name: object, folder: Path) -> tuple[str, bool]:
    """Path of an image below a folder.

    Parameters
    ----------
    name : object
        ``file_name`` of a COCO file, or ``<filename>`` of a VOC file.
    folder : pathlib.Path
        Folder of the images.

    Returns
    -------
    path : str
        Relative to ``folder``, with slashes; the file need not exist.
    moved : bool
        Whether ``name`` names another folder than the one that the image was found in.

    Raises
    ------
    PathError
        If ``name`` is no path, leads out of the folder, or fits several images.
    """
    if not isinstance(name, str) or not name.strip() or not _is_encodable(name):
        raise PathError("expected a relative path")
    if is_absolute(name):
        return _from_absolute(name, folder)
    path = _normal(name)
    if "\\" in name and not is_there(folder / name):
        path = _normal(name.replace("\\", "/"))
    if "%" in path and not is_there(folder / path):
        decoded = unquote(path)
        if decoded != path and _is_encodable(decoded) and not is_absolute(decoded):
            decoded = _normal(decoded)
            path = decoded if is_there(folder / decoded) else path
    outside = path.startswith("../")
    if "/" in path and (outside or not is_there(folder / path)):
        # "images/a.png" or "../images/a.png" below a folder "images"
        parts = [part for part in path.split("/") if part != ".."]
        own = os.path.abspath(folder).split(os.sep)
        for count in range(1, len(parts)):
            tail = "/".join(parts[count:])
            if own[-count:] == parts[:count] and is_there(folder / tail):
                return tail, True
    if outside:
        raise PathError(f"expected a relative path inside of {folder}")
    return _as_spelled(path, folder)


def _as_spelled(path: str, folder: Path) -> tuple[str, bool]:
    """A path with accents as one character or as two, whichever the file's own name has."""
    if not path.isascii() and not is_there(folder / path):
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, path)
            if is_there(folder / other):
                return other, True
    return path, False


def _from_absolute(name: str, folder: Path) -> tuple[str, bool]:
    """Path of an image whose name is absolute, as a rule on another machine."""
    if os.path.isabs(name):
        try:
            inside = Path(os.path.normpath(name)).relative_to(Path(os.path.abspath(folder)))
        except ValueError:
            pass
        else:
            return _normal(inside.as_posix()), False
    plain = name.replace("\\", "/")
    if "://" in plain:
        plain = unquote(plain.split("://", 1)[1].split("?", 1)[0])
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if ".." in parts or not _is_encodable(plain):
        raise PathError("expected a relative path")
    tails = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    found = [tail for tail in tails if is_there(folder / tail)]
    if len(found) == 1:
        return found[0], True
    if found:
        names = ", ".join(found)
        raise PathError(f"several images fit: {names}; expected a relative path", several=True)
    raise PathError(f"expected a relative path, or one whose end is that of an image in {folder}")


def _normal(name: str) -> str:
    path = posixpath.normpath(name)
    if path in (".", ".."):
        raise PathError("expected a relative path to a file")
    return path


def _is_encodable(name: str) -> bool:
    """Whether the operating system can have such a name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False
