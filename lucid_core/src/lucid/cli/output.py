"""Command output: aligned tables, JSON and warnings."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, TextIO

import click

from lucid.text import align_columns

__all__ = [
    "json_option",
    "printable",
    "printable_lines",
    "warn",
    "write",
    "write_json",
    "write_table",
]

_STDOUT = f"{__name__}.stdout"


def _keep_for_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Reserve stdout for the JSON; other prints go to stderr."""
    if value and _STDOUT not in ctx.meta:
        ctx.meta[_STDOUT] = sys.stdout
        ctx.with_resource(redirect_stdout(sys.stderr))
    return value


#: Option ``--json``.  Commands that have it write with :func:`write` or :func:`write_json`.
json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_keep_for_json, help="Write JSON instead of text."
)


def write(text: str, newline: bool = True) -> None:
    """Write text to the stdout that ``--json`` reserves."""
    ctx = click.get_current_context(silent=True)
    stdout: TextIO | None = sys.stdout if ctx is None else ctx.meta.get(_STDOUT, sys.stdout)
    if stdout is not None:  # closed
        click.echo(text, file=stdout, nl=newline)


def write_json(data: Any) -> None:
    """Write `data` as indented JSON; NaN and infinity become null."""
    write(json.dumps(_without_nan(data), indent=2, allow_nan=False))


def _without_nan(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    return [_without_nan(value) for value in data] if isinstance(data, list | tuple) else data


def printable(text: str) -> str:
    """Escape line breaks, control characters and undecodable bytes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def printable_lines(text: str) -> str:
    """Escape each line as :func:`printable` and drop empty lines."""
    lines = (line.expandtabs().rstrip() for line in text.strip().split("\n"))
    return "\n".join(printable(line) for line in lines if line)


def write_table(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> None:
    """Write aligned columns; those in `right` are right-aligned."""
    for line in align_columns([[printable(cell) for cell in row] for row in rows], right):
        click.echo(line)


def warn(message: str) -> None:
    """Write a warning line to stderr."""
    click.echo(f"lucid: warning: {printable_lines(message)}", err=True)
