"""Commands run from Python, for the checks of plugins."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from lucid.cli.entry_point import run
from lucid.testing.model_under_test import CheckError, seeded

__all__ = ["run_command"]


def run_command(*arguments: object, advice: str) -> str:
    """Run a ``lucid`` command in this process.

    Parameters
    ----------
    *arguments : object
        Name of the command and its arguments, converted to text.
    advice : str
        What to do if it fails.

    Returns
    -------
    str
        What it wrote to standard output.

    Raises
    ------
    lucid.testing.plugin_checks.CheckError
        If its exit code is not 0; has the last line of standard error.
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
            raise CheckError(
                f"lucid {words[0]} was ended by a call of exit({error.code})", advice
            ) from error
    written, errors = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    if code != 0:
        said = (errors.strip() or "nothing").splitlines()[-1]
        raise CheckError(f"lucid {words[0]} ended with code {code} and said: {said}", advice)
    return str(written)
