"""Detectors on MobileNets: built, trained for a step, frozen, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.weights import export_state_dict
from lucid_models_detection import Detector, FasterRCNN, RetinaNet
from lucid_models_detection.training.fine_tuning import freeze_stages, from_backbone

#: Narrow, so that each test takes a moment; momentum as for small data.
NARROW = {"width_mult": 0.25, "norm_momentum": 0.1}
RETINANET = {"min_size": 64, "max_size": 96}
FASTER_RCNN = {"hidden_dim": 16, **RETINANET}
IMAGE = np.random.default_rng(0).random((3, 64, 80)).astype(np.float32)
TARGET = {"boxes": [[10.0, 12.0, 50.0, 44.0]], "labels": [1]}


def build(cls: type[Detector], backbone: str, **options: Any) -> Detector:
    shared = FASTER_RCNN if cls is FasterRCNN else RETINANET
    return cls.from_backbone(
        backbone, num_classes=3, backbone_options=NARROW, **{**shared, **options}
    )


@pytest.mark.slow
@pytest.mark.parametrize("backbone", lucid.models.list_models("mobilenet_*"))
@pytest.mark.parametrize(
    ("cls", "strides"), [(FasterRCNN, (4, 8, 16, 32, 64)), (RetinaNet, (8, 16, 32, 64, 128))]
)
def test_a_detector_on_a_mobilenet_trains_and_predicts(
    cls: type[Detector], strides: tuple[int, ...], backbone: str
) -> None:
    detector = build(cls, backbone)
    assert detector.backbone.strides == strides
    optimizer = lucid.optim.SGD(detector.parameters(), lr=0.01)
    losses = detector([IMAGE], [TARGET])
    total = sum(losses.values())
    total.backward()
    classifier = {id(p) for p in detector.backbone.net.classifier.parameters()}
    for name, parameter in detector.named_parameters():
        if id(parameter) not in classifier:
            assert parameter.grad is not None, name
    before = detector.backbone.net.layers[0][0].conv.weight.numpy().copy()
    optimizer.step()
    assert (detector.backbone.net.layers[0][0].conv.weight.numpy() != before).any()
    (found,) = detector.predict([IMAGE])
    assert found["boxes"].shape == (len(found["scores"]), 4)


def test_freezing_stages_of_a_mobilenet() -> None:
    detector = build(RetinaNet, "mobilenet_v3_small")
    freeze_stages(detector, 3)
    stages = detector.backbone.net.stages()
    for i, stage in enumerate(stages):
        assert all(p.requires_grad == (i >= 3) for p in stage.parameters())
        assert stage.training == (i >= 3)
    with pytest.raises(ValueError, match=r"expected 0 to 6, .*MobileNetV3, got 7"):
        freeze_stages(detector, 7)


@pytest.mark.parametrize("named", [True, False])
def test_arguments_of_a_backbone_come_from_its_weights(tmp_path: Path, named: bool) -> None:
    options = {"width_mult": 0.25, "reduced_tail": True}

    def save(**more: Any) -> Path:
        net = lucid.models.create_model("mobilenet_v3_small", num_classes=5, **options, **more)
        path = tmp_path / f"{len(more)}.safetensors"
        if named:
            lucid.save_model(net, path)
        else:
            lucid.save(export_state_dict(net, "torchvision"), path)
        return path

    path = save()
    detector = from_backbone("retinanet_fpn", path, {"channels": 8, "num_classes": 3})
    assert detector.model_kwargs["backbone_options"] == options
    state = detector.backbone.net.state_dict()
    expected = lucid.load_model(path).state_dict()
    for key in state.keys() & expected.keys():  # frozen normalizations have no counters
        np.testing.assert_array_equal(state[key], expected[key], key)
    with pytest.raises(lucid.WeightFileError, match=r"3 input channels, got 1"):
        from_backbone("retinanet_fpn", save(in_channels=1), {"num_classes": 3})


def test_default_arguments_are_omitted(tmp_path: Path) -> None:
    net = lucid.models.create_model("resnet_18", num_classes=5)
    lucid.save(export_state_dict(net, "torchvision"), path := tmp_path / "net.safetensors")
    detector = from_backbone("faster_rcnn_resnet_18_fpn", path, {"hidden_dim": 8})
    assert detector.model_kwargs == {
        "backbone_num_classes": 5,
        "hidden_dim": 8,
        "norm": "frozen",
    }
