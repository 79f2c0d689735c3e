"""The option ``--max-pixels`` of every command that reads images."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from lucid.vision.pixel_limit import MAX_PIXELS_VARIABLE

__all__ = ["max_pixels_option"]


def max_pixels_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--max-pixels``, the limit on the pixels of an image.

    While the command runs, the limit is in the environment, where ``read_image`` and the
    processes that the command starts find it.
    """
    return click.option(
        "--max-pixels",
        type=click.IntRange(1),
        metavar="N",
        expose_value=False,
        callback=_set_limit,
        help="Refuse images with more pixels, before they are decoded; raise it for large "
        f"images that you trust.  [default: {MAX_PIXELS_VARIABLE}, or Pillow's 89478485]",
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
