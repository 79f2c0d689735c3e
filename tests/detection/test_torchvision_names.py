"""Names of torchvision that the package lacks: each error says where the counterpart is."""

from __future__ import annotations

import copy
import importlib
import re

import pytest

import lucid
import lucid_models_detection
from lucid.models import create_model
from lucid_models_detection import parts
from lucid_models_detection.faster_rcnn import RegionProposalNetwork, RoIHeads
from lucid_models_detection.torchvision_names import NAMES, RenamedAttribute

#: A name for each pattern.
EXAMPLES = {name: name.replace("*", "resnet50_fpn_v2") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_missing_name_gives_a_remedy(name: str) -> None:
    wanted = EXAMPLES[name]
    remedy = NAMES[name].replace("`", "")
    assert wanted not in dir(lucid_models_detection)
    with pytest.raises(AttributeError, match=f"has no attribute '{wanted}'; ") as caught:
        getattr(lucid_models_detection, wanted)
    assert remedy in str(caught.value)
    with pytest.raises(ImportError, match=f"cannot import name '{wanted}'") as refused:
        exec(f"from lucid_models_detection import {wanted}")
    assert remedy in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_code_in_remedies_runs(name: str) -> None:
    for code in re.findall(r"`([^`]+)`", NAMES[name]):
        exec(code, {"lucid": lucid, "lucid_models_detection": lucid_models_detection})


def test_missing_part_gives_a_remedy() -> None:
    with pytest.raises(AttributeError, match="parts import DenseHead"):
        _ = parts.RetinaNetHead
    with pytest.raises(ImportError, match="faster_rcnn import BoxPredictor"):
        from lucid_models_detection.parts import FastRCNNPredictor  # noqa: F401
    with pytest.raises(ImportError, match=r"import lucid_models_detection\.boxes"):
        importlib.import_module("lucid_models_detection.ops")


@pytest.mark.parametrize("cls", [RegionProposalNetwork, RoIHeads])
def test_renamed_attributes_exist(cls: type) -> None:
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8)
    part = model.rpn if cls is RegionProposalNetwork else model.roi_heads
    names = {
        name: value for name, value in vars(cls).items() if isinstance(value, RenamedAttribute)
    }
    assert names
    for name, value in names.items():
        assert not hasattr(part, name)
        remedy = value.remedy.removeprefix("set ")
        assert hasattr(part, remedy)
        with pytest.raises(AttributeError, match=f"{name!r}; set {remedy}$"):
            setattr(part, name, 0.5)


def test_retinanet_options_are_constructor_arguments() -> None:
    model = create_model("retinanet_resnet_18_fpn", num_classes=3)
    for name in ("nms_threshold", "nms_thresh", "detections_per_image", "topk_candidates"):
        with pytest.raises(AttributeError, match=f"{name!r}; build the model with"):
            setattr(model, name, 3)
    model.score_threshold = 0.25
    assert copy.deepcopy(model).score_threshold == 0.25


def test_the_parts_of_a_detector_are_set_where_they_are() -> None:
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8)
    with pytest.raises(AttributeError, match=r"set roi_heads\.nms_threshold$"):
        model.nms_threshold = 0.3
    with pytest.raises((AttributeError, ValueError), match="box_predictor"):
        model.box_predictor = model.roi_heads.box_predictor
    model.score_threshold = 0.3
    assert model.roi_heads.score_threshold == 0.3


@pytest.mark.parametrize(
    ("name", "own"), [("box_iou", "iou"), ("generalized_box_iou", "giou"), ("box_area", "area")]
)
def test_hints_of_the_boxes_module(name: str, own: str) -> None:
    boxes = importlib.import_module("lucid_models_detection.boxes")
    with pytest.raises(AttributeError, match=rf"{name}.* import {own}$"):
        getattr(boxes, name)
