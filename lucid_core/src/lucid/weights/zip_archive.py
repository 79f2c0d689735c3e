"""Zip archives that hold weights: opened, and their members held against the file's size."""

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

# Weights hardly compress; what inflates a hundredfold beyond this much is no weight file.
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
    OSError,  # a seek to where no file can be
    OverflowError,
    RuntimeError,  # encrypted members
    ValueError,
)


@contextmanager
def open_archive(file: BinaryIO, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive; whatever turns out to be wrong with it is a MalformedError.

    Parameters
    ----------
    file : binary file
        The archive.
    what : str
        What it should be, for the message.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except _DAMAGE as error:
        raise MalformedError(f"damaged or no {what}: {error}") from None


def check_members(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse members that stand twice, or that declare more than a file of ``size`` can mean."""
    names = set()
    for info in infos:
        if info.filename in names:
            raise MalformedError(f"has the member {info.filename!r} twice")
        names.add(info.filename)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MalformedError(f"member {info.filename!r} is compressed in an unknown way")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise MalformedError(f"member {info.filename!r} contradicts itself about its size")
    packed = sum(info.compress_size for info in infos)
    unpacked = sum(info.file_size for info in infos)
    if packed > size:
        raise MalformedError(f"truncated: members declare {packed} bytes, the file has {size}")
    if unpacked > _FREE_INFLATION + _MAX_RATIO * packed:
        raise MalformedError(f"would inflate from {packed} to {unpacked} bytes: a zip bomb?")


def fill(array: Array, source: IO[bytes], what: str) -> None:
    """Read a contiguous array from a file or from a member of an archive."""
    if not array.size:
        return
    target, filled = array.reshape(-1).view(np.uint8).data, 0
    while filled < len(target):
        # In parts: a member's readinto first takes as much memory again.
        count = source.readinto(target[filled : filled + _AT_ONCE])  # type: ignore[attr-defined]
        if not count:
            raise MalformedError(f"truncated in the data of {what}")
        filled += count
