"""Stopwatch for the time spent in some functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """Sum the seconds spent in wrapped functions.

    Attributes
    ----------
    names : set of str
        Of those called since the last :meth:`take`.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.names: set[str] = set()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function to add its time."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start
                self.names.add(name)

        return wrapper

    def take(self, *names: str) -> float:
        """Return the seconds since the last call and reset.

        Raises
        ------
        RuntimeError
            If one of ``names`` was not called: then it is computed elsewhere, and
            taking nothing off would be unfair.
        """
        if missing := sorted(set(names) - self.names):
            raise RuntimeError(f"not called, so not timed: {', '.join(missing)}")
        seconds, self.seconds, self.names = self.seconds, 0.0, set()
        return seconds
