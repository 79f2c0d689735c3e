"""Predicting with a model in training mode, in several threads at once.

The mode belongs to the modules and so to all threads.  If each thread changed it and
changed it back, the first to finish would leave the others predicting in training mode,
with other results, and their batches would change the statistics of the normalizations.
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
    """How many threads predict with a model, and which modules were in training mode before."""

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
    """Eval mode inside the block; each module's own mode after the last thread has left it."""
    with _lock:
        state = _predicting.setdefault(model, _Predicting())
        state.enter(model)
    try:
        yield
    finally:
        with _lock:
            state.leave()


def _after_fork() -> None:
    """The lock may be held, and blocks be open, in threads that the child does not have."""
    global _lock
    _lock = threading.Lock()
    for state in _predicting.values():
        state.restore()
    _predicting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
