"""Hooks."""

import lucid


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_heavy``."""
    register(
        "toy_heavy",
        "toy_heavy.builders:toy_heavy",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="Cheap to list, expensive to build",
        input_shape=(1, 2),
    )
