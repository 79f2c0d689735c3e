"""The command line ``lucid``: core commands, and commands that plugins add."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lucid`` with `arguments` (default ``sys.argv[1:]``) and return its exit code.

    0 on success, 2 for bad input, 130 after Ctrl-C, 1 for other errors.
    """
    try:
        from lucid.cli.entry_point import run

        return run(arguments)
    except KeyboardInterrupt:  # during the imports
        return 130
