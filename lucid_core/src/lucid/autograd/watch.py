"""Whether memory may have been written to, through whichever tensor or array lies over it.

A tensor's version says what was done to that tensor.  Its memory may be written to in
other ways as well: through what ``detach`` and views give, and through the plain array that
``data`` or ``numpy`` hands out.  So who keeps something that was computed from values
watches their memory.

To ask every watch, and whether every setting is still the same, takes a while.  So whatever
may change a prediction also begins a new *moment*: as long as it is the same one, nothing has
changed anywhere.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakValueDictionary

import numpy as np

from lucid.autograd.variable import Array

__all__ = ["Watch", "begin_moment", "maybe_written", "moment", "root", "watch"]

_moment = object()


def moment() -> object:
    """What is another object after a change of memory that is watched, or of a module."""
    return _moment


def begin_moment() -> None:
    """Say that something has changed that predictions may depend on; call it afterwards."""
    # An object of its own and no number: two threads that count at once may count back.
    global _moment
    _moment = object()


def root(array: Array) -> Array:
    """The array that ``array`` is a view of, or itself."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Watch:
    """Memory that somebody watches, for as long as they hold this.

    Attributes
    ----------
    count : int
        Changes when the memory is written to, or an array given away by which it may be.
    """

    __slots__ = ("__weakref__", "_root", "count")

    def __init__(self, memory: Array) -> None:
        self._root = memory  # alive, so no other array gets its id
        self.count = 0


_lock = threading.Lock()
_watched: WeakValueDictionary[int, Watch] = WeakValueDictionary()


def watch(array: Array) -> Watch:
    """Watch the memory under ``array``."""
    memory = root(array)
    with _lock:  # of two threads both must get the one that will be told of changes
        return _watched.setdefault(id(memory), Watch(memory))


def maybe_written(array: Array) -> None:
    """Say that the memory under ``array`` is, or may from now on be, written to."""
    if _watched:
        found = _watched.get(id(root(array)))
        if found is not None:
            found.count += 1
            begin_moment()


def _after_fork() -> None:
    """The lock may have been held by a thread that the child does not have."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
