"""Checks for authors of operations, models and plugins.

``gradcheck``       compare gradients with finite differences
``plugin_checks``   conformance checks of plugins and models
``ExampleBatch``    training batch and loss of a model for these checks
"""

from lucid.hints import add_hints
from lucid.testing.example_batch import ExampleBatch
from lucid.testing.gradcheck import gradcheck

__all__ = ["ExampleBatch", "gradcheck"]

add_hints(globals())
