"""Run the command line: errors become one-line messages and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from lucid.cli.did_you_mean import suggest_option
from lucid.cli.output import printable_lines, warn
from lucid.cli.terminal import PipeError, flush_output, is_broken_pipe, standard_streams
from lucid.errors import LucidError, LucidWarning

__all__ = ["RankError", "run"]

_BAD_INPUT = 2
_FAILED = 1
_INTERRUPTED = 128 + signal.SIGINT
_SIGNAL_CODES = (_INTERRUPTED, 128 + signal.SIGTERM)

#: Errors caused by user input; the message has the remedy.
_INPUT_ERRORS = (LucidError, ValueError, OSError)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run ``lucid``; see :func:`lucid.cli.main`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, given = _take_debug(given)
    with standard_streams():
        code = _run(given, debug)
        if (error := flush_output()) is not None and code == 0:
            code = _FAILED if is_broken_pipe(error) else _report_error(error, debug)
    return code


def _run(arguments: list[str], debug: bool) -> int:
    from lucid.cli.commands import cli

    try:
        with _plain_warnings():
            code = cli.main(args=arguments, prog_name="lucid", standalone_mode=False)
    except RankError as failure:
        code = _report_error(failure.error, debug, failure.where)
        failure.abort(code)
    except SystemExit as error:
        if type(error) is not SystemExit or (location := _location_in_model(error)) is None:
            raise  # SIGTERM, or a plugin command that exits
        message = f"model code called exit({error.code}), at {location}"
        return _report(message, _FAILED, debug)
    except PipeError as failure:
        return _FAILED if is_broken_pipe(failure.error) else _report_error(failure.error, debug)
    except Exception as error:
        return _report_error(error, debug)
    return code if isinstance(code, int) else 0


def _location_in_model(error: SystemExit) -> str | None:
    """Return file and line if a builder or forward raised the error, else None."""
    frames = list(traceback.walk_tb(error.__traceback__))
    modules = {frame.f_globals.get("__name__") for frame, _ in frames}
    if modules.isdisjoint(("lucid.models.builders", "lucid.nn.module")):
        return None
    frame, line = frames[-1]
    return f"{frame.f_code.co_filename}:{line}"


class RankError(Exception):
    """Error on one rank; the other ranks are aborted after it is reported.

    ``where`` is a prefix of the message, such as ``"rank 1: "``; ``abort(code)`` ends all ranks.
    """

    def __init__(self, error: BaseException, where: str, abort: Callable[[int], object]) -> None:
        super().__init__(str(error))
        self.error = error
        self.where = where
        self.abort = abort


def _report_error(error: BaseException, debug: bool, where: str = "") -> int:
    """Write an error to stderr and return the exit code."""
    message, code = _message(error, debug)
    return _report(where + message, code, debug)


def _message(error: BaseException, debug: bool) -> tuple[str, int]:
    if isinstance(error, click.Abort):  # click raises it for Ctrl-C and end of input
        if isinstance(error.__cause__ or error.__context__, EOFError):
            return "end of input at a prompt", _BAD_INPUT
        return "interrupted", _INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", _INTERRUPTED
    if isinstance(error, SystemExit):
        return "terminated", error.code if isinstance(error.code, int) else _FAILED
    if isinstance(error, click.NoSuchOption):
        return suggest_option(error), _BAD_INPUT
    if isinstance(error, click.ClickException):
        return error.format_message(), _BAD_INPUT
    if isinstance(error, _INPUT_ERRORS):
        return _describe(error), _BAD_INPUT
    if isinstance(error, FloatingPointError):  # training diverged
        return str(error), _FAILED
    if isinstance(error, MemoryError):
        return f"not enough memory {error}".rstrip(), _FAILED
    from lucid.models.suggestions import missing_module_hint

    if (remedy := missing_module_hint(error)) is not None:
        return f"{error}; {remedy}", _FAILED
    hint = "" if debug else " (run again with --debug for the traceback)"
    return f"{type(error).__name__}: {_describe(error)}{hint}", _FAILED


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Remove ``--debug`` from the arguments; it may be anywhere before ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(kept) < end, kept + arguments[end:]


def _report(message: str, code: int, debug: bool) -> int:
    """Write a message to stderr, with ``--debug`` after the traceback."""
    if debug:
        traceback.print_exc()
    kind = "" if code in _SIGNAL_CODES else "error: "
    with suppress(OSError):  # stderr is closed
        click.echo(f"lucid: {kind}{printable_lines(message)}", err=True)
    return code


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show Lucid's warnings as single lines, without file and source."""
    default = warnings.showwarning

    def show(message: Any, category: type[Warning], *location: Any, **more: Any) -> None:
        if issubclass(category, LucidWarning):
            warn(str(message))
        else:
            default(message, category, *location, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
