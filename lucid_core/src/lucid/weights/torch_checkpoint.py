"""PyTorch's checkpoints (``.pth``, ``.pt``, ``.bin``), read without PyTorch and without trust.

``torch.save`` has two forms.  Since 1.6 it writes a zip archive: a pickle in
``NAME/data.pkl`` and the storages, uncompressed, in ``NAME/data/KEY``.  Before, and
still on request, it wrote five pickles one after the other (a magic number, a
protocol version, facts about the machine, the object, the keys of the storages)
and then each storage, with the number of its elements before it.

Only tensors by name come back; see :mod:`lucid.weights.torch_pickle` for what is read,
and :mod:`lucid.weights.state_dict_search` for which of several dicts.
"""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
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

#: The member that tells a checkpoint from other archives.
PICKLE_IN_ARCHIVE = re.compile(r"(?:[^/]+/)?data\.pkl")

_WHAT = "PyTorch checkpoint"
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
# Views may share their numbers, and each comes back with memory of its own; no model says the
# same so many times, and a few bytes viewed as terabytes do.
_FREE_REPETITION = 16 * 2**20
_MAX_REPETITION = 16


class _Source(ABC):
    """What a checkpoint holds: the pickled object, and storages by key."""

    #: What was pickled.
    value: Any
    #: Bytes of each storage.
    sizes: Mapping[str, int]
    #: Whether numbers stand with their highest byte first.
    big_endian = False

    @abstractmethod
    def storage(self, key: str) -> Array:
        """The bytes of a storage, in memory of their own."""


@dataclass(frozen=True)
class _View:
    """A tensor whose record was checked: part of a storage, in elements."""

    name: str
    storage: Storage
    dtype: TorchDtype
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    nbytes: int

    def array(self, content: Array, big_endian: bool, alone: bool) -> Array:
        """The elements, out of the bytes of the storage; with ``alone`` they may be kept."""
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
    """Read ``(arrays, notes)`` from a file of ``size`` bytes, positioned at its start.

    ``ema`` and ``notes`` are those of :func:`~lucid.weights.state_dict_search.find_state_dict`.

    Raises
    ------
    MalformedError
        If the file is damaged, holds no state dict, or more than one can mean.
    """
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
    """Nothing: a checkpoint carries no text that could be told from its tensors' company."""
    with _opened(file, size):
        return {}


@contextmanager
def _opened(file: BinaryIO, size: int) -> Iterator[_Source]:
    if file.read(1) == b"\x80":
        file.seek(0)
        yield _Legacy(file, size)
        return
    file.seek(0)
    with open_archive(file, _WHAT) as archive:
        yield _Archive(archive, size)


# --- the two forms --------------------------------------------------------------------------------


