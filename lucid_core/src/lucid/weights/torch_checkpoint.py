"""PyTorch checkpoint reader (``.pth``, ``.pt``, ``.bin``), without PyTorch and without trust.

``torch.save`` has two formats.  Since 1.6 it writes a zip archive: a pickle ``NAME/data.pkl``
and uncompressed storages ``NAME/data/KEY``.  The legacy format is five pickles (magic number,
protocol version, system information, object, storage keys), then each storage after its number
of elements.

Only a state dict is returned; see :mod:`lucid.weights.torch_pickle` for supported objects and
:mod:`lucid.weights.state_dict_search` for the choice between several dicts.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from lucid.weights.format_checks import (
    Array,
    MalformedError,
    check_bools,
    check_name,
    check_shape,
    from_bfloat16,
)
from lucid.weights.pickle_objects import PickledDict
from lucid.weights.safe_unpickler import MAX_PICKLE, read_pickle
from lucid.weights.state_dict_search import find_state_dict
from lucid.weights.torch_pickle import Storage, TensorRecord, TorchDtype, TorchResolver
from lucid.weights.zip_archive import check_members, fill, open_archive

__all__ = ["PICKLE_IN_ARCHIVE", "read", "read_metadata"]

#: Archive member that identifies a checkpoint.
PICKLE_IN_ARCHIVE = re.compile(r"(?:[^/]+/)?data\.pkl")

_WHAT = "PyTorch checkpoint written by torch.save"
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
# Views may share a storage, and each is copied: limit the expansion, since a few bytes could be
# viewed as terabytes.
_FREE_EXPANSION = 16 * 2**20
_MAX_EXPANSION = 16


@dataclass(frozen=True)
class _View:
    """Checked tensor record: strided view of a storage, in elements."""

    name: str
    storage: Storage
    dtype: TorchDtype
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    nbytes: int

    def array(self, content: Array, big_endian: bool, alone: bool) -> Array:
        """Return the array; without a copy if ``alone``: no other view uses ``content``."""
        assert self.dtype.numpy_dtype is not None
        dtype = self.dtype.numpy_dtype.newbyteorder(">" if big_endian else "<")
        if not self.nbytes:
            array: Array = np.empty(self.shape, dtype)
        else:
            flat = content.view(dtype)[self.start :]
            strides = tuple(stride * dtype.itemsize for stride in self.strides)
            array = np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)
            if alone and array.flags.c_contiguous and array.size == content.size // dtype.itemsize:
                array = flat.reshape(self.shape)
            else:
                array = np.array(array, order="C")
        array = array.astype(dtype.newbyteorder("="), copy=False)
        if self.dtype.is_bfloat16:
            return from_bfloat16(array)
        check_bools(self.name, array)
        return array


def read(file: BinaryIO, size: int, ema: bool | None = None) -> tuple[dict[str, Array], list[str]]:
    """Read ``(arrays, notes)``; ``ema`` and ``notes`` are those of :func:`find_state_dict`."""
    with _opened(file, size) as source:
        records, notes = find_state_dict(source.value, ema)
        views = [_checked(name, record, source.sizes) for name, record in records.items()]
        _check_total(views, source.sizes)
        of_storage: dict[str, list[_View]] = {}
        for view in views:
            of_storage.setdefault(view.storage.key, []).append(view)
        arrays: dict[str, Array] = dict.fromkeys(records, np.empty(0))
        for key, group in of_storage.items():
            content = source.storage(key)
            for view in group:
                arrays[view.name] = view.array(content, source.big_endian, len(group) == 1)
        return arrays, notes


def read_metadata(file: BinaryIO, size: int) -> dict[str, str]:
    """Return an empty dict: PyTorch checkpoints have no metadata."""
    with _opened(file, size):
        return {}


@contextmanager
def _opened(file: BinaryIO, size: int) -> Iterator[_Archive | _Legacy]:
    if file.read(1) == b"\x80":
        file.seek(0)
        yield _Legacy(file, size)
        return
    file.seek(0)
    with open_archive(file, _WHAT) as archive:
        yield _Archive(archive, size)


# --- the two forms --------------------------------------------------------------------------------


class _Archive:
    """The zip archive of PyTorch 1.6 and later."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        infos = archive.infolist()
        check_members(infos, size)
        self._members = {check_name(info.filename): info for info in infos}
        pickles = [i.filename for i in infos if PICKLE_IN_ARCHIVE.fullmatch(i.filename)]
        if len(pickles) != 1:
            raise MalformedError(f"expected one member data.pkl in one folder, got {pickles!r:.80}")
        self._archive = archive
        self._prefix = pickles[0].removesuffix("data.pkl")
        if f"{self._prefix}constants.pkl" in self._members:
            raise MalformedError(
                "expected a checkpoint, got a TorchScript program; save the weights instead: "
                "torch.save(model.state_dict(), path)"
            )
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED:
                raise MalformedError(
                    f"member {info.filename!r} is compressed, expected uncompressed members"
                )
        if not any(info.CRC for info in infos):  # see torch.serialization.set_crc32_options
            for info in infos:
                info.CRC = None  # type: ignore[assignment]
        self.big_endian = self._byte_order() == b"big"
        resolver = TorchResolver()
        self.value, _ = read_pickle(self._small(pickles[0], MAX_PICKLE), 0, resolver)
        self.sizes = {key: self._member(key).file_size for key in resolver.storages}

    def _byte_order(self) -> bytes:
        name = f"{self._prefix}byteorder"
        order = self._small(name, 16) if name in self._members else b"little"
        if order not in (b"little", b"big"):
            raise MalformedError(f"has the unknown byte order {order!r}")
        return order

    def _small(self, name: str, limit: int) -> bytes:
        if self._members[name].file_size > limit:
            arrays = "; it may contain NumPy arrays" if limit == MAX_PICKLE else ""
            raise MalformedError(f"member {name!r} is longer than {limit} bytes{arrays}")
        return self._archive.read(self._members[name])

    def _member(self, key: str) -> zipfile.ZipInfo:
        name = f"{self._prefix}data/{key}"
        if name not in self._members:
            raise MalformedError(f"has no storage {key!r:.80}, which its tensors use")
        return self._members[name]

    def storage(self, key: str) -> Array:
        content = np.empty(self.sizes[key], np.uint8)
        with self._archive.open(self._member(key)) as member:
            fill(content, member, f"storage {key!r}")
            member.read(1)  # zipfile checks the CRC at the end of a member
        return content


