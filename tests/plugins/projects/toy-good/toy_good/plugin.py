"""Hooks; imports neither the network nor click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lucid

if TYPE_CHECKING:
    import click

    from lucid.models.hookspecs import RegisterModel


@lucid.hookimpl
def lucid_register_models(register: RegisterModel) -> None:
    """Register ``toy_good``."""
    register(
        "toy_good",
        "toy_good.builders:toy_good",
        task="image-classification",
        family="toy",
        total_parameters=772,
        summary="A linear classifier of small color images",
        input_shape=(1, 3, 8, 8),
    )


@lucid.hookimpl
def lucid_register_commands(cli: click.Group) -> None:
    """Add ``lucid toy-hello``."""
    import click

    @cli.command("toy-hello")
    @click.argument("name")
    def hello(name: str) -> None:
        """Greet NAME."""
        click.echo(f"hello, {name}")
