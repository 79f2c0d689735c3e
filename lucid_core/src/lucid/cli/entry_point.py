"""Running the command line: a plain message for an error, an exit code, no traceback."""

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
_ENDED_BY_SIGNAL = (_INTERRUPTED, 128 + signal.SIGTERM)

#: What a user's input raises: the message says what to change.
_INPUT_ERRORS = (LucidError, ValueError, OSError)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run ``lucid`` with `arguments` (those of the process by default); return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, given = _take_debug(given)
    with standard_streams():
        code = _run(given, debug)
        if (error := flush_output()) is not None and code == 0:
            code = _FAILED if is_broken_pipe(error) else _tell(error, debug)
    return code


def _run(arguments: list[str], debug: bool) -> int:
    from lucid.cli.commands import cli

    try:
        with _plain_warnings():
            code = cli.main(args=arguments, prog_name="lucid", standalone_mode=False)
    except RankError as failure:
        code = _tell(failure.error, debug, failure.where)
        failure.end(code)
    except SystemExit as error:
        if type(error) is not SystemExit or (place := _place_in_model(error)) is None:
            raise  # SIGTERM, or a command of a plugin that ends so
        message = f"the code of a model called exit({error.code}), at {place}"
        return _report(message, _FAILED, debug)
    except PipeError as failure:
        return _FAILED if is_broken_pipe(failure.error) else _tell(failure.error, debug)
    except Exception as error:
        return _tell(error, debug)
    return code if isinstance(code, int) else 0


def _place_in_model(error: SystemExit) -> str | None:
    """File and line that raised an error below a builder or forward; None for any other."""
    frames = list(traceback.walk_tb(error.__traceback__))
    modules = {frame.f_globals.get("__name__") for frame, _ in frames}
    if modules.isdisjoint(("lucid.models.builders", "lucid.nn.module")):
        return None
    frame, line = frames[-1]
    return f"{frame.f_code.co_filename}:{line}"


class RankError(Exception):
    """An error of one of several processes, which ends the others once it has been told.

    Parameters
    ----------
    error : BaseException
        What went wrong.
    where : str
        Which process it was, to stand before the message.
    end : callable
        ``end(code)`` ends them all.
    """

    def __init__(self, error: BaseException, where: str, end: Callable[[int], object]) -> None:
        super().__init__(str(error))
        self.error = error
        self.where = where
        self.end = end


def _tell(error: BaseException, debug: bool, where: str = "") -> int:
    """Tell of an error in a line; give the exit code."""
    message, code = _message(error, debug)
    return _report(where + message, code, debug)


def _message(error: BaseException, debug: bool) -> tuple[str, int]:
    if isinstance(error, click.Abort):  # how click passes on Ctrl-C, and the end of input
        if isinstance(error.__cause__ or error.__context__, EOFError):
            return "the input ended before the question was answered", _BAD_INPUT
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
    if isinstance(error, FloatingPointError):  # a training that diverged, as its message explains
        return str(error), _FAILED
    if isinstance(error, MemoryError):
        return f"not enough memory {error}".rstrip(), _FAILED
    from lucid.models.suggestions import missing_module_hint

    if (remedy := missing_module_hint(error)) is not None:
        return f"{error}; {remedy}", _FAILED
    hint = "" if debug else " (run again with --debug for the traceback)"
    return f"{type(error).__name__}: {_describe(error)}{hint}", _FAILED


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Take ``--debug`` out of the arguments: it may stand anywhere before ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(kept) < end, kept + arguments[end:]


def _report(message: str, code: int, debug: bool) -> int:
    """Say what went wrong on stderr, line by line as the message is; with ``--debug``, where."""
    if debug:
        traceback.print_exc()
    kind = "" if code in _ENDED_BY_SIGNAL else "error: "
    with suppress(OSError):  # nobody reads standard error
        click.echo(f"lucid: {kind}{printable_lines(message)}", err=True)
    return code


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show Lucid's warnings as lines for people, without file and source."""
    usual = warnings.showwarning

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, LucidWarning):
            warn(str(message))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