class _Legacy:
    """Legacy format of PyTorch before 1.6."""

    big_endian = False

    def __init__(self, file: BinaryIO, size: int) -> None:
        text = file.read(min(size, MAX_PICKLE))
        resolver = TorchResolver()
        magic, end = read_pickle(text, 0, resolver)
        if not isinstance(magic, int) or magic != _MAGIC:
            raise MalformedError(
                "is a pickle, but not a PyTorch checkpoint; save tensors with torch.save, or "
                "arrays with numpy.savez"
            )
        version, end = read_pickle(text, end, resolver)
        if not isinstance(version, int) or version != _LEGACY_VERSION:
            raise MalformedError(
                f"expected version {_LEGACY_VERSION} of PyTorch's legacy format, got another"
            )
        machine, end = read_pickle(text, end, resolver)
        if not isinstance(machine, PickledDict):
            raise MalformedError("has no system information")
        self.value, end = read_pickle(text, end, resolver)
        keys, end = read_pickle(text, end, resolver)
        self._file = file
        self._offsets: dict[str, int] = {}
        self.sizes = self._find(keys, resolver.storages, end, size)

    def _find(
        self, keys: Any, storages: Mapping[str, Storage], position: int, size: int
    ) -> dict[str, int]:
        """Find the storages and check their declared sizes against the file."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise MalformedError("has no list of storages")
        if len(set(keys)) != len(keys) or set(keys) != storages.keys():
            raise MalformedError("lists other storages than its tensors use")
        sizes = {}
        for key in keys:
            self._file.seek(position)
            count = int.from_bytes(self._file.read(8), "little")
            expected = storages[key].total
            sizes[key] = expected * storages[key].dtype.itemsize
            position += 8 + sizes[key]
            if position > size:
                raise MalformedError(
                    f"truncated: storage {key!r:.80} ends at byte {position}, the file at {size}"
                )
            if count != expected:
                raise MalformedError(
                    f"storage {key!r:.80} holds {count} elements, expected {expected}"
                )
            self._offsets[key] = position - sizes[key]
        if position != size:
            raise MalformedError(f"has {size - position} bytes after the last storage")
        return sizes

    def storage(self, key: str) -> Array:
        content = np.empty(self.sizes[key], np.uint8)
        self._file.seek(self._offsets[key])
        fill(content, self._file, f"storage {key!r}")
        return content


# --- tensors --------------------------------------------------------------------------------------


def _checked(name: str, record: TensorRecord, sizes: Mapping[str, int]) -> _View:
    check_name(name)
    storage, dtype = record.storage, record.dtype
    if not isinstance(storage, Storage) or not isinstance(dtype, TorchDtype):
        raise MalformedError(f"tensor {name!r} has no storage")
    if dtype.numpy_dtype is None:
        raise MalformedError(f"tensor {name!r} has the unsupported dtype {dtype.name}")
    if storage.dtype.name not in (dtype.name, "bytes"):
        raise MalformedError(
            f"tensor {name!r} has dtype {dtype.name}, its storage {storage.dtype.name}"
        )
    if sizes[storage.key] != storage.total * storage.dtype.itemsize:
        raise MalformedError(
            f"storage {storage.key!r:.80} of tensor {name!r} declares {storage.total} elements of "
            f"{storage.dtype.itemsize} bytes, there are {sizes[storage.key]} bytes"
        )
    # Invalid shapes are not printed: nested tuples may take forever.
    if not _are_counts(record.shape):
        raise MalformedError(f"tensor {name!r} has a shape that is not a tuple of sizes >= 0")
    shape, nbytes = check_shape(name, record.shape, 4 if dtype.is_bfloat16 else dtype.itemsize)
    strides, offset = record.strides, record.offset
    if not _are_counts(strides) or len(strides) != len(shape) or not _are_counts((offset,)):
        raise MalformedError(
            f"tensor {name!r} has invalid strides or offset, expected integers >= 0"
        )
    # An untyped storage counts bytes, a tensor elements.
    scale = dtype.itemsize // storage.dtype.itemsize
    available = storage.count // scale
    reach = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1
    if nbytes and reach > available:
        raise MalformedError(
            f"tensor {name!r} of shape {shape} reaches to element {reach} of a storage of "
            f"{available}"
        )
    if storage.start % scale or sizes[storage.key] % dtype.itemsize:
        raise MalformedError(f"tensor {name!r} is not aligned to its dtype")
    start = storage.start // scale + offset
    # The stride of an axis of length 1 is arbitrary.
    taken = tuple(0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True))
    return _View(name, storage, dtype, start, shape, taken, nbytes)


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(n) is int and n >= 0 for n in values)


def _check_total(views: list[_View], sizes: Mapping[str, int]) -> None:
    stored = sum(sizes[key] for key in {view.storage.key for view in views})
    total = sum(view.nbytes for view in views)
    if total > _FREE_EXPANSION + _MAX_EXPANSION * stored:
        raise MalformedError(f"would expand {stored} stored bytes to tensors of {total} bytes")
