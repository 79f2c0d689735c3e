"""The plugin's registrations match its models."""

from __future__ import annotations

import pytest

import lucid

TOTALS = {
    "faster_rcnn_fpn": 28_911_102,
    "retinanet_fpn": 20_118_857,
    "faster_rcnn_resnet_18_fpn": 28_911_102,
    "faster_rcnn_resnet_34_fpn": 39_019_262,
    "faster_rcnn_resnet_50_fpn": 43_515_902,
    "faster_rcnn_resnet_101_fpn": 62_508_030,
    "retinanet_resnet_18_fpn": 20_118_857,
    "retinanet_resnet_50_fpn": 34_674_505,
}


def test_registered_counts_and_families() -> None:
    for name, total in TOTALS.items():
        info = lucid.models.model_info(name)
        family = name.removesuffix("_fpn").partition("_resnet")[0]
        assert (info.total_parameters, info.family) == (total, family)


@pytest.mark.usefixtures("cheap_weights")
@pytest.mark.parametrize(
    "name",
    [
        "faster_rcnn_fpn",
        "faster_rcnn_resnet_18_fpn",
        "faster_rcnn_resnet_34_fpn",
        "retinanet_fpn",
        "retinanet_resnet_18_fpn",
    ],
)
def test_the_smaller_ones_have_the_size_they_are_registered_with(name: str) -> None:
    model = lucid.models.create_model(name, num_classes=21)
    assert model.parameter_size == TOTALS[name]
    assert (model.model_name, model.model_kwargs) == (name, {"num_classes": 21})


def test_a_summary_sees_every_layer_that_prediction_uses() -> None:
    model = lucid.models.create_model("faster_rcnn_resnet_18_fpn")
    summary = lucid.models.summarize(model, (1, 3, 64, 64))
    rows = {row.name: row for row in summary.layers}
    unused = [name for name, row in rows.items() if not row.calls]
    assert unused == ["backbone.net.fc"]
    assert rows["rpn.head.conv.conv"].calls == 5
    assert summary.parameters == model.distinct_parameter_size
    assert summary.parameter_size == TOTALS["faster_rcnn_resnet_18_fpn"]


def test_a_summary_of_a_one_stage_detector_sees_every_layer() -> None:
    model = lucid.models.create_model("retinanet_resnet_18_fpn")
    summary = lucid.models.summarize(model, (1, 3, 64, 64))
    rows = {row.name: row for row in summary.layers}
    assert [name for name, row in rows.items() if not row.calls] == ["backbone.net.fc"]
    assert rows["classification_head.output"].calls == 5
