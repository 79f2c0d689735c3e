"""Forward hooks and their handles."""

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
    """Hooks of one kind of a module, in order of registration."""

    def add(self, hook: Callable[..., Any]) -> RemovableHandle:
        if not callable(hook):
            raise TypeError(f"expected a callable hook, got {type(hook).__name__}")
        key = next(_keys)
        self[key] = hook
        begin_epoch()
        return RemovableHandle(self, key)


class RemovableHandle:
    """Handle of a registered hook; ``remove()`` unregisters it.

    As a context manager, it removes the hook at the end of the block.

    Parameters
    ----------
    hooks : HookDict
        Hooks of the module; referenced weakly.
    key : int
        Key of the hook.
    """

    def __init__(self, hooks: HookDict, key: int) -> None:
        self._hooks = weakref.ref(hooks)
        self._key = key

    def remove(self) -> None:
        """Unregister the hook; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self._key, None)
            begin_epoch()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()
