"""Options of commands that load weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["ema_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def ema_option(command: Command) -> Command:
    """Give a command ``--ema/--no-ema``: argument ``ema``, None by default."""
    return click.option(
        "--ema/--no-ema",
        default=None,
        help="For a checkpoint with an exponential moving average (EMA) of the weights: use the "
        "EMA, or the weights themselves.  [default: the EMA where there is one]",
    )(command)
