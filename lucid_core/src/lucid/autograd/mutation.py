"""Mutation tracking: which memory was written in place, and when.

Tensors, views of them and NumPy arrays share memory, so writes are counted for the memory
and not for the tensor: every write through Lucid stamps the array that owns the memory with
the next number of the clock that also orders recorded operations.

``backward`` compares the stamps with the order of an operation: an array that its derivative
reads must not have been written after the forward pass.  Caches of weights compare them with
the time at which the cache was made.

Writes through NumPy arrays that the user holds cannot be seen.  Handing out such an array is
stamped as well (`expose`), and `has_other_references` checks whether one is still alive.

Comparing every stamp takes time.  Whatever may change a prediction therefore begins a new
*epoch*: within one epoch nothing that a cache depends on has changed.
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
#: Writes to memory of somebody else, over which unrelated arrays may lie: when each range of
#: bytes was last written.  The latest ones only, as no graph is kept for that long.
_external_writes: dict[tuple[int, int], int] = {}
_MAX_EXTERNAL_WRITES = 1000
#: Tensors whose array was replaced by one of another shape, by id, and when.
_reshaped: dict[int, tuple[weakref.ref[Variable], int]] = {}
_lock = threading.Lock()


def epoch() -> object:
    """An object that is replaced whenever something changes that predictions may depend on."""
    return _epoch


def begin_epoch() -> None:
    """Replace the epoch; call it after the change."""
    # A new object and not a counter: two threads that count at once may count back.
    global _epoch
    _epoch = object()


def base_array(array: Array) -> Array:
    """The array that ``array`` is a view of, or itself."""
    while True:
        base = array.base
        if base is None:
            return array
        if isinstance(base, memoryview):
            base = base.obj
        elif not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)  # as_strided puts an object in between
        if not isinstance(base, np.ndarray):
            return array
        array = base


class StorageVersion:
    """Stamps of the memory of one array, for as long as the array is alive.

    Attributes
    ----------
    written : int
        When it was last written in place through Lucid; 0 for never.
    exposed : int
        When it was last handed out as a NumPy array while a cache depended on it.
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
        """Whether it contains bytes of a range."""
        return self._range[0] < other[1] and other[0] < self._range[1]


def _byte_range(array: Array) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high


def _version_of(owner: Array) -> StorageVersion:
    found = _versions.get(id(owner))
    if found is None:
        with _lock:  # two threads must get the same one
            found = _versions.setdefault(id(owner), StorageVersion(owner))
    return found


def track(array: Array) -> StorageVersion:
    """The stamps of the memory under ``array``, on which a cache will depend."""
    version = _version_of(base_array(array))
    version.tracked = True
    return version


def mark_reshaped(tensor: Variable) -> None:
    """Record that the array of a tensor was replaced by one of another shape, for errors."""
    key = id(tensor)
    reference = weakref.ref(tensor, lambda _: _reshaped.pop(key, None))
    _reshaped[key] = reference, next_order()


def reshaped_since(tensor: Variable, order: int) -> bool:
    """Whether the array of a tensor was replaced by one of another shape after an operation."""
    found = _reshaped.get(id(tensor))
    return found is not None and found[1] > order


def mark_written(array: Array) -> None:
    """Stamp the memory under ``array`` as written; call it after the write."""
    global _last_write
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
    """Stamp the memory under ``array`` as handed out, where a cache depends on it."""
    version = _versions.get(id(base_array(array)))
    if version is not None and version.tracked:
        version.exposed = next_order()
        begin_epoch()


def last_write() -> int:
    """When any memory was last written in place."""
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
    """Raise if an array that the derivative of an operation reads was written since."""
    for array in _arrays_in(node.vjp):
        if _written_since(array, node.order):
            raise RuntimeError(
                f"backward() needs an array of shape {array.shape} and dtype {array.dtype} that "
                f"{_operation(node.vjp)} kept in the forward pass, and it was changed in place "
                "since: call backward() before the change, or change a clone()"
            )


def _arrays_in(kept: Any) -> list[Array]:
    """Arrays that a function closes over, directly or in tuples, lists, dicts and functions."""
    found: list[Array] = []
    stack, seen = [kept], set()
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
            stack.extend(_bound(value))
    return found


#: Types that most of what a derivative closes over has, to be passed over at once.
_NO_ARRAYS = frozenset({int, bool, float, str, type(None), np.float32, np.float64})


def _bound(function: MethodType | partial[Any]) -> list[Any]:
    if isinstance(function, partial):
        return [function.func, *function.args, *function.keywords.values()]
    return [function.__func__, *getattr(function.__self__, "__dict__", {}).values()]


def _operation(vjp: Any) -> str:
    """The name of the operation that a derivative belongs to."""
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
    """Reference counts of a tensor's array and of the array that this is a view of."""
    base = tensor._data.base
    return sys.getrefcount(tensor._data), 0 if base is None else sys.getrefcount(base)


# Counted and not stated: what Python itself holds differs between its versions.
_OWN_ARRAY = _references(new_tensor(np.empty(2)))
_OWN_VIEW = _references(new_tensor(np.empty((2, 2)).T))


def has_other_references(tensor: Variable, known: int = 0) -> bool:
    """Whether anything but this tensor may refer to its memory.

    Another tensor, a view, a recorded operation, or an array that the user holds; memory of
    somebody else always counts as held.

    Parameters
    ----------
    tensor : Variable
        The tensor.
    known : int, default 0
        References by others that do not count.
    """
    # No local name for an array here: it would be one more reference.
    if owns_memory(tensor._data):
        return _references(tensor)[0] - known > _OWN_ARRAY[0]
    if type(tensor._data.base) is not np.ndarray or not owns_memory(tensor._data.base):
        return True
    array, owner = _references(tensor)
    return array + owner - known > sum(_OWN_VIEW)


def _after_fork() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
