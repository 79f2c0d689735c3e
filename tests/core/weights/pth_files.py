"""PyTorch checkpoints put together by hand, opcode by opcode, so that no PyTorch is needed.

The functions give fragments of a pickle of protocol 2, each of which leaves one
value on the stack; :func:`pickled` makes a whole pickle of one.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "f8": "Double",
    "f4": "Float",
    "f2": "Half",
    "bf16": "BFloat16",
    "i8": "Long",
    "i4": "Int",
    "i2": "Short",
    "i1": "Char",
    "u1": "Byte",
    "b1": "Bool",
}


def plain(value: Any) -> bytes:
    """Numbers, text, and tuples, lists and dicts of them."""
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def list_(items: Iterable[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + tuple_(*arguments) + b"R"


def dict_(entries: Mapping[Any, bytes] | Iterable[tuple[Any, bytes]], new: bytes = b"}") -> bytes:
    pairs = entries.items() if isinstance(entries, Mapping) else entries
    return new + b"(" + b"".join(plain(key) + value for key, value in pairs) + b"u"


def ordered(entries: Mapping[Any, bytes]) -> bytes:
    return dict_(entries, call("collections", "OrderedDict"))


def storage(
    key: str, kind: str, count: int, legacy: bool = False, part: Any = None, module: str = "torch"
) -> bytes:
    """A storage by its persistent identity; ``kind`` as in :data:`KINDS` or a class's name."""
    known = KINDS.get(kind, "")
    identity = [
        plain("storage"),
        name(module, f"{known}Storage" if known else kind),
        plain(key),
        plain("cpu"),
        plain(count),
    ]
    if legacy:
        identity.append(plain(part))
    return tuple_(*identity) + b"Q"


def tensor(
    stored: bytes, shape: Sequence[Any], strides: Sequence[Any] | None = None, offset: Any = 0
) -> bytes:
    """A tensor of a storage; contiguous unless strides are given."""
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        stored,
        plain(offset),
        plain(tuple(shape)),
        plain(tuple(strides)),
        plain(False),
        call("collections", "OrderedDict"),
    )


def of(key: str, array: np.ndarray, legacy: bool = False) -> bytes:
    """A tensor with a storage of its own, which ``array.tobytes()`` is."""
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    return tensor(storage(key, kind, array.size, legacy), array.shape)


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def write_archive(
    path: Path,
    value: bytes,
    storages: Mapping[str, bytes],
    *,
    prefix: str = "archive/",
    members: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write the zip form; ``value`` is a fragment, or a whole pickle if it begins like one."""
    text = value if value.startswith(b"\x80") else pickled(value)
    content = {
        "data.pkl": text,
        "byteorder": b"little",
        **{f"data/{key}": data for key, data in storages.items()},
        "version": b"3\n",
        **(members or {}),
    }
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, data in content.items():
            if data is not None:
                info = zipfile.ZipInfo(prefix + member)
                archive.writestr(info, data, compress_type=compression)
    return path


def legacy_pickles(value: bytes, keys: Sequence[str]) -> bytes:
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = (plain(MAGIC), plain(1001), plain(machine), value, plain(list(keys)))
    return b"".join(map(pickled, parts))


def write_legacy(
    path: Path, value: bytes, storages: Mapping[str, tuple[int, bytes]], tail: bytes = b""
) -> Path:
    """Write the older form; each storage is its number of elements and its bytes."""
    data = b"".join(n.to_bytes(8, "little") + content for n, content in storages.values())
    path.write_bytes(legacy_pickles(value, list(storages)) + data + tail)
    return path
