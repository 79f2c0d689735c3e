"""Detect scripts without a main guard.

A spawned process imports the main module first.  Without ``if __name__ == "__main__":`` it would
start workers itself.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.connection import Connection

__all__ = ["NO_GUARD", "check_main_guard", "exit_if_importing_main", "main_guard_hint"]

#: Exit code of a process that would start workers while importing the main module.
NO_GUARD = 79


def main_guard_hint() -> str:
    """Return the remedy for a missing guard, with the name of the script."""
    script = getattr(sys.modules["__main__"], "__file__", None) or "the main module"
    return (
        f"worker processes import {script}; put its code under `if __name__ == '__main__':`, or "
        "they would start workers themselves"
    )


def exit_if_importing_main() -> None:
    """Exit silently if this process is importing the main module; its parent reports it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(NO_GUARD)


def check_main_guard() -> None:
    """Raise RuntimeError if a new process cannot import the main module."""
    from lucid.data.workers import block_sigint

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with block_sigint():
        process = context.Process(target=_answer, args=(theirs,), daemon=True)
        process.start()
    theirs.close()
    try:
        ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(main_guard_hint()) from None
    finally:
        ours.close()
        process.join()


def _answer(pipe: Connection) -> None:
    pipe.send(None)
