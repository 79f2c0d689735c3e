"""Plugin whose hook has the parameter ``registry`` instead of ``register``."""

import lucid


@lucid.hookimpl
def lucid_register_models(registry):
    """Never called."""
    registry.add("toy_wrong_signature")
