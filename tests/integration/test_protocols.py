"""Registered models satisfy the protocols of their task."""

from __future__ import annotations

import pytest

import lucid
from lucid.models import check_backbone, check_classifier, create_model, list_models

CLASSIFIERS = list_models(task="image-classification")


pytestmark = pytest.mark.usefixtures("cheap_weights")


def test_registry_has_classifiers() -> None:
    assert "resnet_18" in CLASSIFIERS


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_only_the_head_depends_on_num_classes(name: str) -> None:
    model = create_model(name, num_classes=2)
    assert check_classifier(model).num_classes == 2
    state, other = model.state_dict(), create_model(name, num_classes=3).state_dict()
    assert state.keys() == other.keys()
    changed = {key for key, value in state.items() if other[key].shape != value.shape}
    assert changed == {key for key in state if key.startswith(model.head_prefixes)} != set()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_models_with_features_satisfy_backbone(name: str) -> None:
    model = create_model(name, num_classes=2).eval()
    if not hasattr(model, "features"):
        pytest.skip(f"{name} has no features(x)")
    backbone = check_backbone(model)
    with lucid.no_grad():
        shapes = [x.shape for x in backbone.features(lucid.zeros(1, 3, 64, 64))]
    assert shapes == [
        (1, channels, 64 // stride, 64 // stride)
        for channels, stride in zip(model.feature_channels, model.feature_strides, strict=True)
    ]
    order = {id(module): position for position, module in enumerate(model.modules())}
    positions = [order[id(stage)] for stage in backbone.stages()]
    assert positions == sorted(set(positions))
    held = {id(parameter) for stage in backbone.stages() for parameter in stage.parameters()}
    head = {id(p) for key, p in model.named_parameters() if key.startswith(model.head_prefixes)}
    assert held
    assert not held & head
