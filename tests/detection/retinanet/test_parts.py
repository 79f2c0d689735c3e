"""Parts of RetinaNet that are given by keyword."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from small_detection import TinyBackbone

import lucid
from lucid import Tensor, nn
from lucid_models_detection import RetinaNet
from lucid_models_detection.boxes import iou
from lucid_models_detection.parts import (
    AnchorGenerator,
    BoxCoder,
    DenseHead,
    FeaturePyramidNetwork,
    LastLevelP6P7,
    Matcher,
    giou_loss,
    sigmoid_focal_loss,
)

SIZES = [(16,), (32,), (64,), (128,), (256,)]
IMAGE = np.random.default_rng(0).random((3, 64, 64), np.float32)
TARGET = {"boxes": [[8.0, 8.0, 40.0, 48.0]], "labels": [2]}


def anchors(ratios: tuple[float, ...] = (0.5, 1.0), levels: int = 5) -> AnchorGenerator:
    return AnchorGenerator(SIZES[:levels], [ratios] * levels)


def pyramid(channels: int = 6) -> FeaturePyramidNetwork:
    return FeaturePyramidNetwork((8, 8, 8), channels, LastLevelP6P7(channels, channels))


def build(**parts: Any) -> RetinaNet:
    if "fpn" not in parts:
        parts = {"channels": 8, **parts}
    return RetinaNet(TinyBackbone(2), **parts)


def test_every_part_is_used() -> None:
    parts: dict[str, Any] = {
        "fpn": pyramid(),
        "anchor_generator": anchors(),
        "classification_head": DenseHead(6, 2, 4),
        "regression_head": DenseHead(6, 2, 4),
        "proposal_matcher": Matcher(0.6, 0.2, allow_low_quality_matches=True),
        "box_coder": BoxCoder((2.0, 2.0, 2.0, 2.0)),
        "classification_loss": partial(sigmoid_focal_loss, alpha=0.5),
        "box_loss": giou_loss,
    }
    model = build(**parts)
    for name, part in parts.items():
        owner = model.backbone if name == "fpn" else model
        assert getattr(owner, name) is part
    assert model.num_classes == 4
    assert model(lucid.zeros(1, 3, 64, 64))[0].shape == (1, 2 * (64 + 16 + 4 + 1 + 1), 4)
    losses = model([IMAGE], [TARGET])
    sum(losses.values(), lucid.zeros(())).backward()
    assert model.regression_head.output.weight.grad is not None
    assert len(model.predict([IMAGE])) == 1


def test_the_box_loss_is_on_decoded_boxes_of_the_foreground() -> None:
    model = build(num_classes=3, anchor_generator=anchors((1.0,)), box_loss=giou_loss)
    x = lucid.tensor(IMAGE[None])
    batch = model.transform([x[0]], np.float32)
    features = model.backbone(batch.tensor)
    _, deltas = model.raw_outputs(features, batch)
    boxes = np.concatenate(model._level_anchors(features, batch))
    truth = np.asarray(TARGET["boxes"], np.float32)
    found = np.flatnonzero(model.proposal_matcher(iou(truth, boxes)) >= 0)
    assert found.size
    decoded = model.box_coder.decode(deltas.numpy()[0, found], boxes[found])
    wanted = giou_loss(decoded, np.repeat(truth, len(found), axis=0)).numpy().mean()
    loss = model([IMAGE], [TARGET])["bbox_regression"].item()
    assert loss == pytest.approx(wanted, rel=1e-5)
    nothing = {"boxes": np.zeros((0, 4)), "labels": []}
    assert model([IMAGE], [nothing])["bbox_regression"].item() == 0


def test_the_classification_loss_replaces_the_focal_loss() -> None:
    calls: list[tuple[int, ...]] = []

    def halved(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
        calls.append(logits.shape)
        return sigmoid_focal_loss(logits, targets, reduction=reduction) * 0.5

    lucid.random.seed(0)
    model = build(num_classes=3)
    whole = model([IMAGE], [TARGET])["classification"].item()
    model.classification_loss = halved
    assert model([IMAGE], [TARGET])["classification"].item() == pytest.approx(whole / 2, rel=1e-5)
    assert len(calls) == 1


def test_from_backbone_takes_parts() -> None:
    model = RetinaNet.from_backbone(
        TinyBackbone(2), channels=8, classification_head=DenseHead(8, 9, 4)
    )
    assert model.num_classes == 4
    with pytest.raises(TypeError, match=r"'matcher'; valid ones are .*proposal_matcher"):
        RetinaNet.from_backbone("resnet_18", matcher=Matcher(0.5, 0.4))


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (
            {"anchor_generator": anchors(levels=4)},
            ValueError,
            r"anchor_generator: .*strides \(8, 16, 32, 64, 128\).*\(4\), got 5",
        ),
        (
            {"regression_head": DenseHead(8, 3, 4)},
            ValueError,
            "regression_head: .*, 4\\) for 9 anchors per location",
        ),
        (
            {"classification_head": DenseHead(16, 9, 4)},
            ValueError,
            "classification_head: DenseHead .*5 levels of 8 channels",
        ),
        (
            {"classification_head": DenseHead(8, 9, 4), "num_classes": 3},
            ValueError,
            "num_classes: expected 4 .*classification_head.*got 3",
        ),
        ({"classification_head": nn.Identity()}, TypeError, "_head: Identity lacks num_outputs"),
        ({"fpn": FeaturePyramidNetwork((8, 8), 6)}, ValueError, "fpn: .*expected 2 stages, got 3"),
        ({"fpn": pyramid(), "channels": 6}, ValueError, "channels: has no effect with fpn"),
        (
            {"proposal_matcher": Matcher(0.5, 0.4), "negative_iou": 0.3},
            ValueError,
            "negative_iou: has no effect with proposal_matcher",
        ),
        ({"box_loss": "giou"}, TypeError, "box_loss: expected a callable object, got 'giou'"),
        ({"box_coder": BoxCoder}, TypeError, "box_coder: expected an object, got the class BoxCod"),
    ],
)
def test_unsuitable_parts_are_rejected(parts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build(**parts)
    assert "\n" not in str(caught.value)


def test_unsuitable_replaced_head_is_named() -> None:
    model = build(num_classes=4)
    model.classification_head = DenseHead(8, 2, 4)
    with pytest.raises(ValueError, match=r"classification_head: .* 9 per location, got 172"):
        model([IMAGE], [TARGET])


def test_wrong_number_of_deltas_is_named() -> None:
    model = build(num_classes=3)
    model.regression_head = DenseHead(8, 9, 5)
    with pytest.raises(ValueError, match=r"regression_head: expected 4 deltas .*, got 5"):
        model([IMAGE], [TARGET])
