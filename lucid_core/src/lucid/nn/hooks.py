"""Handles by which a registered hook is taken away again."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from lucid.autograd.mutation import begin_epoch

__all__ = ["HookDict", "RemovableHandle"]

_keys = itertools.count()


class HookDict(dict[int, Callable[..., Any]]):
    """The hooks of one kind of one module, in the order of their registration."""

    def add(self, hook: Callable[..., Any]) -> RemovableHandle:
        if not callable(hook):
            raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
        key = next(_keys)
        self[key] = hook
        begin_epoch()
        return RemovableHandle(self, key)


class RemovableHandle:
    """What registering a hook returns; ``remove()`` undoes the registration.

    Also a context manager that removes the hook at the end of the block.  It
    does not keep the module alive.

    Parameters
    ----------
    registry : HookDict
        The hooks of the module, of which this is one; referred to weakly.
    key : int
        Under which the hook is in ``registry``.
    """

    def __init__(self, registry: HookDict, key: int) -> None:
        self._registry = weakref.ref(registry)
        self._key = key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        registry = self._registry()
        if registry is not None:
            registry.pop(self._key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()
