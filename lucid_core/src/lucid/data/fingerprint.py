"""Fingerprints of data files, to detect that a resumed run reads other data.

An image is identified by its path relative to the data folder and its size in bytes, so a
folder may move to another place or machine.  An annotation file is identified by its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["content_hashes", "file_sha256", "file_sizes", "fingerprint"]

_SAMPLE = 4096  # bytes


def file_sizes(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]
) -> dict[str, int]:
    """Return the size of each file in bytes, by relative path.

    Parameters
    ----------
    paths : iterable of path-like
        Files below ``root``, such as images.  Symbolic links are followed for the size, not
        for the path.
    root : path-like
        Data folder.

    Returns
    -------
    dict of str to int
        By path relative to ``root`` with forward slashes, in the order of ``paths``.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a path is not below ``root``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lucid.data.fingerprint import file_sizes
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "cat").mkdir()
    >>> (root / "cat" / "1.png").write_bytes(b"123")
    3
    >>> file_sizes([root / "cat" / "1.png"], root)
    {'cat/1.png': 3}
    """
    return {Path(path).relative_to(root).as_posix(): os.stat(path).st_size for path in paths}


def content_hashes(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str]
) -> dict[str, int]:
    """Hash the first and last 4 KiB of each file, by relative path.

    Detects changes that keep the size, as in uncompressed images, without reading whole files.

    Parameters
    ----------
    paths : iterable of path-like
        Files below ``root``.
    root : path-like
        Data folder.

    Returns
    -------
    dict of str to int
        64-bit hashes, in the order of ``paths``.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`file_sizes`.
    """
    found = [Path(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:  # hides the latency of a network file system
        digests = list(pool.map(_content_hash, found))
    names = (path.relative_to(root).as_posix() for path in found)
    return dict(zip(names, digests, strict=True))


def _content_hash(path: Path) -> int:
    with open(path, "rb") as file:
        digest = hashlib.blake2b(file.read(_SAMPLE), digest_size=8)
        file.seek(max(file.seek(0, os.SEEK_END) - _SAMPLE, 0))
        digest.update(file.read(_SAMPLE))
    return int.from_bytes(digest.digest())


def fingerprint(values: Mapping[str, int]) -> str:
    """Return the SHA-256 of values by name, independent of their order.

    Parameters
    ----------
    values : mapping of str to int
        As :func:`file_sizes` and :func:`content_hashes` return them.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from lucid.data.fingerprint import fingerprint
    >>> fingerprint({"a.png": 1, "b.png": 2}) == fingerprint({"b.png": 2, "a.png": 1})
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(values.items()):
        # A file name cannot contain a null byte, so no two lists give the same bytes.
        digest.update(os.fsencode(name) + b"\0" + str(value).encode() + b"\0")
    return digest.hexdigest()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, such as an annotation file.

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
