"""Eval mode for predictions in several threads at once.

Modules, and so their mode, are shared by all threads.  If each thread restored the mode itself,
the first to finish would put the others into training mode.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from lucid import nn

__all__ = ["eval_mode"]


class _Predicting:
    """Number of threads that predict with a model, and its modules that were in training mode."""

    def __init__(self) -> None:
        self.threads = 0
        self.training: list[nn.Module] = []

    def enter(self, model: nn.Module) -> None:
        if not self.threads:
            self.training = [module for module in model.modules() if module.training]
            for module in self.training:
                module.training = False
        self.threads += 1

    def leave(self) -> None:
        self.threads -= 1
        if not self.threads:
            self.restore()

    def restore(self) -> None:
        for module in self.training:
            module.training = True
        self.training = []


_predicting: WeakKeyDictionary[nn.Module, _Predicting] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Context manager: eval mode until the last thread leaves, then each module's own mode."""
    with _lock:
        state = _predicting.setdefault(model, _Predicting())
        state.enter(model)
    try:
        yield
    finally:
        with _lock:
            state.leave()


def _after_fork() -> None:
    """Reset in the child process, which lacks the other threads."""
    global _lock
    _lock = threading.Lock()
    for state in _predicting.values():
        state.restore()
    _predicting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
