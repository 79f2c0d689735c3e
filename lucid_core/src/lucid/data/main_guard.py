"""Scripts without a main guard, which worker processes would run once more.

A spawned process imports the main module before it begins.  Without
``if __name__ == "__main__":`` it comes to the line that starts workers, too.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.connection import Connection

__all__ = ["NO_GUARD", "check_main_guard", "exit_if_importing_main", "main_guard_hint"]

#: Exit code of a process that came to start workers while it imported the main module.
NO_GUARD = 79


def main_guard_hint() -> str:
    """What to do about a missing guard; names the script."""
    script = getattr(sys.modules["__main__"], "__file__", None) or "the main module"
    return (
        f"worker processes import {script}: put what it does under `if __name__ == '__main__':`, "
        "or they would start workers themselves"
    )


def exit_if_importing_main() -> None:
    """End a process that is about to start workers while it imports the main module.

    It ends in silence: its parent says what to do.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(NO_GUARD)


def check_main_guard() -> None:
    """Start a process and see whether it gets through importing the main module.

    Raises
    ------
    RuntimeError
        If it does not; with :func:`main_guard_hint`.
    """
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
