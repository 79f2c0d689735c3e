"""Parts of Faster R-CNN that are given by keyword."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_detection import SMALL, TinyBackbone

import lucid
from lucid import Tensor, nn
from lucid_models_detection import FasterRCNN
from lucid_models_detection.faster_rcnn import BoxHead, BoxPredictor, RPNHead
from lucid_models_detection.parts import (
    AnchorGenerator,
    BalancedPositiveNegativeSampler,
    BoxCoder,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    Matcher,
    MultiScaleRoIAlign,
)

#: Without the options that given parts take the place of.
FREE = {key: value for key, value in SMALL.items() if key.startswith("rpn")}
SIZES = [(16,), (32,), (64,), (128,), (256,)]
IMAGE = np.random.default_rng(0).random((3, 64, 64), np.float32)
TARGET = {"boxes": [[8.0, 8.0, 40.0, 48.0]], "labels": [2]}


def anchors(ratios: tuple[float, ...] = (0.5, 1.0), levels: int = 5) -> AnchorGenerator:
    return AnchorGenerator(SIZES[:levels], [ratios] * levels)


def pyramid(channels: int = 6, stages: int = 4, inputs: int = 8) -> FeaturePyramidNetwork:
    return FeaturePyramidNetwork((inputs,) * stages, channels, LastLevelMaxPool())


def all_parts() -> dict[str, Any]:
    return {
        "fpn": pyramid(),
        "rpn_anchor_generator": anchors(),
        "rpn_head": RPNHead(6, 2),
        "rpn_matcher": Matcher(0.6, 0.2),
        "rpn_sampler": BalancedPositiveNegativeSampler(8, 0.5),
        "rpn_box_coder": BoxCoder((2.0, 2.0, 2.0, 2.0)),
        "box_roi_pool": MultiScaleRoIAlign(3, 1),
        "box_head": BoxHead(6, 3, 10),
        "box_predictor": BoxPredictor(10, 4),
        "box_matcher": Matcher(0.4, 0.4),
        "box_sampler": BalancedPositiveNegativeSampler(4, 0.5),
        "box_coder": BoxCoder(),
    }


def build(**parts: Any) -> FasterRCNN:
    return FasterRCNN(TinyBackbone(2), **{**FREE, **parts})


def test_every_part_is_used() -> None:
    parts = all_parts()
    model = build(**parts)
    rpn, roi = model.rpn, model.roi_heads
    used = {
        "fpn": model.backbone.fpn,
        "rpn_anchor_generator": rpn.anchor_generator,
        "rpn_head": rpn.head,
        "rpn_matcher": rpn.proposal_matcher,
        "rpn_sampler": rpn.fg_bg_sampler,
        "rpn_box_coder": rpn.box_coder,
        "box_roi_pool": roi.box_roi_pool,
        "box_head": roi.box_head,
        "box_predictor": roi.box_predictor,
        "box_matcher": roi.proposal_matcher,
        "box_sampler": roi.fg_bg_sampler,
        "box_coder": roi.box_coder,
    }
    assert used.keys() == parts.keys()
    assert all(used[name] is part for name, part in parts.items())
    assert model.num_classes == 4
    assert model(lucid.zeros(1, 3, 64, 64))[0].shape == (1, 20, 4)
    losses = model([IMAGE], [TARGET])
    sum(losses.values(), lucid.zeros(())).backward()
    assert model.roi_heads.box_predictor.cls_score.weight.grad is not None
    assert len(model.predict([IMAGE])) == 1


def test_parts_match_equivalent_options() -> None:
    lucid.random.seed(3)
    ours = FasterRCNN(TinyBackbone(2), 3, **SMALL, pool_size=2, anchor_sizes=SIZES).eval()
    theirs = FasterRCNN(
        TinyBackbone(2),
        **FREE,
        rpn_anchor_generator=AnchorGenerator(SIZES, [(0.5, 1.0, 2.0)] * 5),
        box_roi_pool=MultiScaleRoIAlign(2, 2),
        box_head=BoxHead(256, 2, 8),
        box_predictor=BoxPredictor(8, 3),
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    x = lucid.random.randn(1, 3, 64, 64)
    for a, b in zip(ours(x), theirs(x), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_default_parts_follow_the_given_ones() -> None:
    class Strip(nn.Module):
        def forward(self, pooled: Tensor) -> Tensor:
            return pooled.mean(axis=(2, 3))

    model = build(box_head=Strip(), num_classes=3)
    assert model.roi_heads.box_predictor.cls_score.weight.shape == (3, 256)
    model = build(box_roi_pool=MultiScaleRoIAlign(3), fpn=pyramid(6), hidden_dim=8)
    assert model.roi_heads.box_head.fc6.weight.shape == (8, 6 * 9)
    assert model.rpn.head.cls_logits.weight.shape == (9, 6, 1, 1)
    short = build(fpn=FeaturePyramidNetwork((8,) * 4, 6), hidden_dim=8)
    assert short.backbone.level_names == ("P2", "P3", "P4", "P5")
    assert [sizes[0] for sizes in short.rpn.anchor_generator.sizes] == [32, 64, 128, 256]


def test_from_backbone_and_the_builders_take_parts() -> None:
    parts = {"box_predictor": BoxPredictor(8, 4), "rpn_anchor_generator": anchors()}
    model = FasterRCNN.from_backbone(TinyBackbone(2), hidden_dim=8, **parts)
    assert (model.num_classes, model.rpn.head.cls_logits.weight.shape[0]) == (4, 2)
    built = lucid.models.create_model(
        "faster_rcnn_resnet_18_fpn", rpn_anchor_generator=anchors(), hidden_dim=8
    )
    assert built.rpn.anchor_generator.num_anchors_per_location == 2
    with pytest.raises(TypeError, match=r"argument 'rpn_anchor_generator' must be numbers"):
        lucid.save_model(built, "unused.safetensors")
    with pytest.raises(TypeError, match=r"'rpn_anchors'; valid ones are .*rpn_anchor_generator"):
        FasterRCNN.from_backbone("resnet_18", rpn_anchors=anchors())


class Results(nn.Module):
    """Returns what it is given."""

    num_classes = 21

    def __init__(self, *results: Any) -> None:
        super().__init__()
        self.results = results if len(results) > 1 else results[0]

    def forward(self, x: Any) -> Any:
        return self.results


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"rpn_head": RPNHead(256, 3)}, ValueError, r"rpn_head: .*for 9 anchors"),
        ({"rpn_head": RPNHead(64, 9)}, ValueError, "rpn_head: .*5 levels of 256 channel"),
        ({"rpn_head": RPNHead}, TypeError, "rpn_head: expected an object, got the class RPNHead"),
        ({"rpn_head": 3}, TypeError, "rpn_head: expected a callable object, got 3"),
        ({"rpn_head": Results(1, 2, 3)}, ValueError, "rpn_head: .*got 3 resul"),
        (
            {"rpn_anchor_generator": anchors(levels=4)},
            ValueError,
            r"rpn_anchor_generator: .* 5 feature maps .*\(4, 8, 16, 32, 64\)",
        ),
        (
            {"rpn_anchor_generator": 3},
            TypeError,
            "rpn_anchor_generator: int lacks num_anchors",
        ),
        ({"rpn_box_coder": Matcher(1, 0)}, TypeError, "rpn_box_coder: Matcher lacks encode, dec"),
        ({"box_sampler": "all"}, TypeError, "box_sampler: expected a callable object, got 'all'"),
        (
            {"box_predictor": BoxPredictor(1024, 5), "num_classes": 4},
            ValueError,
            "num_classes: expected 5 .*box_predictor.*got 4",
        ),
        ({"box_predictor": BoxPredictor(9, 5)}, ValueError, "box_predictor: .*1024 feat"),
        ({"box_predictor": nn.Linear(1024, 5)}, TypeError, "box_predictor: Linear lacks num_cl"),
        (
            {"box_predictor": Results(lucid.zeros(1, 21), lucid.zeros(1, 4))},
            ValueError,
            r"box_predictor: .*\(R, C, 4\) .*\(1, 21, 4\).* got \(1, 4\)",
        ),
        ({"box_head": BoxHead(8, 7, 16)}, ValueError, r"box_head: .* of shape \(256, 7, 7\)"),
        (
            {"box_head": nn.Identity()},
            ValueError,
            r"box_head: .*\(R, F\) .*\(1, \*\).* got \(1, 256, 7, 7\)",
        ),
        ({"box_roi_pool": lambda *a: 1}, ValueError, "box_roi_pool: .* got int"),
        ({"fpn": pyramid(inputs=16)}, ValueError, r"fpn: .* stages of \(8, 8, 8, 8\) channels"),
        ({"fpn": pyramid(stages=3)}, ValueError, "fpn: .*expected 3 stages, got 4"),
        ({"fpn": nn.Identity()}, TypeError, "fpn: Identity lacks out_channels, num_extra_levels"),
        (
            {"rpn_anchor_generator": anchors(), "anchor_sizes": SIZES},
            ValueError,
            "anchor_sizes: has no effect with rpn_anchor_generator",
        ),
        (
            {"box_head": BoxHead(256, 7, 16), "hidden_dim": 16},
            ValueError,
            "hidden_dim: has no effect with box_head",
        ),
    ],
)
def test_unsuitable_parts_are_rejected(parts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build(**parts)
    assert "\n" not in str(caught.value)


def test_checks_do_not_change_parts() -> None:
    class Watched(BoxHead):
        seen: list[bool] = []  # noqa: RUF012

        def forward(self, pooled: Tensor) -> Tensor:
            self.seen.append(self.training or lucid.is_grad_enabled())
            return super().forward(pooled)

    head = Watched(256, 7, 4)
    head.fc7.eval()
    build(box_head=head)
    assert head.seen == [False]
    assert (head.training, head.fc6.training, head.fc7.training) == (True, True, False)


def test_unsuitable_replaced_part_is_named() -> None:
    model = build(hidden_dim=8)
    model.rpn.head = RPNHead(256, 2)
    with pytest.raises(ValueError, match=r"rpn\.head: .* 9 per location, got 682"):
        model.predict([IMAGE])
    model.rpn.anchor_generator = anchors()
    assert len(model.predict([IMAGE])) == 1
