"""Option ``--max-pixels``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from lucid.vision.pixel_limit import MAX_PIXELS_VARIABLE

__all__ = ["max_pixels_option"]


def max_pixels_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--max-pixels``.

    The limit is set as an environment variable while the command runs, so that worker
    processes use it too.
    """
    return click.option(
        "--max-pixels",
        type=click.IntRange(1),
        metavar="N",
        expose_value=False,
        callback=_set_limit,
        help="Maximum number of pixels per image; larger images are rejected before decoding.  "
        f"[default: {MAX_PIXELS_VARIABLE}, or Pillow's 89478485]",
    )(command)


def _set_limit(ctx: click.Context, parameter: click.Parameter, value: int | None) -> None:
    if value is None:
        return
    before = os.environ.get(MAX_PIXELS_VARIABLE)

    def restore() -> None:
        if before is None:
            os.environ.pop(MAX_PIXELS_VARIABLE, None)
        else:
            os.environ[MAX_PIXELS_VARIABLE] = before

    ctx.call_on_close(restore)
    os.environ[MAX_PIXELS_VARIABLE] = str(value)
