from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid_models_classification import resnet_18, resnet_50
from lucid_models_classification.resnet.builders import ARCHITECTURES
from lucid_models_classification.torchvision import (
    from_torchvision_key,
    infer_model,
    load_torchvision_weights,
    sizes_of,
    to_torchvision_key,
)


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
    assert from_torchvision_key(theirs) == ours
    assert to_torchvision_key(ours) == theirs


def test_every_entry_of_a_model_has_a_name_there_and_back() -> None:
    keys = list(resnet_50(num_classes=2).state_dict())
    theirs = [to_torchvision_key(key) for key in keys]
    assert len(set(theirs)) == len(keys)
    assert [from_torchvision_key(key) for key in theirs] == keys
    assert not any(key.startswith("stem") or ".conv." in key for key in theirs)


def as_torchvision(model: lucid.nn.Module) -> dict[str, np.ndarray]:
    return {to_torchvision_key(k): v.numpy().copy() for k, v in model.state_dict().items()}


def test_weights_load_from_arrays_and_from_a_file(tmp_path: Path) -> None:
    source, target = resnet_18(num_classes=3), resnet_18(num_classes=3)
    theirs = as_torchvision(source)
    load_torchvision_weights(target, theirs)
    x = lucid.random.randn(1, 3, 32, 32)
    with lucid.no_grad():
        np.testing.assert_array_equal(target.eval()(x).numpy(), source.eval()(x).numpy())

    path = tmp_path / "resnet18.safetensors"
    lucid.save({key: lucid.tensor(value) for key, value in theirs.items()}, path)
    other = resnet_18(num_classes=3)
    report = load_torchvision_weights(other, path)
    assert not report.missing
    assert not report.unexpected
    np.testing.assert_array_equal(other.fc.weight.numpy(), theirs["fc.weight"])


def test_a_batch_counter_more_or_less_is_no_obstacle() -> None:
    theirs = as_torchvision(resnet_18(num_classes=3))
    without = {k: v for k, v in theirs.items() if "num_batches_tracked" not in k}
    bns = [k.removesuffix("running_mean") for k in theirs if k.endswith("running_mean")]
    with_them = {**without, **{f"{k}num_batches_tracked": np.array(7) for k in bns}}
    for given in (without, with_them):
        for norm in ("batch", "frozen"):
            load_torchvision_weights(resnet_18(num_classes=3, norm=norm), given)


def test_a_classifier_of_other_classes_is_an_error_or_skipped() -> None:
    source, target = resnet_18(num_classes=5), resnet_18(num_classes=3)
    before = {k: v.numpy().copy() for k, v in target.state_dict().items()}
    with pytest.raises(lucid.StateDictError, match=r"fc\.weight.*\(3, 512\).*\(5, 512\)"):
        load_torchvision_weights(target, as_torchvision(source))
    for key, value in target.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])

    report = load_torchvision_weights(target, as_torchvision(source), skip_mismatched=True)
    assert sorted(report.skipped) == ["fc.bias", "fc.weight"]
    np.testing.assert_array_equal(target.fc.weight.numpy(), before["fc.weight"])
    np.testing.assert_array_equal(target.stem.conv.weight.numpy(), source.stem.conv.weight.numpy())


def test_another_architecture_is_an_error_that_lists_the_keys() -> None:
    with pytest.raises(lucid.StateDictError, match=r"layer1\.0\.conv3\.conv\.weight"):
        load_torchvision_weights(resnet_50(), as_torchvision(resnet_18()))


def shapes_of(name: str) -> dict[str, np.ndarray]:
    """What tells a network, as torchvision names it; arrays of that shape without memory."""
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
def test_every_model_is_told_by_its_weights(name: str) -> None:
    assert infer_model(shapes_of(name)) == (name, {"in_channels": 3, "num_classes": 5})


@pytest.mark.parametrize("build", [resnet_18, resnet_50])
def test_a_built_model_is_told_by_either_names(build: Callable[..., lucid.nn.Module]) -> None:
    model = build(num_classes=7, in_channels=1)
    expected = (build.__name__, {"in_channels": 1, "num_classes": 7})
    assert infer_model(model.state_dict()) == expected
    assert infer_model(as_torchvision(model)) == expected


def test_a_network_without_classifier_or_of_another_make_is_told_apart() -> None:
    shapes = shapes_of("resnet_50")
    del shapes["fc.weight"]
    assert infer_model(shapes) == ("resnet_50", {"in_channels": 3})
    assert sizes_of({"stem.conv.weight": np.zeros(3), "fc.weight": np.zeros(())}) == {}

    deeper = {**shapes, "layer4.3.conv2.weight": shapes["layer4.2.conv2.weight"]}
    with pytest.raises(ValueError, match=r"no registered ResNet has \(3, 4, 6, 4\) blocks of type"):
        infer_model(deeper)
    wider = {k: np.zeros((96, 96, 3, 3)) if "conv2" in k else v for k, v in shapes.items()}
    with pytest.raises(ValueError, match="1 groups of width 96"):
        infer_model(wider)
    for other in ({"features.0.weight": np.zeros(2)}, {"layer1.0.conv2.weight": np.zeros(4)}):
        with pytest.raises(ValueError, match="not named as those of a ResNet"):
            infer_model(other)
