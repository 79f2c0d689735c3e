"""Plugin whose command hook exits."""

import lucid
from lucid import nn


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_broken_command``."""
    register(
        "toy_broken_command",
        "toy_broken_command:toy_broken_command",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="Valid model; its commands fail",
        input_shape=(1, 2),
    )


@lucid.hookimpl
def lucid_register_commands(cli):
    """Add a command, then fail."""
    cli.command("toy-lost")(lambda: None)
    raise SystemExit("no commands today")


def toy_broken_command() -> nn.Linear:
    """Build a layer."""
    return nn.Linear(2, 2)
