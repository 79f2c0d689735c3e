from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid_models_classification import resnet_18, resnet_50
from lucid_models_classification.torchvision import (
    load_torchvision_weights,
    torchvision_state_dict,
)


def as_torchvision(model: lucid.nn.Module) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in torchvision_state_dict(model).items()}


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


def test_num_batches_tracked_is_optional() -> None:
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


def test_wrong_architecture_lists_the_keys() -> None:
    with pytest.raises(lucid.StateDictError, match=r"layer1\.0\.conv3\.conv\.weight"):
        load_torchvision_weights(resnet_50(), as_torchvision(resnet_18()))
