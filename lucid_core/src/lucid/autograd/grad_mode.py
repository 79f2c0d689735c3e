"""Thread-local switch for gradient recording."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from types import TracebackType


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether gradient recording is on in the current thread.

    Returns
    -------
    bool
        True, unless :func:`no_grad` or :func:`set_grad_enabled` turned it off.
    """
    return _mode.enabled


class set_grad_enabled(ContextDecorator):  # noqa: N801 - used like a function
    """Context manager and decorator that turns gradient recording on or off in this thread.

    Parameters
    ----------
    enabled : bool
        Whether operations inside the block are recorded.
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = bool(enabled)
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        # A stack, because one instance used as a decorator may be entered recursively.
        self._previous.append(_mode.enabled)
        _mode.enabled = self._enabled

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _mode.enabled = self._previous.pop()

    def _recreate_cm(self) -> set_grad_enabled:
        # A decorated function may run in several threads: each call needs its own stack.
        return set_grad_enabled(self._enabled)


class no_grad(set_grad_enabled):  # noqa: N801
    """Context manager and decorator that disables gradient recording in this thread.

    Examples
    --------
    >>> import lucid
    >>> w = lucid.ones(3, requires_grad=True)
    >>> with lucid.no_grad():
    ...     y = w * 2
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):  # noqa: N801
    """Context manager and decorator that enables gradient recording, e.g. inside `no_grad`."""

    def __init__(self) -> None:
        super().__init__(True)
