from __future__ import annotations

import inspect
import re

import pytest

import lucid
import lucid_models_detection
from lucid_models_detection import FasterRCNN, RetinaNet
from lucid_models_detection.faster_rcnn import builders

NAMES = lucid.models.list_models(plugin="lucid-models-detection")
BUILDERS = [getattr(lucid_models_detection, name) for name in NAMES]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "distinct"),
    [
        ("faster_rcnn_resnet_50_fpn", 43_515_902, 43_506_366),
        ("faster_rcnn_resnet_101_fpn", 62_508_030, 62_498_494),
    ],
)
def test_parameters_and_shapes_of_the_models_page(name: str, size: int, distinct: int) -> None:
    model = getattr(builders, name)()
    assert isinstance(model, FasterRCNN)
    assert model.parameter_size == size
    assert model.distinct_parameter_size == distinct
    stem = sum(p.size for p in model.backbone.stem.parameters())
    assert size - distinct == stem == 9536
    with lucid.no_grad():
        cls_logits, bbox_deltas = model.eval()(lucid.random.randn(1, 3, 224, 224))
    assert cls_logits.shape == (1, 300, 21)
    assert bbox_deltas.shape == (1, 300, 4)


@pytest.mark.slow
def test_parameters_and_shapes_of_retinanets_page() -> None:
    model = lucid_models_detection.retinanet_resnet_50_fpn()
    assert isinstance(model, RetinaNet)
    assert (model.parameter_size, model.distinct_parameter_size) == (34_674_505, 34_664_969)
    with lucid.no_grad():
        cls_logits, bbox_deltas = model.eval()(lucid.random.randn(1, 3, 224, 224))
    assert cls_logits.shape == (1, 9441, 21)
    assert bbox_deltas.shape == (1, 9441, 4)


@pytest.mark.parametrize("builder", BUILDERS, ids=NAMES)
def test_signature(builder: object) -> None:
    parameters = inspect.signature(builder).parameters  # type: ignore[arg-type]
    defaults = {name: each.default for name, each in list(parameters.items())[:-1]}
    if "backbone" in parameters:
        wanted = {"num_classes": 21, "backbone": "resnet_18", "backbone_num_classes": None}
    else:
        wanted = {"num_classes": 21, "backbone_num_classes": 1000}
    assert defaults == wanted
    assert list(parameters)[: len(wanted)] == list(wanted)
    assert parameters["kwargs"].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("builder", [builders.faster_rcnn_resnet_18_fpn], ids=["18"])
def test_arguments_are_passed_on(builder: object) -> None:
    model = builder(5, 7, hidden_dim=8, pool_size=3, norm="frozen")  # type: ignore[operator]
    assert model.backbone.net.fc.weight.shape[0] == 7
    assert model.roi_heads.box_predictor.cls_score.weight.shape == (5, 8)
    assert model.roi_heads.box_predictor.bbox_pred.weight.shape == (20, 8)
    assert model.roi_heads.box_head.fc6.weight.shape == (8, 256 * 9)
    assert model.model_name == "faster_rcnn_resnet_18_fpn"


def test_unknown_argument() -> None:
    with pytest.raises(TypeError, match=r"'trainable_layers'; valid ones are num_classes, .*norm"):
        builders.faster_rcnn_resnet_50_fpn(trainable_layers=3)
    with pytest.raises(TypeError, match=r"valid ones are .*\bbackbone, .*'bacbone': use backbone="):
        lucid.models.create_model("retinanet_fpn", bacbone="resnet_18")


@pytest.mark.parametrize("builder", BUILDERS, ids=NAMES)
def test_docstring_is_a_complete_page(builder: object) -> None:
    text = inspect.getdoc(builder) or ""
    name = builder.__name__  # type: ignore[attr-defined]
    places = [
        text.index(part)
        for part in (
            "Parameters\n---",
            "Returns\n---",
            "Examples\n---",
            "Training Notes\n---",
            ".. tip::",
            ".. warning::",
        )
    ]
    assert places == sorted(places)
    assert f"from lucid.models import {name}" in text
    depth = re.search(r"resnet_(\d+)", name)
    assert ("any backbone" if depth is None else f"ResNet-{depth[1]}") in text.splitlines()[0]
    assert f"complete ``resnet_{'18' if depth is None else depth[1]}``" in text
    assert not re.search(r"\{name\}|\{backbone\}|\{\{", text), "all filled in"
