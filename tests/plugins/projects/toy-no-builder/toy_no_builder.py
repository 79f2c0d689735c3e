"""Registers models whose builders are in no module and in no function."""

import lucid


@lucid.hookimpl
def lucid_register_models(register):
    """Register two models that cannot be built."""
    for name, place in (
        ("toy_no_function", "toy_no_builder:renamed_since"),
        ("toy_no_package", "toy_no_builder_networks.small:net"),
    ):
        register(
            name,
            place,
            task="image-classification",
            family="toy",
            total_parameters=6,
            summary="Cannot be built",
        )
