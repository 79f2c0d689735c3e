"""Checks for those who write operations, models and plugins.

``gradcheck``       derivatives held against differences
``plugin_checks``   the conformance kit: what every plugin and model has to do
``ExampleBatch``    a training batch with a loss of its own, for that kit
"""

from lucid.hints import add_hints
from lucid.testing.example_batch import ExampleBatch
from lucid.testing.gradcheck import gradcheck

__all__ = ["ExampleBatch", "gradcheck"]

add_hints(globals())
