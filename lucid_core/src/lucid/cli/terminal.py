"""Standard streams that are closed, full, broken pipes or not UTF-8."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = ["PipeError", "flush_output", "is_broken_pipe", "standard_streams", "wrap_broken_pipes"]


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make stdout and stderr usable inside the block.

    Characters that the encoding lacks are escaped.  Closed descriptors are opened on the null
    device: otherwise the next file would become standard output, and prints would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    streams = sys.stdout, sys.stderr
    errors = [getattr(stream, "errors", None) for stream in streams]
    for stream in streams:
        _set_errors(stream, "backslashreplace")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream, before in zip(streams, errors, strict=True):
            _set_errors(stream, before)


def _set_errors(stream: Any, errors: str | None) -> None:
    if isinstance(stream, io.TextIOWrapper) and errors is not None:
        with suppress(OSError, ValueError):  # its buffer cannot be flushed
            stream.reconfigure(errors=errors)


class PipeError(Exception):
    """Wrapper of a :class:`BrokenPipeError`, at which click would exit silently."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def wrap_broken_pipes() -> Iterator[None]:
    """Raise a :class:`PipeError` in place of a :class:`BrokenPipeError`."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeError(error) from error


def is_broken_pipe(error: OSError) -> bool:
    """Whether the reader of stdout or stderr has closed the pipe."""
    streams = sys.stdout, sys.stderr
    return isinstance(error, BrokenPipeError) and any(map(_is_pipe_broken, streams))


def _is_pipe_broken(stream: TextIO | None) -> bool:
    if (descriptor := _descriptor(stream)) is None:
        return False
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def flush_output() -> OSError | None:
    """Flush stdout and stderr; return the error of a failure.

    The stream is then redirected to the null device, as the interpreter flushes it again at exit.
    """
    failure = None
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            failure = error
            if (descriptor := _descriptor(stream)) is not None:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)
    return failure


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # captured, or closed
        return None
