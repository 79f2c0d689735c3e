from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.models import create_model
from lucid.weights import identify_weights
from lucid_models_detection import Detector, FasterRCNN, RetinaNet, torchvision_config
from lucid_models_detection.faster_rcnn.converter import converter as faster_rcnn
from lucid_models_detection.retinanet.converter import converter as retinanet
from lucid_models_detection.torchvision import (
    TorchvisionConverter,
    load_torchvision_weights,
    torchvision_state_dict,
)

SMALL: dict[str, Any] = {"backbone_num_classes": 2, "hidden_dim": 16, "pool_size": 2}


def make(num_classes: int = 4) -> FasterRCNN:
    config = torchvision_config() | SMALL
    return FasterRCNN.from_backbone("resnet_18", num_classes, **config)


def as_torchvision(model: Detector) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in torchvision_state_dict(model).items()}


@pytest.mark.parametrize(
    ("converter", "theirs", "ours"),
    [
        (faster_rcnn, "backbone.fpn.inner_blocks.0.0.weight", "backbone.fpn.lateral.0.weight"),
        (faster_rcnn, "backbone.fpn.layer_blocks.3.0.bias", "backbone.fpn.output.3.bias"),
        (faster_rcnn, "rpn.head.conv.0.0.weight", "rpn.head.conv.conv.weight"),
        (faster_rcnn, "rpn.head.cls_logits.bias", "rpn.head.cls_logits.bias"),
        (faster_rcnn, "roi_heads.box_head.fc6.weight", "roi_heads.box_head.fc6.weight"),
        (
            faster_rcnn,
            "roi_heads.box_predictor.bbox_pred.bias",
            "roi_heads.box_predictor.bbox_pred.bias",
        ),
        (
            retinanet,
            "backbone.fpn.extra_blocks.p6.weight",
            "backbone.fpn.extra_blocks.p6.weight",
        ),
        (
            retinanet,
            "head.classification_head.conv.3.0.weight",
            "classification_head.conv.3.conv.weight",
        ),
        (
            retinanet,
            "head.classification_head.cls_logits.bias",
            "classification_head.output.bias",
        ),
        (
            retinanet,
            "head.regression_head.conv.0.0.bias",
            "regression_head.conv.0.conv.bias",
        ),
        (retinanet, "head.regression_head.bbox_reg.weight", "regression_head.output.weight"),
    ],
)
def test_names(converter: TorchvisionConverter, theirs: str, ours: str) -> None:
    assert converter.rename(theirs) == ours
    assert converter.export_key(ours) == theirs
    assert converter.has_key(theirs)
    assert converter.has_key(ours)
    assert not converter.has_key(f"module.{theirs}")


@pytest.mark.parametrize(
    ("converter", "old", "ours"),
    [
        (faster_rcnn, "backbone.fpn.inner_blocks.2.weight", "backbone.fpn.lateral.2.weight"),
        (retinanet, "backbone.fpn.layer_blocks.2.bias", "backbone.fpn.output.2.bias"),
        (faster_rcnn, "rpn.head.conv.bias", "rpn.head.conv.conv.bias"),
        (
            retinanet,
            "head.classification_head.conv.0.weight",
            "classification_head.conv.0.conv.weight",
        ),
        (
            retinanet,
            "head.regression_head.conv.6.bias",
            "regression_head.conv.3.conv.bias",
        ),
    ],
)
def test_names_of_published_checkpoints(
    converter: TorchvisionConverter, old: str, ours: str
) -> None:
    assert converter.rename(old) == ours


def test_names_of_the_backbone_are_those_of_its_network() -> None:
    model = make()
    converter = faster_rcnn.for_model(model)
    for theirs, ours in {
        "backbone.body.conv1.weight": "backbone.net.stem.conv.weight",
        "backbone.body.layer1.0.bn2.running_var": "backbone.net.layer1.0.conv2.norm.running_var",
    }.items():
        assert converter.rename(theirs) == ours
        assert converter.export_key(ours) == theirs
    assert converter.export_key("backbone.net.fc.weight") is None
    assert converter.export_key("backbone.stem.conv.weight") is None
    theirs = torchvision_state_dict(model)
    assert len(theirs) == len(model.state_dict()) - len(model.backbone.stem.state_dict()) - 2


def test_config_makes_torchvisions_network() -> None:
    model = make()
    assert model.rpn.anchor_generator.num_anchors_per_location == 3
    assert [cell[1].tolist() for cell in model.rpn.anchor_generator.cell_anchors][:2] == [
        [-16, -16, 16, 16],
        [-32, -32, 32, 32],
    ]
    assert model.rpn.post_nms_top_n == (2000, 1000)
    assert (model.transform.min_size, model.transform.max_size) == ((800,), 1333)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_config_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'faster_rcnn' or 'retinanet', got 'ssd'"):
        torchvision_config("ssd")


