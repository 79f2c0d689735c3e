"""safetensors reader and writer: header length (8 bytes), JSON header, elements.

Implemented here, not by the library, to check every size against the file size before memory is
allocated, to read into place, to write without a second copy, and to write equal files for equal
weights.  Format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from lucid.weights.format_checks import (
    CODES,
    DTYPES,
    METADATA,
    Array,
    MalformedError,
    check_bools,
    check_metadata,
    check_name,
    check_shape,
    in_upper_half,
    raw_bytes,
    widen_upper_half,
)
from lucid.weights.zip_archive import fill

# Headers of real models are below 1 MiB; parsed JSON takes about 20 times its size.
_MAX_HEADER = 16 * 2**20
_ALIGNMENT = 8
_BF16 = "BF16"


@dataclass(frozen=True)
class _Entry:
    name: str
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def write(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write checked arrays and metadata.

    The header keeps the order of the arrays; the data is sorted by decreasing element size, so
    that every array is aligned in a memory-mapped file.
    """
    by_size = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    offsets, position = {}, 0
    for name in by_size:
        offsets[name] = [position, position := position + arrays[name].nbytes]
    header: dict[str, Any] = {METADATA: dict(metadata)}
    for name, array in arrays.items():
        header[name] = {
            "dtype": CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": offsets[name],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _MAX_HEADER:
        raise MalformedError(f"the header would take {len(text)} bytes, at most {_MAX_HEADER}")
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in by_size:
        file.write(raw_bytes(arrays[name]))


def read(file: BinaryIO, size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Read ``(arrays, metadata)`` from a file of ``size`` bytes, positioned at its start."""
    entries, metadata, start = _read_header(file, size)
    arrays: dict[str, Array] = dict.fromkeys((entry.name for entry in entries), np.empty(0))
    for entry in sorted(entries, key=lambda entry: entry.begin):
        file.seek(start + entry.begin)
        arrays[entry.name] = _read_array(file, entry)
    return arrays, metadata


def read_metadata(file: BinaryIO, size: int) -> dict[str, str]:
    """Read the metadata with the header checks of :func:`read`."""
    return _read_header(file, size)[1]


def _read_header(file: BinaryIO, size: int) -> tuple[list[_Entry], dict[str, str], int]:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise MalformedError(f"{size} bytes are too few for a safetensors file")
    length = int.from_bytes(prefix, "little")
    if length > size - 8:
        raise MalformedError(
            f"truncated, or not a safetensors file: declares a header of {length} bytes, "
            f"{size - 8} are left"
        )
    if length > _MAX_HEADER:
        raise MalformedError(f"declares a header of {length} bytes, at most {_MAX_HEADER}")
    header = _parse_json(file.read(length))
    metadata = check_metadata(header.pop(METADATA, {}))
    entries = [_entry(check_name(name), value) for name, value in header.items()]
    _check_layout(entries, size - 8 - length)
    return entries, metadata, 8 + length


def _parse_json(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise MalformedError("not a safetensors file: its header does not begin with '{'")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_int=_integer)
    except (ValueError, RecursionError) as error:  # both JSON and UTF-8 errors are ValueErrors
        raise MalformedError(f"the header is not valid JSON: {error}") from None
    assert isinstance(header, dict)  # nothing else begins with {
    return header


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise MalformedError(f"the header has the key {name!r} twice")
        result[name] = value
    return result


def _integer(text: str) -> int | float:
    """Parse a JSON integer; "-0" becomes a float, as in other readers."""
    return -0.0 if text == "-0" else int(text)


def _entry(name: str, value: object) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(
            f"tensor {name!r} must be described by dtype, shape and data_offsets, "
            f"got {value!r:.100}"
        )
    code, offsets = value["dtype"], value["data_offsets"]
    if code != _BF16 and (not isinstance(code, str) or code not in DTYPES):
        supported = ", ".join([*DTYPES, _BF16])
        raise MalformedError(f"tensor {name!r} has dtype {code!r:.40}, supported are {supported}")
    itemsize = 2 if code == _BF16 else DTYPES[code].itemsize
    shape, nbytes = check_shape(name, value["shape"], itemsize)
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int and offset >= 0 for offset in offsets)
        or offsets[1] - offsets[0] != nbytes
    ):
        raise MalformedError(
            f"tensor {name!r} of dtype {code} and shape {shape} takes {nbytes} bytes, "
            f"which its data_offsets {offsets!r:.60} do not span"
        )
    return _Entry(name, code, shape, offsets[0], offsets[1])


def _check_layout(entries: list[_Entry], available: int) -> None:
    """Check that the data covers the rest of the file without gap or overlap."""
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            raise MalformedError(
                f"the data of tensor {entry.name!r} begin at byte {entry.begin}, "
                f"expected at {position}: overlapping or missing data"
            )
        position = entry.end
    if position != available:
        kind = "truncated" if position > available else "has bytes after the last tensor"
        raise MalformedError(f"{kind}: tensors declare {position} bytes, there are {available}")


def _read_array(file: BinaryIO, entry: _Entry) -> Array:
    is_bfloat16 = entry.code == _BF16
    array: Array = np.empty(entry.shape, np.float32 if is_bfloat16 else DTYPES[entry.code])
    target = in_upper_half(array) if is_bfloat16 else array.reshape(-1)
    fill(target, file, f"tensor {entry.name!r}")
    if is_bfloat16:
        widen_upper_half(array)
    check_bools(entry.name, array)
    return array
