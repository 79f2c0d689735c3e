"""Ctrl-C that waits for the end of a step, when the state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["DeferredInterrupt"]


class DeferredInterrupt:
    """Holds Ctrl-C back while a block runs; a second one goes through at once.

    Acts inside ``with`` and in the main thread, which alone receives signals.

    Examples
    --------
    >>> from lucid.training.interrupts import DeferredInterrupt
    >>> with DeferredInterrupt() as interrupt:
    ...     with interrupt.deferred():
    ...         pass  # Ctrl-C here ...
    ...     # ... is raised here
    """

    def __init__(self) -> None:
        self._original: Callable[[int, FrameType | None], Any] | None = None
        self._holding = False
        self._pending = False

    def __enter__(self) -> DeferredInterrupt:
        handler = signal.getsignal(signal.SIGINT)
        # Where the signal is ignored, or handled outside of Python, it stays so.
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._original = handler
            self._pending = False
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._original is not None:
            signal.signal(signal.SIGINT, self._original)
            self._original = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._holding and not self._pending:
            self._pending = True
            return
        self._pending = False
        if self._original is not None:
            self._original(number, frame)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold Ctrl-C back until the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._pending:
            self._handle(signal.SIGINT, None)
