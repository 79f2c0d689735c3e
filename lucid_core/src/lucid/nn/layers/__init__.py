"""Layers of :mod:`lucid.nn`, one kind per module."""