def test_weights_load_and_the_classifier_is_kept(tmp_path: Path) -> None:
    source, target = make(), make()
    weights = as_torchvision(source)
    own = target.backbone.net.fc.weight.data.copy()
    lucid.save(weights, tmp_path / "weights.safetensors")
    report = load_torchvision_weights(target, tmp_path / "weights.safetensors")
    assert not report.missing
    assert not report.unexpected
    for key, value in source.state_dict().items():
        if not key.startswith("backbone.net.fc."):
            np.testing.assert_array_equal(target.state_dict()[key].data, value.data, err_msg=key)
    np.testing.assert_array_equal(target.backbone.net.fc.weight.data, own)


def test_counters_of_trained_norms_are_passed_over_or_kept() -> None:
    frozen = as_torchvision(make())
    with_counter = frozen | {"backbone.body.bn1.num_batches_tracked": np.array(3)}
    load_torchvision_weights(make(), with_counter)
    config = torchvision_config() | SMALL | {"norm": "batch"}
    trained = FasterRCNN.from_backbone("resnet_18", 4, **config)
    load_torchvision_weights(trained, frozen)
    # The stem has two names here; torchvision's weights set one.
    load_torchvision_weights(trained, with_counter)
    assert trained.backbone.stem.norm.num_batches_tracked.item() == 3


def test_another_number_of_classes() -> None:
    weights = as_torchvision(make(6))
    model = make()
    before = model.state_dict()["rpn.head.cls_logits.weight"].data.copy()
    with pytest.raises(lucid.StateDictError, match=r"box_predictor\.cls_score\.weight"):
        load_torchvision_weights(model, weights)
    np.testing.assert_array_equal(model.state_dict()["rpn.head.cls_logits.weight"].data, before)
    report = load_torchvision_weights(model, weights, skip_mismatched=True)
    assert len(report.skipped) == 4


def test_missing_and_unknown_keys_are_named() -> None:
    weights = as_torchvision(make())
    del weights["rpn.head.conv.0.0.weight"]
    weights["roi_heads.mask_head.mask_fcn1.weight"] = np.zeros(3)
    with pytest.raises(lucid.StateDictError) as caught:
        load_torchvision_weights(make(), weights)
    assert "rpn.head.conv.conv.weight" in str(caught.value)
    assert "roi_heads.mask_head.mask_fcn1.weight" in str(caught.value)


# --- which model ----------------------------------------------------------------------------------


def identify(theirs: dict[str, np.ndarray]) -> tuple[str, dict[str, Any]]:
    found = identify_weights(theirs, task="object-detection")
    assert found is not None
    return found.name, found.arguments


def test_model_is_identified_by_weights() -> None:
    config = torchvision_config() | {"hidden_dim": 16}
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=5, **config)
    theirs = as_torchvision(model)
    name, kwargs = identify(theirs)
    assert name == "faster_rcnn_resnet_18_fpn"
    assert kwargs == {**config, "num_classes": 5}
    for key in list(theirs):
        if key.endswith("bn1.weight"):  # as nn.BatchNorm2d has it
            theirs[key.replace("weight", "num_batches_tracked")] = np.array(3)
    assert identify(theirs) == (name, {**kwargs, "norm": "batch"})


def test_weights_of_other_models_are_not_identified() -> None:
    theirs = as_torchvision(make())
    for wrong in (
        {"conv1.weight": np.zeros(2)},
        {k: v for k, v in theirs.items() if "cls_score" not in k},
        {k: v for k, v in theirs.items() if "fc6" not in k},
        {k: v for k, v in theirs.items() if "rpn" not in k},
    ):
        assert identify_weights(wrong, task="object-detection") is None
    with pytest.raises(lucid.StateDictError, match="Lucid's names of a detector of the fam"):
        identify(make().state_dict())
    body = {k: v for k, v in theirs.items() if "layer4" not in k}
    with pytest.raises(lucid.StateDictError, match=r"backbone.*'conv1.weight'"):
        identify(body)
    nine = {**theirs, "rpn.head.cls_logits.weight": np.zeros((9, 256, 1, 1))}
    with pytest.raises(lucid.StateDictError, match=r"expected 3 anchors per location .*got 9"):
        identify(nine)


def test_backbone_without_a_registered_detector() -> None:
    config = torchvision_config() | {"hidden_dim": 8}
    source = FasterRCNN.from_backbone("resnext_50_32x4d", 3, **config)
    found = identify_weights(as_torchvision(source))
    assert found is not None
    assert found.name == "faster_rcnn_fpn"
    assert found.arguments == {**config, "num_classes": 3, "backbone": "resnext_50_32x4d"}
    model = found.build()
    assert not found.load_into(model).missing
    own = source.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith("backbone.net.fc."):
            np.testing.assert_array_equal(value.data, own[key].data, err_msg=key)


def test_backbone_with_arguments() -> None:
    source = RetinaNet.from_backbone(
        "mobilenet_v3_small", 3, backbone_options={"width_mult": 0.25}, channels=8
    )
    found = identify_weights(as_torchvision(source))
    assert found is not None
    assert found.arguments["backbone"] == "mobilenet_v3_small"
    assert found.arguments["backbone_options"] == {"width_mult": 0.25}
    assert not found.load_into(found.build()).missing
