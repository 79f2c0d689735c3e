from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.faster_rcnn import BoxHead, BoxPredictor, RoIHeads
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.roi_align import MultiScaleRoIAlign
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.transform import ImageList


def make_heads(num_classes: int = 3, **options: Any) -> RoIHeads:
    settings: dict[str, Any] = {
        "proposal_matcher": Matcher(0.5, 0.5),
        "fg_bg_sampler": BalancedPositiveNegativeSampler(8, 0.25),
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "detections_per_image": 100,
    }
    return RoIHeads(
        MultiScaleRoIAlign(2),
        BoxHead(4, 2, 16),
        BoxPredictor(16, num_classes),
        **(settings | options),
    )


def make_levels(n: int = 1) -> list[Tensor]:
    return [lucid.random.randn(n, 4, 16 >> i, 16 >> i) for i in range(4)]


def make_batch(n: int = 1, size: tuple[int, int] = (64, 64)) -> ImageList:
    return ImageList(lucid.zeros(n, 3, 64, 64), [size] * n, [size] * n)


@pytest.mark.parametrize("count", [0, 3, 16, 17, 40])
def test_the_box_head_flattens_channel_by_channel_however_many_regions(count: int) -> None:
    head = BoxHead(4, 3, 16)
    pooled = np.random.default_rng(0).standard_normal((count, 4, 3, 3)).astype(np.float32)
    in_memory = np.ascontiguousarray(pooled.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    hidden = np.maximum(pooled.reshape(count, 36) @ head.fc6.weight.data.T + head.fc6.bias.data, 0)
    expected = np.maximum(hidden @ head.fc7.weight.data.T + head.fc7.bias.data, 0)
    np.testing.assert_allclose(head(Tensor(in_memory)).data, expected, rtol=1e-4, atol=1e-6)


def test_gradients_do_not_depend_on_the_copied_operand() -> None:
    head = BoxHead(3, 2, 8)
    pooled = lucid.random.randn(20, 3, 2, 2)
    weight = lucid.random.randn(20, 8)
    results = []
    for rows in (slice(0, 20), None):
        head.fc6.weight.grad = None
        if rows is not None:  # all at once: the weights are reordered
            (head(pooled) * weight).sum().backward()
        else:  # five at a time: the regions are
            for i in range(0, 20, 5):
                (head(pooled[i : i + 5]) * weight[i : i + 5]).sum().backward()
        assert head.fc6.weight.grad is not None
        results.append(head.fc6.weight.grad.data.copy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_shapes_and_order_of_regions() -> None:
    heads = make_heads()
    levels, batch = make_levels(2), make_batch(2)
    proposals = [
        np.array([[0, 0, 60, 60], [1, 2, 9, 9]], np.float32),
        np.array([[5, 5, 30, 20]], np.float32),
    ]
    logits, deltas = heads(levels, batch, proposals)
    assert logits.shape == (3, 3)
    assert deltas.shape == (3, 3, 4)
    swapped, _ = heads(levels, batch, [proposals[0][::-1], proposals[1]])
    np.testing.assert_allclose(swapped.data, logits.data[[1, 0, 2]], rtol=1e-4, atol=1e-6)


def test_proposals_are_matched_to_classes() -> None:
    target = GroundTruth(np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32), np.array([2, 1]))
    proposals = np.array(
        [[0, 0, 10, 6], [0, 0, 10, 4], [21, 20, 30, 30], [50, 50, 60, 60]], np.float32
    )
    labels, matches = make_heads().assign_targets_to_proposals(proposals, target)
    np.testing.assert_array_equal(labels, [2, 0, 1, 0])
    np.testing.assert_array_equal(matches[[0, 2]], [0, 1])


def test_losses_by_hand() -> None:
    heads = make_heads(
        fg_bg_sampler=lambda labels: (np.flatnonzero(labels), np.flatnonzero(labels == 0))
    )
    levels, batch = make_levels(), make_batch()
    proposals = np.array([[0, 0, 20, 20], [2, 2, 22, 20], [40, 40, 60, 60]], np.float32)
    target = GroundTruth(np.array([[1, 1, 21, 21]], np.float32), np.array([2]))
    losses = heads.compute_losses(levels, batch, [proposals], [target])
    regions = np.concatenate([proposals, target.boxes])  # the ground truth joins them
    logits, deltas = heads(levels, batch, [regions])
    wanted = np.array([2, 2, 0, 2])
    powers = np.exp(logits.data)
    entropy = -np.log((powers / powers.sum(axis=1, keepdims=True))[np.arange(4), wanted])
    assert losses["loss_classifier"].item() == pytest.approx(entropy.mean(), rel=1e-5)
    rows = np.flatnonzero(wanted)
    gt = box_ops.encode(target.boxes, regions[rows], (10, 10, 5, 5))
    gap = np.abs(deltas.data[rows, 2] - gt)
    smooth = np.where(gap < 1 / 9, 4.5 * gap**2, gap - 1 / 18)
    assert losses["loss_box_reg"].item() == pytest.approx(smooth.sum() / 4, rel=1e-5)


NOTHING = GroundTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def test_without_objects_the_box_loss_is_exactly_zero() -> None:
    proposals = np.array([[0, 0, 20, 20]], np.float32)
    losses = make_heads().compute_losses(make_levels(), make_batch(), [proposals], [NOTHING])
    assert losses["loss_box_reg"].item() == 0
    assert losses["loss_classifier"].item() > 0
    sum(losses.values(), lucid.zeros(())).backward()


def test_without_any_region_both_losses_are_zero() -> None:
    none = np.zeros((0, 4), np.float32)
    losses = make_heads().compute_losses(make_levels(), make_batch(), [none], [NOTHING])
    assert {name: loss.item() for name, loss in losses.items()} == {
        "loss_classifier": 0,
        "loss_box_reg": 0,
    }


def say(heads: RoIHeads, scores: Any, deltas: Any = None) -> None:
    """Let the heads answer with these probabilities, and these offsets or none."""
    logits = np.log(np.asarray(scores, np.float32))
    offsets = np.zeros((*logits.shape, 4)) if deltas is None else np.asarray(deltas)
    heads.forward = lambda *_: (Tensor(logits), Tensor(offsets.astype(np.float32)))


def test_detections_by_hand() -> None:
    heads = make_heads()
    proposals = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40], [50, 50, 60, 60]], np.float32
    )
    scores = [[0.1, 0.6, 0.3], [0.2, 0.7, 0.1], [0.9, 0.04, 0.06], [0.96, 0.02, 0.02]]
    deltas = np.zeros((4, 3, 4))
    deltas[2, 2] = [1, -2, 0, 0]  # a tenth and a fifth of the 10 pixels, right and up
    say(heads, scores, deltas)
    (found,) = heads.detect([], make_batch(), [proposals])
    # Class 1: the second box suppresses the first; class 2 the first suppresses the second.
    np.testing.assert_array_equal(found["labels"], [1, 2, 2])
    np.testing.assert_allclose(found["scores"], [0.7, 0.3, 0.06], rtol=1e-5)
    expected = [[0, 0, 10, 9], [0, 0, 10, 10], [31, 28, 41, 38]]
    np.testing.assert_allclose(found["boxes"], expected, rtol=1e-5)
    dtypes = [found[key].dtype for key in ("boxes", "labels", "scores")]  # type: ignore[literal-required]
    assert dtypes == [np.float32, np.int64, np.float32]


