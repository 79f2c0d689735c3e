"""Asks for ``registry``; the hook gives ``register``."""

import lucid


@lucid.hookimpl
def lucid_register_models(registry):
    """Never called."""
    registry.add("toy_wrong_signature")
