"""Ctrl-C and SIGTERM that wait for the end of a step, when the state is whole."""

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
    """The process was asked to end by SIGTERM, as before a machine is taken away."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class DeferredInterrupt:
    """Holds Ctrl-C and SIGTERM back while a block runs; a second Ctrl-C goes through at once.

    Acts inside ``with`` and in the main thread, which alone receives signals.

    Attributes
    ----------
    pending : int
        The signal that is held back, 0 for none.  Who learns of one otherwise, from
        another rank, sets it.

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
            # Where a signal is ignored, or handled outside of Python, it stays so; and who
            # handles SIGTERM has plans of their own.
            if callable(signal.getsignal(signal.SIGINT)):
                self._take(signal.SIGINT)
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                self._take(signal.SIGTERM)
        return self

    def _take(self, number: int) -> None:
        self._originals[number] = signal.signal(number, self._handle)

    def __exit__(self, *exception: object) -> None:
        for number, original in self._originals.items():
            signal.signal(number, original)
        self._originals = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        insists = number == signal.SIGINT and self._interrupted
        self._interrupted |= number == signal.SIGINT
        if self._holding and not insists:
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
        """Hold signals back until the end of the block, the outermost one."""
        before, self._holding = self._holding, True
        try:
            yield
        finally:
            self._holding = before
        if self.pending and not before:
            self._raise(self.pending, None)
