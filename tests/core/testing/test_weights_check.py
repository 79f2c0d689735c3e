"""Check of the published weights that a plugin registers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lucid.testing.plugin_checks import CheckError, check_weights
from lucid.weights import CatalogEntry

NETWORK = """
from lucid import nn

NAMES = ("cat", "dog")
NUMBER = 2

class Net(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(2, num_classes)
        self.num_classes = num_classes

def net(num_classes: int = 2) -> Net:
    return Net(num_classes)

def plain(width: object = 2) -> nn.Linear:
    return nn.Linear(2, 2)
"""

PLUGIN = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name in ("net", "plain"):
        register(
            name, "toy.builders:" + name, task="testing", family="toy", total_parameters=6,
            summary="A model to test with", aliases=(name + "_1",),
        )
"""

CONVERTERS = """
import lucid

@lucid.hookimpl
def lucid_register_weight_converters(register):
    for name in ("net", "plain"):
        register(
            "foreign-" + name, "absent:converter", source="other", task="testing", models=[name]
        )
"""


@pytest.fixture
def entry(environment) -> CatalogEntry:
    """Valid weights of the model ``net``; another plugin has the converters."""
    environment.add("toy", plugin=PLUGIN, builders=NETWORK)
    environment.add("other", plugin=CONVERTERS, entry_point="other")
    return CatalogEntry(
        "net",
        "v1",
        "https://example.org/net.npz",
        "0" * 64,
        1,
        "MIT",
        "toy",
        classes="toy.builders:NAMES",
        preprocessing={"mean": [0.5, 0.5, 0.5], "size": 32},
        arguments={"num_classes": 2},
        converter="foreign-net",
        origin="toy 1.0",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "net_1"},
        {"arguments": {}},
        {"classes": None, "preprocessing": None, "converter": None},
        {"model": "plain", "converter": "foreign-plain", "arguments": {}},  # no num_classes
    ],
)
def test_weights_that_fit_pass(entry, fields) -> None:
    check_weights(replace(entry, **fields))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": "nets"}, "the weights v1 are for the model 'nets', which is not registered"),
        ({"converter": "absent"}, r"a converter registered for net \(foreign-net\), got 'absent'"),
        ({"converter": "foreign-plain"}, r"for net \(foreign-net\), got 'foreign-plain'"),
        ({"classes": "toy.builders:ABSENT"}, "toy.builders:ABSENT' cannot be imported"),
        ({"classes": "toy.builders:NUMBER"}, "NUMBER.: expected a sequence of str, got 2"),
        ({"arguments": {"depth": 2}}, r"net\(depth=2\) raised TypeError: .*'depth'"),
        ({"arguments": {"num_classes": -1}}, r"net\(num_classes=-1\) raised ValueError"),
        ({"arguments": {"num_classes": 3}}, r"expected 3 class names for net\(num_c.*, got 2 of"),
        ({"preprocessing": {"mean": {0.5}}}, "preprocessing 'mean' must be numbers, strings"),
        ({"model": "plain", "converter": None, "arguments": {"width": {2}}}, "'width' must be"),
    ],
)
def test_weights_that_do_not_fit_fail(entry, fields, problem) -> None:
    with pytest.raises(CheckError, match=problem):
        check_weights(replace(entry, **fields))
