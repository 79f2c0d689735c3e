"""Plugin with the same entry point name as the classification plugin."""

import lucid
from lucid import nn


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_namesake``."""
    register(
        "toy_namesake",
        "toy_namesake:toy_namesake",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="A model of the namesake",
        input_shape=(1, 2),
    )


def toy_namesake() -> nn.Linear:
    """Build a layer."""
    return nn.Linear(2, 2)
