from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.weights import identify_weights
from lucid_models_classification import resnet_18, resnet_50
from lucid_models_classification.resnet import ARCHITECTURES
from lucid_models_classification.resnet_converter import converter
from lucid_models_classification.torchvision import torchvision_state_dict


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.weight", "stem.conv.weight"),
        ("bn1.running_var", "stem.norm.running_var"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.conv.weight"),
        ("layer3.22.bn3.bias", "layer3.22.conv3.norm.bias"),
        ("layer2.0.downsample.0.weight", "layer2.0.downsample.conv.weight"),
        ("layer2.0.downsample.1.running_mean", "layer2.0.downsample.norm.running_mean"),
        ("fc.weight", "fc.weight"),
        ("fc.bias", "fc.bias"),
    ],
)
def test_names_translate_both_ways(theirs: str, ours: str) -> None:
    assert converter.rename(theirs) == ours
    assert converter.export_key(ours) == theirs


def test_keys_round_trip() -> None:
    keys = list(resnet_50(num_classes=2).state_dict())
    theirs = [converter.export_key(key) for key in keys]
    assert len(set(theirs)) == len(keys)
    assert [converter.rename(key) for key in theirs] == keys
    assert not any(key.startswith("stem") or ".conv." in key for key in theirs)


def identify(state: Any) -> tuple[str, dict[str, Any]]:
    found = identify_weights(state, task="image-classification")
    assert found is not None
    return found.name, found.arguments


def shapes_of(name: str) -> dict[str, np.ndarray]:
    """Arrays without memory that identify a network, by torchvision's names."""
    shape = ARCHITECTURES[name]
    found = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (5, 512 * shape.block.expansion)}
    for stage, depth in enumerate(shape.depths, 1):
        width = 64 * 2 ** (stage - 1) * shape.width_per_group // 64 * shape.groups
        for i in range(depth):
            block = f"layer{stage}.{i}."
            found[f"{block}conv2.weight"] = (width, width // shape.groups, 3, 3)
            if shape.block.expansion == 4:
                found[f"{block}conv3.weight"] = (64 * 2 ** (stage + 1), width, 1, 1)
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in found.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_are_identified_by_weights(name: str) -> None:
    assert identify(shapes_of(name)) == (name, {"in_channels": 3, "num_classes": 5})


@pytest.mark.parametrize("build", [resnet_18, resnet_50])
def test_built_models_are_identified_by_both_names(build: Callable[..., lucid.nn.Module]) -> None:
    model = build(num_classes=7, in_channels=1)
    expected = (build.__name__, {"in_channels": 1, "num_classes": 7})
    assert identify(model.state_dict()) == expected
    assert identify(torchvision_state_dict(model)) == expected


def test_other_networks_are_not_identified() -> None:
    shapes = shapes_of("resnet_50")
    del shapes["fc.weight"]
    assert identify(shapes) == ("resnet_50", {"in_channels": 3})

    deeper = {**shapes, "layer4.3.conv2.weight": shapes["layer4.2.conv2.weight"]}
    with pytest.raises(lucid.StateDictError, match=r"registered ResNet, got \(3, 4, 6, 4\) blocks"):
        identify(deeper)
    wider = {k: np.zeros((96, 96, 3, 3)) if "conv2" in k else v for k, v in shapes.items()}
    with pytest.raises(lucid.StateDictError, match="1 groups of width 96"):
        identify(wider)
    for other in ({"features.0.weight": np.zeros(2)}, {"layer1.0.conv2.weight": np.zeros(4)}):
        assert identify_weights(other) is None
