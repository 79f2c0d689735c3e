"""``.npz`` reader and writer: a zip archive of ``.npy`` members, without pickles.

Unlike ``numpy.load``, declared sizes are checked against the file size before memory is
allocated.  Metadata is in a JSON member.
"""

from __future__ import annotations

import ast
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, BinaryIO

import numpy as np

from lucid.weights.format_checks import (
    CODES,
    METADATA,
    Array,
    MalformedError,
    check_bools,
    check_metadata,
    check_name,
    check_shape,
    raw_bytes,
)
from lucid.weights.zip_archive import check_members, fill, open_archive

_SUFFIX = ".npy"
_METADATA_MEMBER = f"{METADATA}.json"
_MAX_NPY_HEADER = 10_000
#: dtype strings allowed in an .npy header, in either byte order.
_DESCRIPTIONS = {
    dtype.str: dtype
    for known in CODES
    for dtype in (known.newbyteorder("<"), known.newbyteorder(">"))
}


def write(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write checked arrays and metadata, uncompressed."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(dict(metadata), ensure_ascii=False)
        archive.writestr(_new_member(_METADATA_MEMBER), text.encode())
        for name, array in arrays.items():
            with archive.open(_new_member(name + _SUFFIX), "w", force_zip64=True) as member:
                header = {
                    "descr": np.lib.format.dtype_to_descr(array.dtype),
                    "fortran_order": False,
                    "shape": array.shape,
                }
                np.lib.format.write_array_header_1_0(member, header)
                member.write(raw_bytes(array))


def _new_member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # constant date: equal weights give equal files
    info.external_attr = 0o644 << 16
    return info


def read(file: BinaryIO, size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Read ``(arrays, metadata)`` from a file of ``size`` bytes."""
    with _opened(file, size) as (archive, members):
        metadata = _metadata(archive, members)
        arrays = {}
        for name, info in members.items():
            if name != METADATA:
                with archive.open(info) as member:
                    arrays[name] = _read_npy(member, name, info.file_size)
        return arrays, metadata


def read_metadata(file: BinaryIO, size: int) -> dict[str, str]:
    """Read the metadata alone."""
    with _opened(file, size) as (archive, members):
        return _metadata(archive, members)


@contextmanager
def _opened(
    file: BinaryIO, size: int
) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    with open_archive(file, ".npz file") as archive:
        yield archive, _members(archive, size)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by tensor name; metadata under METADATA."""
    infos = archive.infolist()
    check_members(infos, size)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename == _METADATA_MEMBER:
            name = METADATA
        elif info.filename.endswith(_SUFFIX):
            name = check_name(info.filename.removesuffix(_SUFFIX))
        else:
            raise MalformedError(f"member {info.filename!r} is not an .npy array")
        members[name] = info
    return members


def _metadata(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    if METADATA not in members:
        return {}
    try:
        return check_metadata(json.loads(archive.read(members[METADATA]).decode("utf-8")))
    except RecursionError as error:
        raise MalformedError(f"the metadata is not valid JSON: {error}") from None


def _read_npy(member: IO[bytes], name: str, size: int) -> Array:
    dtype, fortran, shape, used = _read_npy_header(member, name)
    shape, nbytes = check_shape(name, shape, dtype.itemsize)
    if nbytes != size - used:
        raise MalformedError(
            f"tensor {name!r} of dtype {dtype} and shape {shape} takes {nbytes} bytes, "
            f"its member holds {size - used}"
        )
    array: Array = np.empty(nbytes // dtype.itemsize, dtype)
    fill(array, member, f"tensor {name!r}")
    member.read(1)  # zipfile checks the CRC at the end of a member
    check_bools(name, array)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return np.asarray(array.reshape(shape, order="F" if fortran else "C"), order="C")


def _read_npy_header(
    member: IO[bytes], name: str
) -> tuple[np.dtype[np.generic], bool, object, int]:
    """Return dtype, whether in Fortran order, shape and header length in bytes."""
    start = member.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4, b"\x93NUMPY\x03\x00": 4}.get(start)
    if width is None:
        raise MalformedError(f"member of tensor {name!r} is not an .npy array")
    length = int.from_bytes(member.read(width), "little")
    if length > _MAX_NPY_HEADER:
        raise MalformedError(f"tensor {name!r} has an .npy header of {length} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from Python's compiler
            header = ast.literal_eval(member.read(length).decode("latin-1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
        raise MalformedError(f"tensor {name!r} has a damaged .npy header") from None
    if not isinstance(descr, str) or descr not in _DESCRIPTIONS:
        raise MalformedError(
            f"tensor {name!r} has elements of type {descr!r:.60}; only plain numbers and bools "
            "are read, no objects, text or records"
        )
    if not isinstance(fortran, bool):
        raise MalformedError(f"tensor {name!r} has a damaged .npy header")
    return _DESCRIPTIONS[descr], fortran, shape, 8 + width + length
