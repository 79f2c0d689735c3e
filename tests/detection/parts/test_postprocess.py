from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.nn import functional as F
from lucid_models_detection.parts import BoxCoder, postprocess_detections
from lucid_models_detection.parts.postprocess import topk_indices


def test_top_is_stable_and_puts_nan_last() -> None:
    scores = np.array([1, 3, 2, 3, np.nan, 3, -np.inf], np.float32)
    np.testing.assert_array_equal(topk_indices(scores, 2), [1, 3])
    np.testing.assert_array_equal(topk_indices(scores, 4), [1, 3, 5, 2])
    np.testing.assert_array_equal(topk_indices(scores, 6), [1, 3, 5, 2, 0, 6])
    np.testing.assert_array_equal(topk_indices(scores, 99), [1, 3, 5, 2, 0, 6, 4])
    np.testing.assert_array_equal(topk_indices(np.full(3, np.nan, np.float32), 2), [0, 1])


#: Two levels with two anchors each; the last two overlap with an IoU of 0.8.
ANCHORS = [
    np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32),
    np.array([[40, 40, 60, 60], [40, 40, 60, 56]], np.float32),
]
SCORES = [
    np.array([[0.3, 0.9], [0.05, 0.1]], np.float32),
    np.array([[0.8, 0.2], [0.7, 0.6]], np.float32),
]
DELTAS = [np.zeros((2, 4), np.float32)] * 2


def select(**options: Any) -> list[tuple[int, float]]:
    """Labels and scores of the detections in ``SCORES``."""
    found = postprocess_detections(SCORES, DELTAS, ANCHORS, (100, 100), **options)
    return [
        (int(label), round(float(score), 2))
        for label, score in zip(found["labels"], found["scores"], strict=True)
    ]


def test_nms_is_per_class_and_sorted_by_score() -> None:
    # (0, 0.7) and (1, 0.2) lie under better boxes of their class; 0.05 is not above the threshold.
    assert select() == [(1, 0.9), (0, 0.8), (1, 0.6), (0, 0.3), (1, 0.1)]
    found = postprocess_detections(SCORES, DELTAS, ANCHORS, (100, 100))
    expected = [ANCHORS[0][0], ANCHORS[1][0], ANCHORS[1][1], ANCHORS[0][0], ANCHORS[0][1]]
    np.testing.assert_array_equal(found["boxes"], expected)
    assert {key: value.dtype for key, value in found.items()} == {  # type: ignore[attr-defined]
        "boxes": np.float32, "labels": np.int64, "scores": np.float32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"score_threshold": 0.6}, [(1, 0.9), (0, 0.8)]),
        ({"candidates_per_level": 1}, [(1, 0.9), (0, 0.8)]),
        ({"candidates_per_level": 2}, [(1, 0.9), (0, 0.8), (0, 0.3)]),
        ({"nms_threshold": 0.85, "detections_per_image": 3}, [(1, 0.9), (0, 0.8), (0, 0.7)]),
        ({"detections_per_image": 2, "first_label": 1}, [(2, 0.9), (1, 0.8)]),
        ({"score_threshold": 0.95}, []),
    ],
)
def test_options(options: dict[str, Any], expected: list[tuple[int, float]]) -> None:
    assert select(**options) == expected


def test_boxes_are_decoded_and_clipped_to_the_image() -> None:
    coder = BoxCoder((2.0, 2.0, 1.0, 1.0))
    deltas = [np.array([[2.0, -1.0, 0.0, np.log(2)]])]
    found = postprocess_detections([[[0.9]]], deltas, [[[0, 0, 10, 10]]], (12, 16), box_coder=coder)
    # The center moves from (5, 5) to (15, 0), the height doubles.
    np.testing.assert_allclose(found["boxes"], [[10, 0, 16, 10]], rtol=1e-6)


def test_non_finite_boxes_are_dropped() -> None:
    scores = np.array([[np.nan], [0.9], [0.8]])
    deltas = np.array([[0.0] * 4, [np.nan] * 4, [0.0] * 4])
    found = postprocess_detections([scores], [deltas], [np.ones((3, 4)) * [0, 0, 9, 9]], (50, 50))
    np.testing.assert_array_equal(found["scores"], np.float32([0.8]))


def test_no_anchors_and_no_classes() -> None:
    for count, classes in ((0, 3), (2, 0)):
        none = np.zeros((count, 4))
        found = postprocess_detections([np.zeros((count, classes))], [none], [none], (10, 10))
        assert [len(value) for value in found.values()] == [0, 0, 0]  # type: ignore[arg-type]


def test_mismatched_shapes_are_rejected() -> None:
    one = np.zeros((2, 4))
    with pytest.raises(ValueError, match="got 1, 2 and 1"):
        postprocess_detections([one], [one, one], [one], (10, 10))
    with pytest.raises(ValueError, match="at least one, got 0, 0 and 0"):
        postprocess_detections([], [], [], (10, 10))
    with pytest.raises(ValueError, match=r"scores\[0\]: expected shape \(T, C\), got \(2,\)"):
        postprocess_detections([np.zeros(2)], [one], [one], (10, 10))
    with pytest.raises(ValueError, match=r"anchors\[1\]: expected shape \(2, 4\).* got \(3, 4\)"):
        postprocess_detections([one, one], [one, one], [one, np.zeros((3, 4))], (10, 10))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5, 0.999999, 1.0])
def test_logits_match_their_sigmoids(threshold: float, dtype: type) -> None:
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((400, 5)) * 8).astype(dtype)
    logits[0, :3] = [np.nan, np.inf, -np.inf]
    logits[1, :] = np.log(0.05 / 0.95)
    corners = rng.uniform(0, 90, (400, 2))
    anchors = np.concatenate([corners, corners + 8], axis=1)
    deltas = (rng.standard_normal((400, 4)) * 0.1).astype(dtype)
    for columns in (logits, logits[:, 1:]):  # a view with gaps
        scores = F.sigmoid(columns).numpy()
        options: dict[str, Any] = {"score_threshold": threshold, "candidates_per_level": 150}
        expected = postprocess_detections([scores], [deltas], [anchors], (100, 100), **options)
        found = postprocess_detections(
            [columns], [deltas], [anchors], (100, 100), from_logits=True, **options
        )
        assert (len(expected["scores"]) > 20) == (threshold < 1)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
