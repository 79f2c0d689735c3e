"""Detectors that Lucid does not have are named where their weights are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import StateDictError, WeightFileError
from lucid.models import create_model
from lucid_models_detection.loading import load_detector
from lucid_models_detection.torchvision import load_torchvision_weights, torchvision_state_dict
from lucid_models_detection.unsupported_detectors import name_unsupported_detector

BODY = ("backbone.body.conv1.weight", "backbone.fpn.inner_blocks.0.0.weight")
BOXES = ("rpn.head.conv.0.0.weight", "roi_heads.box_head.fc6.weight")
OTHERS = {
    "torchvision's Keypoint R-CNN": (*BODY, *BOXES, "roi_heads.keypoint_head.0.weight"),
    "torchvision's Mask R-CNN": (*BODY, *BOXES, "roi_heads.mask_head.0.0.weight"),
    "torchvision's Mask R-CNN v2": (
        *BODY,
        "roi_heads.mask_head.0.0.weight",
        "roi_heads.box_head.0.0.weight",
    ),
    "torchvision's Faster R-CNN v2": (*BODY, "roi_heads.box_head.0.0.weight"),
    "torchvision's Faster R-CNN with a MobileNetV3": ("backbone.body.0.0.weight", *BOXES),
    "torchvision's FCOS": (
        *BODY,
        "head.classification_head.conv.0.weight",
        "head.regression_head.bbox_ctrness.weight",
    ),
    "torchvision's RetinaNet v2": (
        *BODY,
        "head.classification_head.conv.0.0.weight",
        "head.classification_head.conv.0.1.weight",
    ),
    "torchvision's SSD": ("backbone.scale_weight", "head.classification_head.module_list.0.bias"),
    "torchvision's SSDlite": (
        "backbone.features.0.0.0.weight",
        "head.classification_head.module_list.0.0.0.weight",
    ),
    "a detector of Detectron2": ("proposal_generator.rpn_head.conv.weight",),
    "a DETR": ("transformer.encoder.layers.0.linear1.weight", "class_embed.weight"),
    "a detector of MMDetection": ("backbone.conv1.weight", "bbox_head.fcos_cls.weight"),
    "a YOLO of Ultralytics": ("model.0.conv.weight", "model.2.cv1.conv.weight"),
}


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("name", OTHERS)
def test_unsupported_detector_is_named(tmp_path: Path, name: str, prefix: str) -> None:
    path = tmp_path / "w.safetensors"
    lucid.save({prefix + key: np.zeros((2, 2), np.float32) for key in OTHERS[name]}, path)
    with pytest.raises(
        WeightFileError, match=rf"those of {name}, which Lucid does not have"
    ) as caught:
        load_detector(path)
    assert str(path) in str(caught.value)


def test_lucid_detectors_are_not_unsupported() -> None:
    retinanet = create_model("retinanet_resnet_18_fpn", num_classes=3, channels=8)
    assert name_unsupported_detector(retinanet.state_dict()) is None
    assert name_unsupported_detector(torchvision_state_dict(retinanet)) is None
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8)
    assert name_unsupported_detector(model.state_dict()) is None
    assert name_unsupported_detector(torchvision_state_dict(model)) is None
    assert name_unsupported_detector(["layer1.0.conv1.weight", "fc.weight"]) is None
    extra = {"roi_heads.mask_head.0.0.weight": np.zeros(1), "roi_heads.box_head.fc6.bias": 0.0}
    before = model.rpn.head.cls_logits.weight.numpy().copy()
    with pytest.raises(
        StateDictError, match=r"(?s)those of torchvision.s Mask R-CNN, which.*missing"
    ):
        load_torchvision_weights(model, extra)
    np.testing.assert_array_equal(model.rpn.head.cls_logits.weight.numpy(), before)
