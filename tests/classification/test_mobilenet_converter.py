from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.models import create_model
from lucid_models_classification import (
    MobileNet,
    load_torchvision_weights,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    resnet_18,
)
from lucid_models_classification.mobilenet_converter import (
    CONVERTERS,
    timm_v2,
    v2,
    v3_large,
    v3_small,
)
from lucid_models_classification.torchvision import torchvision_state_dict


def as_torchvision(model: MobileNet) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in torchvision_state_dict(model).items()}


def shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: np.shape(value) for key, value in state.items()}


# Read off torchvision's state dicts.
@pytest.mark.parametrize(
    ("converter", "theirs", "ours"),
    [
        (v2, "features.0.0.weight", "layers.0.0.conv.weight"),
        (v2, "features.1.conv.0.0.weight", "layers.0.1.depthwise.conv.weight"),
        (v2, "features.1.conv.1.weight", "layers.0.1.project.conv.weight"),
        (v2, "features.1.conv.2.running_var", "layers.0.1.project.norm.running_var"),
        (v2, "features.2.conv.0.1.bias", "layers.1.0.expand.norm.bias"),
        (v2, "features.13.conv.2.weight", "layers.3.6.project.conv.weight"),
        (v2, "features.13.conv.3.weight", "layers.3.6.project.norm.weight"),
        (v2, "features.18.1.weight", "layers.5.0.norm.weight"),
        (v2, "classifier.1.weight", "classifier.1.weight"),
        (v3_large, "features.1.block.0.0.weight", "layers.0.1.depthwise.conv.weight"),
        (v3_large, "features.1.block.1.1.bias", "layers.0.1.project.norm.bias"),
        (v3_large, "features.4.block.2.fc2.bias", "layers.2.0.se.fc2.bias"),
        (v3_large, "features.4.block.3.0.weight", "layers.2.0.project.conv.weight"),
        (v3_large, "features.7.block.2.0.weight", "layers.3.0.project.conv.weight"),
        (v3_large, "features.16.0.weight", "layers.5.0.conv.weight"),
        (v3_large, "classifier.0.bias", "classifier.0.bias"),
        (v3_small, "features.1.block.1.fc1.weight", "layers.1.0.se.fc1.weight"),
        (v3_small, "features.1.block.2.0.weight", "layers.1.0.project.conv.weight"),
        (v3_small, "features.12.1.num_batches_tracked", "layers.5.0.norm.num_batches_tracked"),
    ],
)
def test_names_translate_both_ways(converter: Any, theirs: str, ours: str) -> None:
    assert converter.rename(theirs) == ours
    assert converter.export_key(ours) == theirs
    assert converter.has_key(theirs)
    assert converter.has_key(ours)
    assert not converter.has_key(f"module.{theirs}")


@pytest.mark.parametrize("name", CONVERTERS)
def test_keys_round_trip(name: str) -> None:
    converter, state = CONVERTERS[name], create_model(name, num_classes=2).state_dict()
    theirs = [converter.export_key(key) for key in state]
    assert len(set(theirs)) == len(state)
    assert [converter.rename(key) for key in theirs] == list(state)
    assert all(key.startswith(("features.", "classifier.")) for key in theirs)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mobilenet_v2", {}),
        ("mobilenet_v2", {"width_mult": 0.5}),
        ("mobilenet_v2", {"width_mult": 1.4}),
        ("mobilenet_v3_large", {}),
        ("mobilenet_v3_large", {"width_mult": 0.75}),
        ("mobilenet_v3_large", {"reduced_tail": True}),
        ("mobilenet_v3_small", {}),
        ("mobilenet_v3_small", {"width_mult": 0.5, "reduced_tail": True}),
    ],
)
def test_only_one_converter_identifies_a_model(name: str, arguments: dict[str, Any]) -> None:
    model = create_model(name, num_classes=7, in_channels=1, **arguments)
    expected = (name, {**arguments, "in_channels": 1, "num_classes": 7})
    for state in (model.state_dict(), as_torchvision(model)):
        for other, converter in CONVERTERS.items():
            found = converter.identify(shapes(state))
            assert found == (expected if other == name else None)


def test_unknown_width_gives_a_remedy() -> None:
    model = mobilenet_v2(num_classes=2, width_mult=0.6)
    with pytest.raises(
        lucid.StateDictError, match=r"mobilenet_v2 with a width_mult of 0\.25, 0\.35"
    ):
        v2.identify(shapes(model.state_dict()))
    other = mobilenet_v2(num_classes=2, width_mult=0.6)
    assert not load_torchvision_weights(other, as_torchvision(model)).missing


