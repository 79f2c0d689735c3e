"""Identity of data files: what decides whether a resumed run sees the data it started with.

An image is identified by its path relative to the data folder and its size in bytes, so
that a folder may move to another place or machine.  An annotation file is identified by a
digest of its content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["file_digest", "identities_digest", "image_identities", "image_identity"]


def image_identity(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> tuple[str, int]:
    """Identity of an image: relative path and size in bytes.

    Parameters
    ----------
    path : path-like
        The image file.  Symbolic links are followed for the size, not for the path.
    root : path-like
        Data folder that contains ``path``.

    Returns
    -------
    tuple of (str, int)
        Path relative to ``root`` with forward slashes, and the size in bytes.

    Raises
    ------
    FileNotFoundError
        If the image is missing.
    ValueError
        If ``path`` is not below ``root``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lucid.data.identity import image_identity
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "cat").mkdir()
    >>> (root / "cat" / "1.png").write_bytes(b"123")
    3
    >>> image_identity(root / "cat" / "1.png", root)
    ('cat/1.png', 3)
    """
    return Path(path).relative_to(root).as_posix(), os.stat(path).st_size


def image_identities(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]
) -> dict[str, int]:
    """Identities of several images: size in bytes by relative path.

    Parameters
    ----------
    paths : iterable of path-like
        The image files; a file that appears twice counts once.
    root : path-like
        Data folder that contains them.

    Returns
    -------
    dict of str to int
        In the order of ``paths``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`image_identity`.
    """
    return dict(image_identity(path, root) for path in paths)


def identities_digest(identities: Mapping[str, int]) -> str:
    """SHA-256 of image identities, independent of their order.

    Parameters
    ----------
    identities : mapping of str to int
        As :func:`image_identities` returns them.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from lucid.data.identity import identities_digest
    >>> identities_digest({"a.png": 1, "b.png": 2}) == identities_digest({"b.png": 2, "a.png": 1})
    True
    """
    digest = hashlib.sha256()
    for name, size in sorted(identities.items()):
        # A file name cannot contain a null byte, so no two lists give the same bytes.
        digest.update(os.fsencode(name) + b"\0" + str(size).encode() + b"\0")
    return digest.hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the content of a file, such as an annotation file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
