"""Checks shared by all weight file formats: names, dtypes, metadata, digest."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: dtypes by safetensors name; little-endian in files.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
CODES: dict[np.dtype[Any], str] = {dtype: code for code, dtype in DTYPES.items()}

#: Metadata key of the digest.
DIGEST = "lucid.sha256"
#: Key of the metadata in the file formats; reserved.
METADATA = "__metadata__"

_MAX_NDIM = 32
_AT_ONCE = 2**18


class MalformedError(Exception):
    """Invalid content of a weight file.

    Callers that know the path raise :class:`lucid.WeightFileError` from it.
    """


def check_name(name: object) -> str:
    """Return a tensor name if it is allowed.

    Other programs use names as archive members, paths and terminal output, so paths and control
    characters are rejected.
    """
    if not isinstance(name, str) or not name:
        raise MalformedError(f"a tensor's name must be a non-empty string, got {name!r}")
    if name == METADATA:
        raise MalformedError(f"{METADATA!r} is not allowed as a tensor's name")
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise MalformedError(f"the tensor name {name!r} looks like a path")
    # Cc: control characters; Cs: surrogates, which UTF-8 cannot encode.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise MalformedError(f"the tensor name {name!r} contains control characters")
    return name


def check_shape(name: str, shape: object, itemsize: int) -> tuple[tuple[int, ...], int]:
    """Return ``(shape, nbytes)`` if NumPy supports the shape."""
    if not isinstance(shape, list | tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise MalformedError(f"tensor {name!r} has the shape {shape!r}, expected sizes >= 0")
    # NumPy ignores axes of length 0 in its size limit.
    extent = math.prod(max(n, 1) for n in shape) * itemsize
    if len(shape) > _MAX_NDIM or extent >= 2**63:
        raise MalformedError(f"tensor {name!r} declares the impossible shape {tuple(shape)}")
    return tuple(shape), 0 if 0 in shape else extent


def check_bools(name: str, array: Array) -> None:
    """Raise for bytes other than 0 and 1 in a bool array, which NumPy does not support."""
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise MalformedError(f"tensor {name!r} is BOOL but holds bytes other than 0 and 1")


def from_bfloat16(patterns: Array) -> Array:
    """Convert bfloat16 bit patterns (uint16) to float32."""
    result: Array = np.empty(patterns.shape, np.float32)
    _widen(patterns.reshape(-1), result)
    return result


def in_upper_half(array: Array) -> Array:
    """Return the second half of a float32 array's memory, to read bfloat16 patterns into."""
    return array.reshape(-1).view("<u2")[array.size :]


def widen_upper_half(array: Array) -> None:
    """Convert the patterns in :func:`in_upper_half` to float32 in place."""
    _widen(in_upper_half(array), array)


def _widen(patterns: Array, result: Array) -> None:
    """Shift patterns into the upper 16 bits; they may overlap the second half of ``result``."""
    elements = result.reshape(-1).view(np.uint32)
    # Front to back, in copied chunks: element i never overlaps pattern i + 1 or later ones.
    for start in range(0, len(elements), _AT_ONCE):
        part = patterns[start : start + _AT_ONCE].astype(np.uint32)
        elements[start : start + len(part)] = part << 16


def check_metadata(metadata: object) -> dict[str, str]:
    """Return metadata if it maps str to str that UTF-8 can encode."""
    if not isinstance(metadata, dict):
        raise MalformedError(
            f"the metadata must map strings to strings, got a {type(metadata).__name__}"
        )
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise MalformedError(
                "the metadata must map strings to strings, "
                f"got a {type(value).__name__} for {key!r:.60}"
            )
        for text in (key, value):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise MalformedError(
                    f"the metadata must be text, got half of a surrogate pair in {text!r:.60}"
                ) from None
    return metadata


def raw_bytes(array: Array) -> memoryview:
    """Return the elements in C order as bytes, copied only if not contiguous."""
    # ascontiguousarray would add an axis to a 0-d array.
    return np.asarray(array, order="C").reshape(-1).view(np.uint8).data


def digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of names, dtypes, shapes, values and metadata.

    Independent of the format and of the order of the entries.
    """
    sha = hashlib.sha256()

    def add(text: str) -> None:
        # The length prefix makes the encoding unambiguous.
        encoded = text.encode("utf-8", "surrogatepass")
        sha.update(len(encoded).to_bytes(8, "little") + encoded)

    for key in sorted(metadata):
        if key != DIGEST:
            add(key)
            add(metadata[key])
    for name in sorted(arrays):
        array = arrays[name]
        add(name)
        add(f"{CODES[array.dtype]} {array.shape}")
        sha.update(raw_bytes(array))
    return sha.hexdigest()


def check_digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Check the digest in the metadata, if there is one."""
    if DIGEST in metadata and digest(arrays, metadata) != metadata[DIGEST]:
        raise MalformedError("the contents do not match the digest: damaged or modified")
