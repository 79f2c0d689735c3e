"""The command line, ``lucid``: commands of the core, and those plugins add by hook."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lucid`` and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``lucid``; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0 if all went well, 2 for bad input, 130 after Ctrl-C, 1 for anything else.
    """
    try:
        from lucid.cli.entry_point import run

        return run(arguments)
    except KeyboardInterrupt:  # before there was anything to interrupt
        return 130
