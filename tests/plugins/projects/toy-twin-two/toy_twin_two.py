"""One of two plugins that register ``toy_twin`` with the same entry point name."""

import lucid
from lucid import nn


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_twin``."""
    register(
        "toy_twin",
        "toy_twin_two:toy_twin",
        task="image-classification",
        family="toy",
        total_parameters=9,
        summary="Twin two",
        input_shape=(1, 2),
    )


def toy_twin() -> nn.Linear:
    """Build a layer."""
    return nn.Linear(2, 3)