@pytest.mark.parametrize(
    "state",
    [
        {"features.0.0.weight": (8, 3, 3, 3), "classifier.1.weight": (5, 8)},
        {"features.0.weight": (64, 3, 11, 11), "classifier.1.weight": (4096, 9216)},
        {"fc.weight": (5, 8)},
        {},
    ],
)
def test_other_networks_are_not_identified(state: dict[str, tuple[int, ...]]) -> None:
    assert all(converter.identify(state) is None for converter in CONVERTERS.values())


def test_a_bare_file_of_torchvisions_names_opens(tmp_path: Path) -> None:
    source = mobilenet_v3_small(num_classes=3).eval()
    path = tmp_path / "mobilenet_v3_small.safetensors"
    state = as_torchvision(source)
    lucid.save({f"module.{key}": lucid.tensor(value) for key, value in state.items()}, path)
    model = lucid.load_model(path).eval()
    assert model.model_name == "mobilenet_v3_small"
    x = lucid.random.randn(1, 3, 32, 32)
    with lucid.no_grad():
        np.testing.assert_array_equal(model(x).numpy(), source(x).numpy())


def test_weights_load_into_a_model_with_other_options() -> None:
    theirs = as_torchvision(mobilenet_v3_large(num_classes=3))
    model = mobilenet_v3_large(num_classes=3, norm="frozen", dilated=True, out_indices=(13, 16))
    report = load_torchvision_weights(model, theirs)
    assert not report.missing
    assert not report.unexpected


def test_a_classifier_of_other_classes_is_an_error_or_skipped() -> None:
    theirs, model = as_torchvision(mobilenet_v2(num_classes=5)), mobilenet_v2(num_classes=3)
    with pytest.raises(lucid.StateDictError, match=r"classifier\.1\.weight.*\(3, 1280\)"):
        load_torchvision_weights(model, theirs)
    report = load_torchvision_weights(model, theirs, skip_mismatched=True)
    assert sorted(report.skipped) == ["classifier.1.bias", "classifier.1.weight"]


def test_weights_of_another_family_are_an_error() -> None:
    with pytest.raises(lucid.StateDictError, match=r"layers\.0\.0\.conv\.weight"):
        load_torchvision_weights(mobilenet_v2(num_classes=3), resnet_18(num_classes=3).state_dict())


# Read off timm's state dict of mobilenetv2_100.
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv_stem.weight", "layers.0.0.conv.weight"),
        ("bn1.running_mean", "layers.0.0.norm.running_mean"),
        ("blocks.0.0.conv_dw.weight", "layers.0.1.depthwise.conv.weight"),
        ("blocks.0.0.bn2.weight", "layers.0.1.project.norm.weight"),
        ("blocks.1.1.conv_pw.weight", "layers.1.1.expand.conv.weight"),
        ("blocks.4.0.conv_pwl.weight", "layers.3.4.project.conv.weight"),
        ("blocks.6.0.bn3.bias", "layers.4.3.project.norm.bias"),
        ("conv_head.weight", "layers.5.0.conv.weight"),
        ("bn2.weight", "layers.5.0.norm.weight"),
        ("classifier.bias", "classifier.1.bias"),
    ],
)
def test_names_of_timm_translate_both_ways(theirs: str, ours: str) -> None:
    assert timm_v2.rename(theirs) == ours
    assert timm_v2.export_key(ours) == theirs


@pytest.mark.parametrize("arguments", [{}, {"width_mult": 0.5}, {"width_mult": 1.4}])
def test_a_file_of_timm_opens(arguments: dict[str, Any], tmp_path: Path) -> None:
    source = mobilenet_v2(num_classes=3, **arguments).eval()
    own = source.state_dict()
    theirs = {timm_v2.export_key(key): value for key, value in own.items()}
    assert len(theirs) == len(own)
    assert not any(key.startswith("layers.") for key in theirs)
    path = tmp_path / "mobilenetv2_100.safetensors"
    lucid.save({f"model.{key}": value for key, value in theirs.items()}, path)
    model = lucid.load_model(path).eval()
    assert model.model_name == "mobilenet_v2"
    assert model.model_kwargs == {**arguments, "num_classes": 3, "in_channels": 3}
    x = lucid.random.randn(1, 3, 32, 32)
    with lucid.no_grad():
        np.testing.assert_array_equal(model(x).numpy(), source(x).numpy())


def test_timm_converter_identifies_timm_files_only() -> None:
    model = mobilenet_v2(num_classes=3)
    for state in (model.state_dict(), as_torchvision(model)):
        assert timm_v2.identify(shapes(state)) is None
    theirs = {timm_v2.export_key(key): value for key, value in model.state_dict().items()}
    assert all(converter.identify(shapes(theirs)) is None for converter in CONVERTERS.values())
    deeper = shapes(theirs) | {"blocks.6.1.conv_pw.weight": (1920, 320, 1, 1)}
    assert timm_v2.identify(deeper) is None
    assert not timm_v2.has_key("bn1.weight")
