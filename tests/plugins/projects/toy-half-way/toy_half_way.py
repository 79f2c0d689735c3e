"""Plugin whose hook fails after it registered a model, which must be dropped."""

import lucid
from lucid import nn


@lucid.hookimpl
def lucid_register_models(register):
    """Register one model, then fail."""
    register(
        "toy_half_way",
        "toy_half_way:toy_half_way",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="Never listed",
        input_shape=(1, 2),
    )
    raise RuntimeError("half way through the hook")


def toy_half_way() -> nn.Linear:
    """Build a layer."""
    return nn.Linear(2, 2)
