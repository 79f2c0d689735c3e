"""Plugin that implements an unknown hook."""

import lucid


@lucid.hookimpl
def lucid_register_layers(register):
    """Never called."""
