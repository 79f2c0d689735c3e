"""Plugin whose builder returns a dict."""

import lucid


@lucid.hookimpl
def lucid_register_models(register):
    """Register ``toy_no_module``."""
    register(
        "toy_no_module",
        "toy_no_module:toy_no_module",
        task="image-classification",
        family="toy",
        total_parameters=6,
        summary="Not a model",
        input_shape=(1, 2),
    )


def toy_no_module():
    """Return a dict instead of a module."""
    return {"weight": [1.0, 2.0]}
