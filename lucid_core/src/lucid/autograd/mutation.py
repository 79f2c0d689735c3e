"""Mutation tracking: when memory was written in place.

Tensors, views and NumPy arrays share memory, so writes are recorded per storage (the array that
owns the memory), not per tensor.  Every write through Lucid stamps the storage with the next
number of the counter that also orders recorded operations.

- ``backward`` raises if a saved array was written after its operation (`check_saved_arrays`).
- Caches of packed weights are stale if a source was written after the cache was built.

Writes through NumPy arrays that the user holds are not visible.  Handing out an array is
therefore stamped as well (`expose`), and `has_other_references` checks whether one is alive.

To avoid comparing all stamps, every change that may affect a prediction starts a new *epoch*:
within an epoch, cached weights are valid.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd.variable import Array, Variable, new_tensor, next_order
from lucid.kernels import recording
from lucid.kernels.memory import owns_memory

if TYPE_CHECKING:
    from lucid.autograd.variable import Node

__all__ = [
    "StorageVersion",
    "base_array",
    "begin_epoch",
    "check_saved_arrays",
    "epoch",
    "expose",
    "has_other_references",
    "last_write",
    "mark_reshaped",
    "mark_written",
    "reshaped_since",
    "track",
]

_epoch = object()
_last_write = 0
_versions: dict[int, StorageVersion] = {}
#: Last writes to external memory, which several arrays may own parts of, by byte range; only
#: the latest ones.
_external_writes: dict[tuple[int, int], int] = {}
_MAX_EXTERNAL_WRITES = 1000
#: Tensors whose data was replaced by an array of another shape, by id, with the time.
_reshaped: dict[int, tuple[weakref.ref[Variable], int]] = {}
_lock = threading.Lock()


def epoch() -> object:
    """Return the current epoch, an object that is replaced when predictions may change."""
    return _epoch


def begin_epoch() -> None:
    """Start a new epoch; call it after the change."""
    # A new object, not a counter: incrementing a counter is not thread-safe.
    global _epoch
    _epoch = object()


def base_array(array: Array) -> Array:
    """Return the array that owns the memory of a view, or the array itself."""
    while True:
        base = array.base
        if base is None:
            return array
        if isinstance(base, memoryview):
            base = base.obj
        elif not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)  # as_strided adds an intermediate object
        if not isinstance(base, np.ndarray):
            return array
        array = base


class StorageVersion:
    """Version of one storage, for the lifetime of the array that owns it.

    Attributes
    ----------
    written : int
        Time of the last in-place write through Lucid; 0 for never.
    exposed : int
        Time when it was last handed out as a NumPy array while tracked.
    tracked : bool
        Whether a cache depends on it.
    """

    __slots__ = ("__weakref__", "_owner", "_range", "exposed", "tracked", "written")

    def __init__(self, owner: Array) -> None:
        key = id(owner)
        self._owner = weakref.ref(owner, lambda _: _versions.pop(key, None))
        self._range = _byte_range(owner)
        self.written = 0
        self.exposed = 0
        self.tracked = False

    def overlaps(self, other: tuple[int, int]) -> bool:
        """Whether the storage overlaps a range of bytes."""
        return self._range[0] < other[1] and other[0] < self._range[1]


def _byte_range(array: Array) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


def _version_of(owner: Array) -> StorageVersion:
    found = _versions.get(id(owner))
    if found is None:
        with _lock:  # all threads must get the same object
            found = _versions.setdefault(id(owner), StorageVersion(owner))
    return found


def track(array: Array) -> StorageVersion:
    """Return the version of the storage of ``array`` and mark it as used by a cache."""
    version = _version_of(base_array(array))
    version.tracked = True
    return version


def mark_reshaped(tensor: Variable) -> None:
    """Record that the data of a tensor was replaced by an array of another shape."""
    key = id(tensor)
    reference = weakref.ref(tensor, lambda _: _reshaped.pop(key, None))
    _reshaped[key] = reference, next_order()


def reshaped_since(tensor: Variable, order: int) -> bool:
    """Whether the data of a tensor was replaced by another shape after time ``order``."""
    found = _reshaped.get(id(tensor))
    return found is not None and found[1] > order


def mark_written(array: Array) -> None:
    """Stamp the storage of ``array`` as written; call it after the write."""
    global _last_write
    recording.refuse("a write in place")
    owner = base_array(array)
    versions = [_version_of(owner)]
    order = _last_write = next_order()
    if not owns_memory(owner):
        bytes_written = _byte_range(array)
        _external_writes.pop(bytes_written, None)
        _external_writes[bytes_written] = order
        if len(_external_writes) > _MAX_EXTERNAL_WRITES:
            _external_writes.pop(next(iter(_external_writes)), None)
        versions += [m for m in list(_versions.values()) if m.overlaps(bytes_written)]
    for version in versions:
        version.written = order
    if any(version.tracked for version in versions):
        begin_epoch()


def expose(array: Array) -> None:
    """Stamp the storage of ``array`` as handed out to the user, if it is tracked."""
    recording.refuse("an array of a tensor")
    version = _versions.get(id(base_array(array)))
    if version is not None and version.tracked:
        version.exposed = next_order()
        begin_epoch()


def last_write() -> int:
    """Return the time of the last in-place write to any storage."""
    return _last_write


def _written_since(array: Array, order: int) -> bool:
    owner = base_array(array)
    version = _versions.get(id(owner))
    if version is not None and version.written > order:
        return True
    if not _external_writes and owns_memory(owner):
        return False
    low, high = _byte_range(array)
    if any(w > order and low < b and a < high for (a, b), w in list(_external_writes.items())):
        return True
    others = [] if owns_memory(owner) else list(_versions.values())
    return any(m.written > order and m.overlaps((low, high)) for m in others)


def check_saved_arrays(node: Node) -> None:
    """Raise RuntimeError if an array saved by an operation was written since."""
    for array in _arrays_in(node.vjp):
        if _written_since(array, node.order):
            raise RuntimeError(
                f"an array of shape {array.shape} and dtype {array.dtype} saved by "
                f"{_operation_name(node.vjp)} for backward() was changed in place; call backward() "
                "before the change, or change a clone()"
            )


def _arrays_in(closure: Any) -> list[Array]:
    """Find the arrays that a function closes over, also in containers and other functions."""
    found: list[Array] = []
    stack, seen = [closure], set()
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind is np.ndarray:
            found.append(value)
        elif kind in _NO_ARRAYS or id(value) in seen:
            continue
        elif kind is FunctionType:
            seen.add(id(value))
            stack.extend([cell.cell_contents for cell in value.__closure__ or ()])
            stack.extend(value.__defaults__ or ())
        elif isinstance(value, (tuple, list)):
            seen.add(id(value))
            stack.extend(value)
        elif isinstance(value, dict):
            seen.add(id(value))
            stack.extend(value.values())
        elif isinstance(value, np.ndarray):
            found.append(value)
        elif isinstance(value, Variable):
            found.append(value._data)
        elif isinstance(value, (MethodType, partial)):
            seen.add(id(value))
            stack.extend(_bound_values(value))
    return found


#: Common types without arrays, skipped first.
_NO_ARRAYS = frozenset({int, bool, float, str, type(None), np.float32, np.float64})


def _bound_values(function: MethodType | partial[Any]) -> list[Any]:
    if isinstance(function, partial):
        return [function.func, *function.args, *function.keywords.values()]
    return [function.__func__, *getattr(function.__self__, "__dict__", {}).values()]


def _operation_name(vjp: Any) -> str:
    """Return the name of the operation of a vjp."""
    stack = [vjp]
    while stack:
        value = stack.pop(0)
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, FunctionType):
            if value.__module__ != "lucid.autograd.primitive":
                return value.__qualname__.split(".<locals>")[0].lstrip("_")
            stack.extend(cell.cell_contents for cell in value.__closure__ or ())
    return "an operation"


def _references(tensor: Variable) -> tuple[int, int]:
    """Return the reference counts of a tensor's array and its base."""
    base = tensor._data.base
    return sys.getrefcount(tensor._data), 0 if base is None else sys.getrefcount(base)


# Measured, because Python's own references differ between versions.
_OWN_ARRAY = _references(new_tensor(np.empty(2)))
_OWN_VIEW = _references(new_tensor(np.empty((2, 2)).T))


def has_other_references(tensor: Variable, known: int = 0) -> bool:
    """Whether anything but this tensor may refer to its memory.

    That is another tensor, a view, a recorded operation or an array of the user; ``known`` is
    the number of references to ignore.  External memory always counts as referenced.
    """
    # No local variable for an array here: it would be one more reference.
    if owns_memory(tensor._data):
        return _references(tensor)[0] - known > _OWN_ARRAY[0]
    if type(tensor._data.base) is not np.ndarray or not owns_memory(tensor._data.base):
        return True
    array, owner = _references(tensor)
    return array + owner - known > sum(_OWN_VIEW)


def _after_fork() -> None:
    """Replace the lock, which another thread may have held at the fork."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
