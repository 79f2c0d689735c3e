"""Identity of data files: what decides whether a resumed run sees the data it started with.

An image is identified by its path relative to the data folder and its size in bytes, so
that a folder may move to another place or machine.  An annotation file is identified by a
digest of its content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = [
    "file_digest",
    "identities_digest",
    "image_contents",
    "image_identities",
    "image_identity",
]

_SAMPLE = 4096  # bytes


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


def image_contents(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]
) -> dict[str, int]:
    """Digests of the first and last 4 KiB of several images, by relative path.

    Tells images of the same size in bytes apart, as uncompressed ones are, without reading
    them whole.

    Parameters
    ----------
    paths : iterable of path-like
        The image files.
    root : path-like
        Data folder that contains them.

    Returns
    -------
    dict of str to int
        64-bit numbers, in the order of ``paths``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`image_identity`.
    """
    found = [Path(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:  # a network file system answers several at once
        digests = list(pool.map(_content, found))
    names = (path.relative_to(root).as_posix() for path in found)
    return dict(zip(names, digests, strict=True))


def _content(path: Path) -> int:
    with open(path, "rb") as file:
        digest = hashlib.blake2b(file.read(_SAMPLE), digest_size=8)
        file.seek(max(file.seek(0, os.SEEK_END) - _SAMPLE, 0))
        digest.update(file.read(_SAMPLE))
    return int.from_bytes(digest.digest())


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
