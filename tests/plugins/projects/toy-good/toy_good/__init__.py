"""A valid plugin."""
