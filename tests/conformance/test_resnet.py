"""Comparison of ResNets with torchvision, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from classifier_pairs import fit_norms, images, relative_error
from parity import CLASSIFIERS
from torchvision_cpu import torchvision

import lucid
from lucid import nn
from lucid_models_classification.resnet_converter import converter
from lucid_models_classification.torchvision import load_torchvision_weights

#: Each model is registered with torchvision's name as its first alias.
THEIR_NAMES = {
    name: lucid.models.model_info(name).aliases[0]
    for name in lucid.models.list_models(["*resnet*", "*resnext*"], task="image-classification")
}


def pair(name: str, *, seed: int = 0, dilate: Any = None) -> tuple[Any, Any]:
    """The same network in torchvision and Lucid, with random normalizations."""
    torch.manual_seed(seed)
    theirs = getattr(torchvision.models, THEIR_NAMES[name])(
        weights=None, num_classes=50, replace_stride_with_dilation=dilate
    )
    fit_norms(theirs)
    options = {} if dilate is None else {"dilate": dilate}
    ours = lucid.models.create_model(name, num_classes=50, **options)
    report = load_torchvision_weights(ours, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    return ours, theirs


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_parameter_counts_are_equal(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, THEIR_NAMES[name])(weights=None)
    ours = lucid.models.create_model(name)
    count = sum(p.numel() for p in theirs.parameters())
    assert ours.parameter_size == ours.distinct_parameter_size == count
    assert lucid.models.model_info(name).total_parameters == count
    shapes = {converter.export_key(key): p.shape for key, p in ours.named_parameters()}
    assert shapes == {key: tuple(p.shape) for key, p in theirs.named_parameters()}


@pytest.mark.parametrize("name", ["resnet_18", "resnet_50", "resnext_50_32x4d", "wide_resnet_50_2"])
def test_logits_agree_in_evaluation(name: str) -> None:
    ours, theirs = pair(name)
    x = images(1, 224)
    with lucid.no_grad(), torch.no_grad():
        actual = ours.eval()(lucid.tensor(x))
        expected = theirs.eval()(torch.from_numpy(x))
    error = relative_error(actual, expected)
    CLASSIFIERS[name]["evaluation"] = error
    assert error < 1e-4


@pytest.mark.parametrize("name", ["resnet_18", "resnet_50", "resnext_50_32x4d", "wide_resnet_50_2"])
def test_logits_and_running_statistics_agree_in_training(name: str) -> None:
    """At the networks' own size: over the 36 values of a channel that 4 images of 96 pixels
    leave in the last stage, dividing by the batch's deviation magnifies rounding so much that
    PyTorch itself is 4e-5 away from its own result in double precision.
    """
    ours, theirs = pair(name)
    x = images(2, 224)
    actual = ours.train()(lucid.tensor(x))
    expected = theirs.train()(torch.from_numpy(x))
    statistics, logits = theirs.state_dict(), relative_error(actual, expected)
    errors = {
        key: relative_error(value, statistics[converter.export_key(key)])
        for key, value in ours.state_dict().items()
        if "running" in key
    }
    CLASSIFIERS[name] |= {"training": logits, "statistics": max(errors.values())}
    assert logits < 1e-4
    for key, error in errors.items():
        assert error < 1e-4, key


@pytest.mark.parametrize("size", [(33, 65), (64, 40), (1, 1)])
def test_odd_sizes_agree(size: tuple[int, int]) -> None:
    ours, theirs = pair("resnet_18")
    x = images(2, 65)[:, :, : size[0], : size[1]]
    with lucid.no_grad(), torch.no_grad():
        actual = ours.eval()(lucid.tensor(x))
        expected = theirs.eval()(torch.from_numpy(x.copy()))
    assert relative_error(actual, expected) < 1e-4


@pytest.mark.parametrize("dilate", [(False, False, True), (False, True, True), (True, False, True)])
def test_dilation_in_place_of_stride_agrees(dilate: tuple[bool, bool, bool]) -> None:
    ours, theirs = pair("resnet_50", dilate=list(dilate))
    names = ("layer1", "layer2", "layer3", "layer4")
    maps: dict[str, torch.Tensor] = {}
    for name in names:
        theirs.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: maps.__setitem__(name, output)
        )
    x = images(1, 96)
    with lucid.no_grad(), torch.no_grad():
        features = ours.eval().features(lucid.tensor(x))
        theirs.eval()(torch.from_numpy(x))
    for name, ours_at, channels, stride in zip(
        names, features, ours.feature_channels, ours.feature_strides, strict=True
    ):
        assert ours_at.shape == (1, channels, 96 // stride, 96 // stride)
        assert relative_error(ours_at, maps[name]) < 1e-4


def test_frozen_norms_agree_with_frozen_norms() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None, norm_layer=torchvision.ops.FrozenBatchNorm2d)
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torchvision.ops.FrozenBatchNorm2d):
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    ours = lucid.models.resnet_50(norm="frozen")
    load_torchvision_weights(ours, theirs.state_dict())
    x = images(2, 64)
    assert relative_error(ours(lucid.tensor(x)).detach(), theirs(torch.from_numpy(x))) < 1e-4
    trainable = sum(p.numel() for p in theirs.parameters())
    assert ours.parameter_size == trainable


@pytest.mark.parametrize("name", ["resnet_18", "resnext_50_32x4d"])
def test_every_gradient_agrees(name: str) -> None:
    """In float64, where rounding cannot hide a wrong derivative."""
    ours, theirs = pair(name)
    ours.to(np.float64).train()
    theirs.double().train()
    x, labels = images(2, 64, np.float64), np.array([7, 31])

    inputs = lucid.tensor(x, requires_grad=True)
    nn.functional.cross_entropy(ours(inputs), lucid.tensor(labels)).backward()
    their_inputs = torch.from_numpy(x).requires_grad_()
    torch.nn.functional.cross_entropy(theirs(their_inputs), torch.from_numpy(labels)).backward()

    expected = dict(theirs.named_parameters())
    assert relative_error(inputs.grad, their_inputs.grad) < 1e-8
    for key, parameter in ours.named_parameters():
        gradient = expected.pop(converter.export_key(key)).grad
        assert relative_error(parameter.grad, gradient) < 1e-8, key
    assert not expected


def test_ten_steps_of_training_agree() -> None:
    ours, theirs = pair("resnet_18")
    ours.to(np.float64).train()
    theirs.double().train()
    options = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    our_optimizer = lucid.optim.SGD(ours.parameters(), **options)
    their_optimizer = torch.optim.SGD(theirs.parameters(), **options)
    x, labels = images(4, 32, np.float64), np.array([1, 2, 3, 4])
    for _ in range(10):
        our_loss = nn.functional.cross_entropy(ours(lucid.tensor(x)), lucid.tensor(labels))
        our_optimizer.zero_grad()
        our_loss.backward()
        our_optimizer.step()
        their_loss = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(x)), torch.from_numpy(labels)
        )
        their_optimizer.zero_grad()
        their_loss.backward()
        their_optimizer.step()
        assert abs(our_loss.item() - their_loss.item()) < 1e-7 * abs(their_loss.item()) + 1e-9
    expected = theirs.state_dict()
    for key, value in ours.state_dict().items():
        if value.dtype.kind == "f":
            assert relative_error(value, expected[converter.export_key(key)]) < 1e-6, key


def test_initial_weights_have_the_same_spread() -> None:
    theirs = torchvision.models.resnext50_32x4d(weights=None).state_dict()
    for key, value in lucid.models.resnext_50_32x4d().state_dict().items():
        expected = theirs[converter.export_key(key)].double()
        array = np.asarray(value, np.float64)
        if array.size < 4000:
            np.testing.assert_allclose(array.mean(), expected.mean(), atol=0.01, err_msg=key)
        else:
            assert array.std() == pytest.approx(float(expected.std()), rel=0.1), key
