"""What commands that train have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

__all__ = ["given_options", "interruptible"]


def given_options(ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that were given, and not left at their defaults."""
    return {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


@contextmanager
def interruptible(command: str, output: Path) -> Iterator[None]:
    """On Ctrl-C, say how to go on with the training in ``output``."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            f"stopped; lucid {command} --output {output} --resume goes on from here", err=True
        )
        raise
