"""Checks for those who write operations, models and plugins."""

from lucid.testing.gradcheck import gradcheck

__all__ = ["gradcheck"]
