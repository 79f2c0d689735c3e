"""Check of the protocol of a model's task."""

from __future__ import annotations

import re

import pytest

from lucid.testing.plugin_checks import CheckError, check_protocol

CLASSIFIER = '''
class Net(nn.Module):
    head_prefixes = ("top.",)
    {members}

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.one = nn.Conv2d(1, 2, 2, stride=2)
        self.two = nn.Conv2d(2, 3, 2, stride=2)
        self.top = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.top(self.two(self.one(x)).mean(axis=(2, 3)))


def net({parameter}) -> Net:
    """A network with an argument num_classes."""
    return Net({argument})
'''

BACKBONE = """
    feature_channels = (2, 3)
    feature_strides = (2, 4)

    def features(self, x):
        one = self.one(x)
        return one, self.two(one)

    def stages(self):
        return self.one, self.two
"""

FIELDS = {"task": "image-classification", "input_shape": (1, 1, 8, 8)}


def source(
    members: str = "", parameter: str = "num_classes=2", argument: str = "num_classes"
) -> str:
    return CLASSIFIER.format(members=members, parameter=parameter, argument=argument)


def problem(tested) -> str:
    with pytest.raises(CheckError) as caught:
        check_protocol(tested)
    assert caught.value.advice
    assert "\n" not in caught.value.problem
    return caught.value.problem


@pytest.mark.parametrize("members", ["", BACKBONE])
def test_models_that_satisfy_protocols_pass(toy, members: str) -> None:
    tested = toy(source(members), **FIELDS)
    check_protocol(tested)
    assert tested.model.training
    assert tested.model.two.training


def test_model_of_other_task_passes(toy) -> None:
    check_protocol(toy())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (source('head_prefixes = ("top.weight",)'), "num_classes are top.bias, top"),
        (source('head_prefixes = ("t",)'), "num_classes are top.bias, top.weight"),
        (source('head_prefixes = ("one.",)'), r"head_prefixes is \('one\.',\)"),
        (source("head_prefixes = None"), "expected head_prefixes to be a tuple .* got None"),
        (source(parameter="classes=2", argument="classes"), r"net\(num_classes=3\) raised TypeE"),
        (source(parameter="num_classes=2", argument="2"), "num_classes=3, got 2"),
    ],
)
def test_invalid_classifier_fails(toy, code: str, expected: str) -> None:
    assert re.search(expected, problem(toy(code, **FIELDS)))


def test_classifier_without_members_fails(toy) -> None:
    code = "def net(num_classes=2) -> nn.Linear:\n    return nn.Linear(2, num_classes)"
    message = problem(toy(code, task="image-classification"))
    assert "the model net of class Linear, which lacks num_classes, head_prefixes" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("feature_strides = (2, 4)", "", "which lacks feature_strides"),
        ("(2, 3)", "(2, 4)", r"feature_channels is \(2, 4\), .*\(1, 2, 4, 4\), \(1, 3, 2, 2\)"),
        ("return one, self.two(one)", "return [one]", r"returns maps of shapes \(1, 2, 4, 4\)"),
        ("return one, self.two(one)", "raise KeyError('no')", r"features\(x\) of .* KeyError"),
        ("return self.one, self.two", "return self.one, self.one", "no common parameters"),
    ],
)
def test_invalid_backbone_fails(toy, old: str, new: str, expected: str) -> None:
    assert re.search(expected, problem(toy(source(BACKBONE.replace(old, new)), **FIELDS)))


def test_feature_maps_must_be_finest_first(toy) -> None:
    members = BACKBONE.replace("return one, self.two(one)", "return self.two(one), one")
    message = problem(toy(source(members.replace("(2, 3)", "(3, 2)")), **FIELDS))
    assert message.endswith("returns maps of shapes (1, 3, 2, 2), (1, 2, 4, 4)")
