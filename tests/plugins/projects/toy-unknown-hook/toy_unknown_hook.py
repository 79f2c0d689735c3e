"""Implements what a Lucid of another time may have."""

import lucid


@lucid.hookimpl
def lucid_register_layers(register):
    """Never called."""
