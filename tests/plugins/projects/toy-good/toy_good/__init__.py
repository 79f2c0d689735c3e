"""A plugin as anyone may publish it."""
