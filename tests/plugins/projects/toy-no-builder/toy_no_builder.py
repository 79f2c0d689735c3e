"""Plugin that registers models with missing builders."""

import lucid


@lucid.hookimpl
def lucid_register_models(register):
    """Register two models that cannot be built."""
    for name, builder in (
        ("toy_no_function", "toy_no_builder:renamed_since"),
        ("toy_no_package", "toy_no_builder_networks.small:net"),
    ):
        register(
            name,
            builder,
            task="image-classification",
            family="toy",
            total_parameters=6,
            summary="Cannot be built",
        )
