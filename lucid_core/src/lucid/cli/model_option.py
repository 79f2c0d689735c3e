"""The option that names a registered model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lucid.models import model_info

__all__ = ["model_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def model_option(help: str, argument: str = "model") -> Callable[[Command], Command]:
    """Give a command ``--model NAME``; an alias becomes the name it resolves to.

    Parameters
    ----------
    help : str
        Text of ``--help``.
    argument : str, default "model"
        Argument of the function.
    """
    return click.option("--model", argument, metavar="NAME", help=help, callback=_registered_name)


def _registered_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else model_info(value).name
