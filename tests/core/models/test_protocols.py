from __future__ import annotations

from typing import Any, Protocol

import pytest

import lucid
from lucid import nn
from lucid.models import (
    Backbone,
    Classifier,
    check_backbone,
    check_classifier,
    head_keys,
    missing_members,
    protocols,
)


class Net(nn.Module):
    """A classifier with other layer names than those of the plugins."""

    head_prefixes: Any = ("top.", "scale")
    feature_channels: Any = (4, 8)
    feature_strides: Any = (2, 4)

    def __init__(self, num_classes: Any = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.one = nn.Conv2d(3, 4, 2, stride=2)
        self.two = nn.Conv2d(4, 8, 2, stride=2)
        self.top = nn.Linear(8, 3)
        self.scale = nn.Parameter(lucid.ones(3))

    def features(self, x: lucid.Tensor) -> list[lucid.Tensor]:
        one = self.one(x)
        return [one, self.two(one)]

    def stages(self) -> Any:
        return [self.one, self.two]

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return self.top(self.features(x)[-1].mean(axis=(2, 3))) * self.scale


def test_model_with_members_satisfies_protocols() -> None:
    net = Net()
    assert isinstance(net, Classifier)
    assert isinstance(net, Backbone)
    assert check_classifier(net) is net
    assert check_backbone(net) is net
    assert missing_members(net, Classifier) == missing_members(net, Backbone) == []
    assert not isinstance(nn.Linear(2, 2), Classifier)


def test_missing_members_are_in_protocol_order() -> None:
    linear = nn.Linear(2, 2)
    assert missing_members(linear, Classifier) == ["num_classes", "head_prefixes"]
    members = ["feature_channels", "feature_strides", "features()", "stages()"]
    assert missing_members(linear, Backbone) == members
    net = Net()
    net.stages = 3
    assert missing_members(net, Backbone) == ["stages()"]


def test_missing_members_of_derived_protocol() -> None:
    class Detector(Classifier, Protocol):
        score_threshold: float

        def predict(self) -> None: ...

    assert missing_members(Net(), Detector) == ["score_threshold", "predict()"]


def test_error_names_model_class_and_missing_members() -> None:
    with pytest.raises(lucid.ProtocolError) as caught:
        check_backbone(nn.Linear(2, 2))
    text = str(caught.value)
    assert "expected a backbone, got a Linear, which lacks feature_channels, feature_str" in text
    assert "stages()" in text
    assert "\n" not in text
    linear = nn.Linear(2, 2)
    linear.model_name = "straight"
    with pytest.raises(TypeError, match="the model straight of class Linear, which lacks num_cl"):
        check_classifier(linear)


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("num_classes", 0, "num_classes to be a positive int, got 0"),
        ("num_classes", True, "num_classes to be a positive int, got True"),
        ("head_prefixes", "top.", r"head_prefixes to be a tuple .* got 'top\.'"),
        ("head_prefixes", (), r"head_prefixes to be a tuple .* got \(\)"),
        ("head_prefixes", ("top.", "fc."), r"head_prefixes .* got \('top\.', 'fc\.'\)"),
        ("head_prefixes", ("",), "head_prefixes"),
    ],
)
def test_invalid_classifier_members_are_rejected(member, value, expected) -> None:
    net = Net()
    setattr(net, member, value)
    with pytest.raises(lucid.ProtocolError, match=f"a Net: expected {expected}"):
        check_classifier(net)


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("feature_channels", [4, 8], r"feature_channels to be a tuple .* got \[4, 8\]"),
        ("feature_channels", (4, 0), r"feature_channels .* got \(4, 0\)"),
        ("feature_strides", (2,), r"feature_strides to be 2 positive ints, .* got \(2,\)"),
        ("feature_strides", None, "feature_strides to be 2 positive ints, .* got None"),
        ("stages", list, r"stages\(\) to return a non-empty sequence .* got \[\]"),
        ("stages", lambda: [3], r"stages\(\) to return a non-empty sequence .* got \[3\]"),
        ("stages", lambda: [SHARED, SHARED], r"stages\(\) to have no common parameters"),
    ],
)
def test_invalid_backbone_members_are_rejected(member, value, expected) -> None:
    net = Net()
    setattr(net, member, value)
    with pytest.raises(lucid.ProtocolError, match=f"a Net: expected {expected}"):
        check_backbone(net)


SHARED = nn.Linear(2, 2)


def test_protocol_names_are_public_and_reserved() -> None:
    assert set(protocols.__all__) <= set(lucid.models.__all__)
    assert set(protocols.__all__) <= lucid.models.zoo.RESERVED


def test_head_keys_are_those_of_the_head():
    model = nn.Module()
    model.body, model.top = nn.Linear(3, 4), nn.Linear(4, 2)
    model.num_classes, model.head_prefixes = 2, ("top.",)
    assert head_keys(model) == ["top.weight", "top.bias"]
    del model.head_prefixes
    with pytest.raises(lucid.ProtocolError, match="a Module, which lacks head_prefixes"):
        head_keys(model)
