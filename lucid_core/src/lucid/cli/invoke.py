"""Run commands in this process, for the plugin checks."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from lucid.cli.entry_point import run
from lucid.testing.tested_model import CheckError, seeded

__all__ = ["run_command"]


def run_command(*arguments: object, advice: str) -> str:
    """Run a ``lucid`` command in this process and return its standard output.

    If it fails, the :class:`~lucid.testing.plugin_checks.CheckError` has the last line of stderr
    and ``advice``, the remedy.
    """
    words = [*map(str, arguments)]
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)
    )
    with seeded(), redirect_stdout(out), redirect_stderr(err):
        try:
            code = run(words)
        except SystemExit as error:
            if type(error) is not SystemExit:
                raise  # SIGTERM
            raise CheckError(f"lucid {words[0]} called exit({error.code})", advice) from error
    written, errors = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    if code != 0:
        said = (errors.strip() or "nothing").splitlines()[-1]
        raise CheckError(f"lucid {words[0]} failed with exit code {code}: {said}", advice)
    return str(written)
