"""Ctrl-C and SIGTERM deferred to the end of a step, when the state is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["DeferredInterrupt", "Terminated"]

_Handler = Callable[[int, "FrameType | None"], Any]


class Terminated(SystemExit):
    """SIGTERM was received, for example because a run is preempted."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class DeferredInterrupt:
    """Defer Ctrl-C and SIGTERM to the end of a block; a second Ctrl-C is raised at once.

    Signal handlers are installed inside ``with``, in the main thread only.

    Attributes
    ----------
    pending : int
        The deferred signal, 0 for none.  Set it for a signal that another rank received.

    Examples
    --------
    >>> from lucid.training.interrupts import DeferredInterrupt
    >>> with DeferredInterrupt() as interrupt:
    ...     with interrupt.deferred():
    ...         pass  # Ctrl-C here ...
    ...     # ... is raised here
    """

    def __init__(self) -> None:
        self.pending = 0
        self._originals: dict[int, Any] = {}
        self._holding = False
        self._interrupted = False

    def __enter__(self) -> DeferredInterrupt:
        self.pending, self._interrupted = 0, False
        if threading.current_thread() is threading.main_thread():
            # Keep handlers that ignore signals, are not Python's, or are the user's for SIGTERM.
            if callable(signal.getsignal(signal.SIGINT)):
                self._install(signal.SIGINT)
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                self._install(signal.SIGTERM)
        return self

    def _install(self, number: int) -> None:
        self._originals[number] = signal.signal(number, self._handle)

    def __exit__(self, *exception: object) -> None:
        for number, original in self._originals.items():
            signal.signal(number, original)
        self._originals = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_second = number == signal.SIGINT and self._interrupted
        self._interrupted |= number == signal.SIGINT
        if self._holding and not is_second:
            self.pending = self.pending or number
            return
        self._raise(number, frame)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.pending, self._interrupted = 0, False
        if number == signal.SIGTERM:
            raise Terminated
        original: _Handler = self._originals.get(number, signal.default_int_handler)
        original(number, frame)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer signals to the end of the outermost such block."""
        before, self._holding = self._holding, True
        try:
            yield
        finally:
            self._holding = before
        if self.pending and not before:
            self._raise(self.pending, None)