class _Archive(_Source):
    """The zip archive of PyTorch 1.6 and later."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        infos = archive.infolist()
        check_members(infos, size)
        for info in infos:
            check_name(info.filename)
        pickles = [i.filename for i in infos if PICKLE_IN_ARCHIVE.fullmatch(i.filename)]
        if len(pickles) != 1:
            raise MalformedError(f"expected one member data.pkl in one folder, got {pickles!r:.80}")
        self._archive = archive
        self._prefix = pickles[0].removesuffix("data.pkl")
        self._members = {info.filename: info for info in infos}
        if f"{self._prefix}constants.pkl" in self._members:
            raise MalformedError(
                "holds a TorchScript program; where it comes from, save the weights alone: "
                "torch.save(model.state_dict(), path)"
            )
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED:
                raise MalformedError(f"member {info.filename!r} is compressed, as none should be")
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
            arrays = "; are there NumPy arrays among the tensors?" if limit == MAX_PICKLE else ""
            raise MalformedError(f"member {name!r} is longer than {limit} bytes{arrays}")
        return self._archive.read(self._members[name])

    def _member(self, key: str) -> zipfile.ZipInfo:
        name = f"{self._prefix}data/{key}"
        if name not in self._members:
            raise MalformedError(f"has no storage {key!r:.80}, which its tensors refer to")
        return self._members[name]

    def storage(self, key: str) -> Array:
        content = np.empty(self.sizes[key], np.uint8)
        with self._archive.open(self._member(key)) as member:
            fill(content, member, f"storage {key!r}")
            member.read(1)  # at the end of a member zipfile compares the CRC
        return content


class _Legacy(_Source):
    """The pickles and storages one after the other of before PyTorch 1.6."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        text = file.read(min(size, MAX_PICKLE))
        resolver = TorchResolver()
        magic, end = read_pickle(text, 0, resolver)
        if not isinstance(magic, int) or magic != _MAGIC:
            raise MalformedError(
                "is a pickle, but no checkpoint of PyTorch; save tensors by torch.save, or arrays "
                "by numpy.savez"
            )
        version, end = read_pickle(text, end, resolver)
        if not isinstance(version, int) or version != _LEGACY_VERSION:
            raise MalformedError(f"expected PyTorch's legacy format {_LEGACY_VERSION}, got another")
        machine, end = read_pickle(text, end, resolver)
        if not isinstance(machine, PickledDict):
            raise MalformedError("does not say what machine it comes from")
        self.value, end = read_pickle(text, end, resolver)
        keys, end = read_pickle(text, end, resolver)
        self._file = file
        self._places: dict[str, int] = {}
        self.sizes = self._find(keys, resolver.storages, end, size)

    def _find(
        self, keys: Any, storages: Mapping[str, Storage], position: int, size: int
    ) -> dict[str, int]:
        """Where the storages stand; each is as long as declared, and so is the file."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise MalformedError("does not list its storages")
        if len(set(keys)) != len(keys) or set(keys) != storages.keys():
            raise MalformedError("lists other storages than its tensors refer to")
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
            self._places[key] = position - sizes[key]
        if position != size:
            raise MalformedError(f"has {size - position} bytes that belong to no storage")
        return sizes

    def storage(self, key: str) -> Array:
        content = np.empty(self.sizes[key], np.uint8)
        self._file.seek(self._places[key])
        fill(content, self._file, f"storage {key!r}")
        return content


# --- tensors --------------------------------------------------------------------------------------


def _checked(name: str, record: TensorRecord, sizes: Mapping[str, int]) -> _View:
    check_name(name)
    storage, dtype = record.storage, record.dtype
    if not isinstance(storage, Storage) or not isinstance(dtype, TorchDtype):
        raise MalformedError(f"tensor {name!r} is made of no storage")
    if dtype.numpy_dtype is None:
        raise MalformedError(f"tensor {name!r} has elements of type {dtype.name}, not read here")
    if storage.dtype.name not in (dtype.name, "bytes"):
        raise MalformedError(
            f"tensor {name!r} of {dtype.name} is made of a storage of {storage.dtype.name}"
        )
    if sizes[storage.key] != storage.total * storage.dtype.itemsize:
        raise MalformedError(
            f"storage {storage.key!r:.80} of tensor {name!r} declares {storage.total} elements of "
            f"{storage.dtype.itemsize} bytes, there are {sizes[storage.key]} bytes"
        )
    # Not shown where they are no numbers: tuples within tuples may take forever to show.
    if not _are_counts(record.shape):
        raise MalformedError(f"tensor {name!r} has a shape that is no tuple of sizes >= 0")
    shape, nbytes = check_shape(name, record.shape, 4 if dtype.is_bfloat16 else dtype.itemsize)
    strides, offset = record.strides, record.offset
    if not _are_counts(strides) or len(strides) != len(shape) or not _are_counts((offset,)):
        raise MalformedError(f"tensor {name!r} has no offset and strides >= 0 for its axes")
    # An untyped storage counts bytes, its tensors elements.
    scale = dtype.itemsize // storage.dtype.itemsize
    available = storage.count // scale
    reach = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1
    if nbytes and reach > available:
        raise MalformedError(
            f"tensor {name!r} of shape {shape} reaches to element {reach} of a storage of "
            f"{available}"
        )
    if storage.start % scale or sizes[storage.key] % dtype.itemsize:
        raise MalformedError(f"tensor {name!r} does not begin or end at an element")
    start = storage.start // scale + offset
    # A stride is never taken along an axis of length 1, and may be any number there.
    taken = tuple(0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True))
    return _View(name, storage, dtype, start, shape, taken, nbytes)


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(n) is int and n >= 0 for n in values)


def _check_total(views: list[_View], sizes: Mapping[str, int]) -> None:
    stored = sum(sizes[key] for key in {view.storage.key for view in views})
    total = sum(view.nbytes for view in views)
    if total > _FREE_REPETITION + _MAX_REPETITION * stored:
        raise MalformedError(f"would make tensors of {total} bytes out of {stored} stored ones")
