"""A plugin with one model, correct by default, for tests of the plugin checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lucid.testing.plugin_checks import ModelUnderTest

PLUGIN = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    register("net", "toy.builders:net", **{fields!r})
"""

FIELDS = {
    "task": "testing",
    "family": "toy",
    "total_parameters": 6,
    "summary": "A model to test with",
    "input_shape": (1, 2),
}

HEAD = """
import lucid
import numpy as np
from lucid import nn
from lucid.nn import functional as F

"""

#: A builder that passes all checks.
GOOD = '''
def net(width: int = 2) -> nn.Linear:
    """A linear layer.

    Parameters
    ----------
    width : int, default 2
        Number of outputs.
    """
    return nn.Linear(2, width)
'''


@pytest.fixture
def toy(environment) -> Callable[..., ModelUnderTest]:
    """Function that installs the distribution ``toy`` and returns its model."""

    def install(builders: str = GOOD, *, plugin: str = "", **fields: Any) -> ModelUnderTest:
        source = PLUGIN.format(fields=FIELDS | fields)
        environment.add("toy", plugin=plugin + source, builders=HEAD + builders)
        return ModelUnderTest("net")

    return install