def test_detections_are_clipped_and_limited() -> None:
    heads = make_heads(detections_per_image=2)
    proposals = np.array([[0, 0, 10, 10], [20, 20, 60, 60], [30, 0, 64, 15]], np.float32)
    say(heads, [[0.4, 0.6, 1e-9], [0.3, 0.7, 1e-9], [0.1, 0.9, 1e-9]])
    (found,) = heads.detect([], make_batch(size=(50, 40)), [proposals])
    np.testing.assert_array_equal(found["boxes"], [[30, 0, 40, 15], [20, 20, 40, 50]])


def test_score_threshold_is_strict() -> None:
    heads = make_heads(num_classes=2, score_threshold=0.5)
    say(heads, [[0.5, 0.5]])
    (found,) = heads.detect([], make_batch(), [np.array([[0, 0, 9, 9]], np.float32)])
    assert found["boxes"].shape == (0, 4)


def test_detections_are_per_image() -> None:
    heads = make_heads(num_classes=2)
    box = np.array([[0, 0, 9, 9]], np.float32)
    say(heads, [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    found = heads.detect(
        [], make_batch(4), [box, box[:0], np.concatenate([box, box + 20]), box[:0]]
    )
    assert [len(image["boxes"]) for image in found] == [1, 0, 2, 0]
    np.testing.assert_allclose(found[2]["scores"], [0.8, 0.7], rtol=1e-5)


def test_broken_numbers_are_dropped() -> None:
    heads = make_heads(num_classes=2)
    deltas = np.zeros((3, 2, 4))
    deltas[0] = np.nan
    say(heads, [[0.1, 0.9], [np.nan, np.nan], [0.2, 0.8]], deltas)
    boxes = np.array([[0, 0, 9, 9], [20, 20, 29, 29], [40, 40, 49, 49]], np.float32)
    (found,) = heads.detect([], make_batch(), [boxes])
    np.testing.assert_allclose(found["boxes"], boxes[2:])


def test_the_box_coder_can_be_given() -> None:
    assert make_heads().box_coder.weights == (10.0, 10.0, 5.0, 5.0)
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    assert make_heads(box_coder=coder).box_coder is coder


def test_half_replaced_predictor_is_rejected() -> None:
    predictor = BoxPredictor(6, 3)
    x = lucid.zeros(2, 6)
    assert [out.shape for out in predictor(x)] == [(2, 3), (2, 3, 4)]
    predictor.cls_score = nn.Linear(6, 5)
    with pytest.raises(ValueError, match=r"3 logits and 12 deltas .* got 5 and 12; .*\(6, num"):
        predictor(x)
    predictor.num_classes = 5
    with pytest.raises(ValueError, match=r"5 logits and 20 deltas .* got 5 and 12"):
        predictor(x)
