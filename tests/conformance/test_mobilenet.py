"""Comparison of MobileNets with torchvision, with the same weights."""

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
from lucid_models_classification import load_torchvision_weights
from lucid_models_classification.mobilenet_converter import CONVERTERS

NAMES = lucid.models.list_models("mobilenet_*")


def pair(name: str, dropout: float = 0.0, **options: Any) -> tuple[Any, Any]:
    """The same network in torchvision and Lucid, with random normalizations."""
    torch.manual_seed(0)
    build = getattr(torchvision.models, name)
    theirs = build(weights=None, num_classes=50, dropout=dropout, **options)
    fit_norms(theirs)
    for module in theirs.modules():  # of 0.01, which leaves little but rounding in the logits
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
            torch.nn.init.normal_(module.bias)
    ours = lucid.models.create_model(name, num_classes=50, dropout=dropout, **options)
    report = load_torchvision_weights(ours, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    return ours, theirs


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_equal(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None)
    ours = lucid.models.create_model(name)
    count = sum(p.numel() for p in theirs.parameters())
    assert ours.parameter_size == ours.distinct_parameter_size == count
    assert lucid.models.model_info(name).total_parameters == count
    rename = CONVERTERS[name].export_key
    shapes = {rename(key): value.shape for key, value in ours.state_dict().items()}
    assert shapes == {key: tuple(value.shape) for key, value in theirs.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in NAMES]
    + [
        ("mobilenet_v2", {"width_mult": 0.5, "round_nearest": 4}),
        ("mobilenet_v2", {"width_mult": 1.4}),
        ("mobilenet_v3_large", {"width_mult": 0.75}),
        ("mobilenet_v3_large", {"reduced_tail": True, "dilated": True}),
        ("mobilenet_v3_small", {"width_mult": 0.5, "reduced_tail": True}),
        ("mobilenet_v3_small", {"dilated": True}),
    ],
)
def test_logits_agree_in_evaluation(name: str, options: dict[str, Any]) -> None:
    ours, theirs = pair(name, **options)
    x = images(2, 224)
    with lucid.no_grad(), torch.no_grad():
        actual = ours.eval()(lucid.tensor(x))
        expected = theirs.eval()(torch.from_numpy(x))
    error = relative_error(actual, expected)
    if not options:
        CLASSIFIERS[name]["evaluation"] = error
    assert error < 1e-4


@pytest.mark.parametrize("size", [(33, 65), (97, 40), (1, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_agree(name: str, size: tuple[int, int]) -> None:
    ours, theirs = pair(name)
    x = images(1, 97)[:, :, : size[0], : size[1]]
    with lucid.no_grad(), torch.no_grad():
        actual = ours.eval()(lucid.tensor(x))
        expected = theirs.eval()(torch.from_numpy(x.copy()))
    assert relative_error(actual, expected) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_running_statistics_agree_in_training(name: str) -> None:
    ours, theirs = pair(name)
    x = images(4, 224)
    actual = ours.train()(lucid.tensor(x))
    expected = theirs.train()(torch.from_numpy(x))
    rename = CONVERTERS[name].export_key
    statistics, logits = theirs.state_dict(), relative_error(actual, expected)
    errors = {
        key: relative_error(value, statistics[rename(key)])
        for key, value in ours.state_dict().items()
        if "running" in key
    }
    CLASSIFIERS[name] |= {"training": logits, "statistics": max(errors.values())}
    assert logits < 1e-4
    for key, error in errors.items():
        assert error < 1e-4, key


@pytest.mark.parametrize(
    ("name", "bound"),
    # PyTorch multiplies by 1/6 in float32 in the derivative of hardsigmoid: 3e-8 of a gradient.
    [("mobilenet_v2", 1e-8), ("mobilenet_v3_large", 1e-7), ("mobilenet_v3_small", 1e-7)],
)
def test_every_gradient_agrees(name: str, bound: float) -> None:
    """In float64, where rounding cannot hide a wrong derivative.

    The bias of a projection without shortcut cannot change what follows, since the next
    convolution is normalized by the batch: its gradient is rounding, 1e-16 of the others.
    """
    ours, theirs = pair(name)
    ours.to(np.float64).train()
    theirs.double().train()
    x, labels = images(2, 64, np.float64), np.array([7, 31])

    inputs = lucid.tensor(x, requires_grad=True)
    nn.functional.cross_entropy(ours(inputs), lucid.tensor(labels)).backward()
    their_inputs = torch.from_numpy(x).requires_grad_()
    torch.nn.functional.cross_entropy(theirs(their_inputs), torch.from_numpy(labels)).backward()

    assert relative_error(inputs.grad, their_inputs.grad) < bound
    rename = CONVERTERS[name].export_key
    actual = {rename(key): np.asarray(p.grad) for key, p in ours.named_parameters()}
    expected = {key: p.grad.numpy() for key, p in theirs.named_parameters()}
    assert actual.keys() == expected.keys()
    rounding = 1e-14 * max(np.abs(gradient).max() for gradient in expected.values())
    for key, gradient in expected.items():
        allowed = bound * np.abs(gradient).max() + rounding
        assert np.abs(actual[key] - gradient).max() < allowed, key


def test_maps_of_torchvisions_detector_agree() -> None:
    """``fasterrcnn_mobilenet_v3_large_fpn`` reads layers 13 and 16, with frozen norms."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.backbone_utils.mobilenet_backbone(
        backbone_name="mobilenet_v3_large", weights=None, fpn=True
    )
    body = {f"features.{key}": value for key, value in theirs.body.state_dict().items()}
    for key, value in body.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    ours = lucid.models.mobilenet_v3_large(norm="frozen", norm_eps=1e-5, out_indices=(13, 16))
    report = load_torchvision_weights(ours, body, strict=False)
    assert all(key.startswith("classifier.") for key in report.missing)
    assert not report.unexpected
    x = images(1, 96)
    with lucid.no_grad(), torch.no_grad():
        actual = ours.eval().features(lucid.tensor(x))
        expected = list(theirs.eval().body(torch.from_numpy(x)).values())
    assert ours.feature_channels == tuple(m.shape[1] for m in expected) == (160, 960)
    for mine, other in zip(actual, expected, strict=True):
        assert relative_error(mine, other) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_stages_match_torchvision_freezing(name: str) -> None:
    for trainable in range(7):
        backbone = getattr(torchvision.models, name)(weights=None)
        torchvision.models.detection.backbone_utils._mobilenet_extractor(
            backbone, fpn=True, trainable_layers=trainable
        )
        frozen = {key for key, p in backbone.named_parameters() if not p.requires_grad}
        ours = lucid.models.create_model(name)
        stages = ours.stages()
        for stage in stages[: len(stages) - trainable]:
            for parameter in stage.parameters():
                parameter.requires_grad_(False)
        rename = CONVERTERS[name].export_key
        assert {rename(k) for k, p in ours.named_parameters() if not p.requires_grad} == frozen


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_have_the_same_spread(name: str) -> None:
    theirs = getattr(torchvision.models, name)(weights=None).state_dict()
    for key, value in lucid.models.create_model(name).state_dict().items():
        expected = theirs[CONVERTERS[name].export_key(key)].double()
        array = np.asarray(value, np.float64)
        if array.size < 4000:
            deviation = max(float(expected.std(correction=0)), 0.01)
            np.testing.assert_allclose(array.mean(), expected.mean(), atol=deviation, err_msg=key)
        else:
            assert array.std() == pytest.approx(float(expected.std()), rel=0.1), key
