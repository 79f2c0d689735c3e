from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.faster_rcnn import RegionProposalNetwork, RPNHead
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.transform import ImageList

SIZES = [(8, 8), (4, 4)]  # feature maps of two levels of a 32 x 32 image


def build_rpn(**options: Any) -> RegionProposalNetwork:
    settings: dict[str, Any] = {
        "anchor_generator": AnchorGenerator([(8,), (16,)], [(1.0,), (1.0,)]),
        "proposal_matcher": Matcher(0.7, 0.3, allow_low_quality_matches=True),
        "fg_bg_sampler": BalancedPositiveNegativeSampler(16, 0.5),
        "pre_nms_top_n": (50, 20),
        "post_nms_top_n": (30, 10),
        "nms_threshold": 0.7,
    }
    return RegionProposalNetwork(4, **(settings | options))


def make_batch(n: int = 1, size: tuple[int, int] = (32, 32)) -> ImageList:
    return ImageList(lucid.zeros(n, 3, 32, 32), [size] * n, [size] * n)


def make_levels(n: int = 1) -> list[Tensor]:
    return [lucid.random.randn(n, 4, *size) for size in SIZES]


class Said(RPNHead):
    """A head with constant outputs."""

    def __init__(self, objectness: Any, deltas: Any = None) -> None:
        super().__init__(4, 1)
        self.objectness = np.asarray(objectness, np.float32)
        zeros = np.zeros((*self.objectness.shape, 4), np.float32)
        self.deltas = zeros if deltas is None else np.asarray(deltas, np.float32)

    def forward(self, levels: Any) -> tuple[Tensor, Tensor]:
        return (
            Tensor(self.objectness).requires_grad_(),
            Tensor(self.deltas).requires_grad_(),
        )


def test_head_orders_by_level_row_column_and_anchor() -> None:
    head = RPNHead(3, 2)
    levels = [lucid.random.randn(2, 3, 2, 3), lucid.random.randn(2, 3, 1, 2)]
    objectness, deltas = head(levels)
    assert objectness.shape == (2, 2 * (6 + 2))
    assert deltas.shape == (2, 16, 4)
    # Image 1, level 0, row 1, column 2, anchor 1.
    hidden = head.conv(levels[0])
    place = (1 * 3 + 2) * 2 + 1
    logits, offsets = head.cls_logits(hidden).data, head.bbox_pred(hidden).data
    np.testing.assert_allclose(objectness.data[1, place], logits[1, 1, 1, 2], rtol=1e-5)
    np.testing.assert_allclose(deltas.data[1, place], offsets[1, 4:8, 1, 2], rtol=1e-5)
    # Image 0, level 1, column 1, anchor 0.
    logits = head.cls_logits(head.conv(levels[1])).data
    np.testing.assert_allclose(objectness.data[0, 12 + 2], logits[0, 0, 0, 1], rtol=1e-5)


def test_head_starts_small() -> None:
    head = RPNHead(256, 9)
    for conv in (head.conv.conv, head.cls_logits, head.bbox_pred):
        assert conv.weight.data.std() == pytest.approx(0.01, rel=0.1)
        assert not conv.bias.data.any()


def test_proposals_are_inside_the_image_apart_and_best_first() -> None:
    rng = np.random.default_rng(0)
    rpn = build_rpn()
    rpn.head = Said(rng.standard_normal((2, 80)), rng.standard_normal((2, 80, 4)) * 0.3)
    proposals, losses = rpn(make_levels(2), make_batch(2, (30, 25)))
    assert losses == {}
    for i, found in enumerate(proposals):
        assert 0 < len(found) <= 10
        assert (found >= 0).all()
        assert (found <= [25, 30, 25, 30]).all()
        # By brute force: all anchors decoded, best 20 of each level, suppressed level by level.
        anchors = rpn.anchor_generator(SIZES, (32, 32))
        kept: list[tuple[float, np.ndarray]] = []
        for level, start in zip(anchors, (0, 64), strict=True):
            scores = rpn.head.objectness[i, start : start + len(level)]
            decoded = box_ops.decode(rpn.head.deltas[i, start : start + len(level)], level)
            decoded = box_ops.clip(decoded, (30, 25))
            of_level: list[np.ndarray] = []
            for j in np.argsort(-scores)[:20]:
                width, height = decoded[j, 2:] - decoded[j, :2]
                if min(width, height) < 1e-3:
                    continue
                if all(box_ops.iou(decoded[j : j + 1], [k])[0, 0] <= 0.7 for k in of_level):
                    of_level.append(decoded[j])
                    kept.append((scores[j], decoded[j]))
        kept.sort(key=lambda pair: -pair[0])
        np.testing.assert_allclose(found, [box for _, box in kept][:10], rtol=1e-6)


