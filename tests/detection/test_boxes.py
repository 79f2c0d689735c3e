from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid_models_detection import boxes


def test_area_is_width_times_height() -> None:
    np.testing.assert_array_equal(boxes.area([[1, 2, 4, 6], [0, 0, 5, 0]]), [12, 0])


def test_iou_of_pairs_computed_by_hand() -> None:
    a = [[0, 0, 10, 10], [5, 5, 15, 15]]
    b = [[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [10, 0, 20, 10]]
    # (0,0,10,10) and (5,0,15,10): 50 of 150.  (5,5,15,15): 25 of 175, 50 of 150, 25 of 175.
    expected = [[1, 1 / 3, 0, 0], [1 / 7, 1 / 3, 0, 1 / 7]]
    result = boxes.iou(a, b)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert result.dtype == np.float32


def test_iou_of_boxes_without_area_is_zero_not_nan() -> None:
    np.testing.assert_array_equal(boxes.iou([[3, 3, 3, 3]], [[3, 3, 3, 3], [0, 0, 5, 5]]), [[0, 0]])


@pytest.mark.parametrize(("m", "k"), [(0, 0), (0, 3), (2, 0)])
def test_iou_of_empty_boxes(m: int, k: int) -> None:
    assert boxes.iou(np.ones((m, 4), np.float32), np.ones((k, 4), np.float32)).shape == (m, k)
    assert boxes.giou(np.ones((m, 4), np.float32), np.ones((k, 4), np.float32)).shape == (m, k)


def test_giou_by_hand() -> None:
    # Identical: 1.  Apart by a gap: IoU 0, enclosing 30 x 10, uncovered 100.
    result = boxes.giou([[0, 0, 10, 10]], [[0, 0, 10, 10], [20, 0, 30, 10], [5, 5, 15, 15]])
    # The last: 25 of 175, enclosing 225, uncovered 50.
    np.testing.assert_allclose(result, [[1, -1 / 3, 1 / 7 - 50 / 225]], rtol=1e-6)


def test_clip_takes_height_and_width_in_this_order() -> None:
    result = boxes.clip([[-5, -5, 50, 50], [30, 2, 40, 3]], (20, 30))
    np.testing.assert_array_equal(result, [[0, 0, 30, 20], [30, 2, 30, 3]])


def test_resize_scales_x_by_width_and_y_by_height() -> None:
    result = boxes.resize([[1, 2, 3, 4]], (10, 20), (30, 10))
    np.testing.assert_allclose(result, [[0.5, 6, 1.5, 12]])


def test_xywh_round_trip() -> None:
    xyxy = np.array([[1, 2, 4, 7]], np.float32)
    np.testing.assert_array_equal(boxes.to_xywh(xyxy), [[1, 2, 3, 5]])
    np.testing.assert_array_equal(boxes.from_xywh(boxes.to_xywh(xyxy)), xyxy)


def test_large_enough_needs_both_sides_and_drops_nan() -> None:
    given = np.array([[0, 0, 2, 2], [0, 0, 2, 1], [0, 0, np.nan, 5], [0, 0, 1.5, 9]], np.float32)
    np.testing.assert_array_equal(boxes.remove_small_boxes(given, 1.5), [0, 3])


def test_nms_suppresses_above_the_threshold_only() -> None:
    given = [[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 9]]
    # IoU of the first with the second is 1/3, with the third 0.9.
    np.testing.assert_array_equal(boxes.nms(given, [0.5, 0.9, 0.8], 0.5), [1, 2])
    np.testing.assert_array_equal(boxes.nms(given, [0.5, 0.9, 0.8], 0.95), [1, 2, 0])
    assert boxes.nms(np.zeros((0, 4), np.float32), np.zeros(0), 0.5).shape == (0,)


def test_nms_keeps_a_pair_exactly_at_the_threshold() -> None:
    halves = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], np.float32)  # IoU is 1/2, exactly
    np.testing.assert_array_equal(boxes.nms(halves, [2.0, 1.0], 0.5), [0, 1])


def test_batched_nms_works_within_groups_and_orders_across_them() -> None:
    same = np.tile(np.array([[0, 0, 10, 10]], np.float32), (5, 1))
    scores = np.array([0.1, 0.5, 0.5, 0.9, 0.2], np.float32)
    # Group 7 keeps 1 (first of a tie), group -1 keeps 3, group 2 keeps 4.
    kept = boxes.batched_nms(same, scores, [7, 7, 7, -1, 2], 0.5)
    np.testing.assert_array_equal(kept, [3, 1, 4])


def test_batched_nms_breaks_ties_by_index() -> None:
    apart = np.array([[20, 0, 30, 10], [0, 0, 10, 10], [40, 0, 50, 10]], np.float32)
    kept = boxes.batched_nms(apart, np.ones(3), np.array([1, 0, 1]), 0.5)
    np.testing.assert_array_equal(kept, [0, 1, 2])
    empty = boxes.batched_nms(apart[:0], np.ones(0), np.zeros(0, int), 0.5)
    assert empty.shape == (0,)


def test_batched_nms_equals_nms_of_boxes_moved_apart() -> None:
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 50, (200, 2))
    given = np.concatenate([corner, corner + rng.uniform(1, 40, (200, 2))], axis=1)
    scores, groups = rng.random(200), rng.integers(0, 4, 200)
    moved = given + 1000.0 * groups[:, None]
    np.testing.assert_array_equal(
        boxes.batched_nms(given, scores, groups, 0.4), boxes.nms(moved, scores, 0.4)
    )


def test_tensors_and_lists_are_converted() -> None:
    given = lucid.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert isinstance(boxes.area(given), np.ndarray)
    np.testing.assert_array_equal(boxes.iou(given, [[0, 0, 2, 2]]), [[1]])


def test_dtypes() -> None:
    assert boxes.iou(np.ones((1, 4)), np.ones((1, 4))).dtype == np.float64
    assert boxes.clip(np.array([[0, 0, 9, 9]]), (5, 5)).dtype == np.float32


def test_arrays_of_any_layout_give_the_same_and_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (30, 2))
    plain = np.concatenate([corner, corner + 20], axis=1).astype(np.float32)
    scores = rng.random(30).astype(np.float32)
    wide = np.zeros((60, 8), np.float32)
    wide[::2, ::2] = plain
    read_only = plain.copy()
    read_only.flags.writeable = False
    expected = boxes.nms(plain, scores, 0.3), boxes.iou(plain, plain), boxes.clip(plain, (40, 40))
    for given in (
        wide[::2, ::2],
        plain[::-1].copy()[::-1],
        np.asfortranarray(plain),
        plain.astype(">f4"),
        read_only,
    ):
        before = given.copy()
        found = boxes.nms(given, scores, 0.3), boxes.iou(given, given), boxes.clip(given, (40, 40))
        for ours, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, wanted)
        np.testing.assert_array_equal(given, before)


def test_half_precision_becomes_single() -> None:
    assert boxes.iou(np.ones((1, 4), np.float16), np.ones((1, 4), np.float16)).dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected shape \(M, 4\), xyxy, got"):
        boxes.area(np.ones(shape))


def test_scores_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores: expected shape \(2,\).* got \(3,\)"):
        boxes.nms(np.ones((2, 4)), np.ones(3), 0.5)
