"""Zip archives with weights: open them and check the declared sizes."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

import numpy as np

from lucid.weights.format_checks import Array, MalformedError

__all__ = ["check_members", "fill", "open_archive"]

# Weights hardly compress: a ratio of 100 beyond this size is a zip bomb.
_FREE_INFLATION = 16 * 2**20
_MAX_RATIO = 100
_AT_ONCE = 2**20
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,  # zip features that Python does not know
    OSError,  # seek to an impossible position
    OverflowError,
    RuntimeError,  # encrypted members
    ValueError,
)


@contextmanager
def open_archive(file: BinaryIO, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, ``what`` in messages; errors in the block become MalformedError."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except _DAMAGE as error:
        raise MalformedError(
            f"expected a {what}, got a damaged file ({error}); download it again"
        ) from None


def check_members(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Raise for duplicate members, and for sizes that a file of ``size`` bytes cannot have."""
    names = set()
    for info in infos:
        if info.filename in names:
            raise MalformedError(f"has the member {info.filename!r} twice")
        names.add(info.filename)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MalformedError(f"member {info.filename!r} has an unsupported compression")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise MalformedError(f"member {info.filename!r} has inconsistent sizes")
    packed = sum(info.compress_size for info in infos)
    unpacked = sum(info.file_size for info in infos)
    if packed > size:
        raise MalformedError(f"truncated: members declare {packed} bytes, the file has {size}")
    if unpacked > _FREE_INFLATION + _MAX_RATIO * packed:
        raise MalformedError(f"would inflate from {packed} to {unpacked} bytes: a zip bomb?")


def fill(array: Array, source: IO[bytes], what: str) -> None:
    """Read a contiguous array from a file or an archive member."""
    if not array.size:
        return
    target, filled = array.reshape(-1).view(np.uint8).data, 0
    while filled < len(target):
        # In chunks: readinto of a member allocates a copy.
        count = source.readinto(target[filled : filled + _AT_ONCE])  # type: ignore[attr-defined]
        if not count:
            raise MalformedError(f"truncated in the data of {what}")
        filled += count