def test_suppressed_proposals_fill_up_in_order_of_score() -> None:
    rpn = build_rpn(nms_threshold=0.0, post_nms_top_n=(30, 40))
    scores = np.random.default_rng(0).standard_normal((1, 80)).astype(np.float32)
    rpn.head = Said(scores)
    (kept,), _ = rpn(make_levels(), make_batch())
    (filled,), _ = rpn(make_levels(), make_batch(), fill=True)
    assert len(kept) < 40
    assert filled.shape == (40, 4)
    np.testing.assert_array_equal(filled[: len(kept)], kept)
    anchors = box_ops.clip(np.concatenate(rpn.anchor_generator(SIZES, (32, 32))), (32, 32))
    by_score = list(anchors[np.argsort(-scores[0])])
    taken = {tuple(box) for box in kept}
    rest = [box for box in by_score if tuple(box) not in taken]
    np.testing.assert_array_equal(filled[len(kept) :], rest[: 40 - len(kept)])


def test_filling_ends_with_the_anchors() -> None:
    rpn = build_rpn(post_nms_top_n=(30, 1000))
    rpn.head = Said(np.random.default_rng(0).standard_normal((1, 80)))
    (filled,), _ = rpn(make_levels(), make_batch(), fill=True)
    assert filled.shape == (80, 4)


def test_broken_numbers_propose_nothing_and_fill_without_harm() -> None:
    rpn = build_rpn()
    rpn.head = Said(np.full((1, 80), np.nan), np.full((1, 80, 4), np.nan))
    proposals, _ = rpn(make_levels(), make_batch())
    assert proposals[0].shape == (0, 4)
    proposals, _ = rpn(make_levels(), make_batch(), fill=True)
    assert proposals[0].shape == (10, 4)
    assert np.isfinite(proposals[0]).all()


def test_targets_select_training_proposals() -> None:
    rpn = build_rpn(nms_threshold=1.0)
    target = GroundTruth(np.array([[4, 4, 20, 20]], np.float32), np.array([1]))
    for train in (True, False):
        rpn.train(train)
        proposals, _ = rpn(make_levels(), make_batch(), [target])
        assert len(proposals[0]) == 30
        proposals, _ = rpn(make_levels(), make_batch())
        assert len(proposals[0]) == 10


def test_anchors_are_labeled_by_iou() -> None:
    rpn = build_rpn()
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 10, 9]], np.float32)
    target = GroundTruth(np.array([[0, 0, 10, 10]], np.float32), np.array([7]))
    labels, matches = rpn.assign_targets_to_anchors(anchors, target)
    np.testing.assert_array_equal(labels, [1, -1, 0, 1])
    np.testing.assert_array_equal(matches[labels == 1], [0, 0])


def all_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)


def test_losses_by_hand() -> None:
    scores = np.random.default_rng(0).standard_normal((2, 80)).astype(np.float32)
    deltas = np.random.default_rng(1).standard_normal((2, 80, 4)).astype(np.float32)
    rpn = build_rpn(fg_bg_sampler=all_of)
    rpn.head = Said(scores, deltas)
    box = np.array([[4, 4, 18, 18]], np.float32)
    targets = [
        GroundTruth(box, np.array([1])),
        GroundTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
    ]
    _, losses = rpn(make_levels(2), make_batch(2), targets)
    anchors = np.concatenate(rpn.anchor_generator(SIZES, (32, 32)))
    overlap = box_ops.iou(anchors, box)[:, 0]
    positive = (overlap >= 0.7) | (overlap == overlap.max())
    drawn = np.stack([positive | (overlap < 0.3), np.ones(80, bool)])
    wanted = np.stack([positive, np.zeros(80, bool)])
    entropy = np.log1p(np.exp(-np.where(wanted, scores, -scores)))
    assert losses["loss_objectness"].item() == pytest.approx(entropy[drawn].mean(), rel=1e-5)
    gap = np.abs(deltas[0][positive] - box_ops.encode(box, anchors[positive]))
    smooth = np.where(gap < 1 / 9, 4.5 * gap**2, gap - 1 / 18)
    assert losses["loss_rpn_box_reg"].item() == pytest.approx(smooth.sum() / drawn.sum(), rel=1e-5)


def test_without_objects_the_box_loss_is_exactly_zero_and_can_be_walked_back() -> None:
    rpn = build_rpn()
    nothing = GroundTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    _, losses = rpn(make_levels(2), make_batch(2), [nothing, nothing])
    assert losses["loss_rpn_box_reg"].item() == 0
    assert losses["loss_objectness"].item() > 0
    (losses["loss_objectness"] + losses["loss_rpn_box_reg"]).backward()
    assert rpn.head.cls_logits.weight.grad is not None
    gradient = rpn.head.bbox_pred.weight.grad
    assert gradient is None or not gradient.data.any()


def test_head_and_box_coder_can_be_given() -> None:
    levels, head = make_levels(), RPNHead(4, 1)
    rpn = build_rpn(head=head, box_coder=BoxCoder((2.0, 2.0, 2.0, 2.0)))
    assert rpn.head is head
    head.bbox_pred.weight.data[...] = 0
    head.bbox_pred.bias.data[...] = 1
    (doubled,), _ = rpn(levels, make_batch())
    head.bbox_pred.bias.data[...] = 0.5
    (expected,), _ = build_rpn(head=head)(levels, make_batch())
    assert len(expected) > 3
    np.testing.assert_array_equal(doubled, expected)
