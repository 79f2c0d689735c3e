"""Non-maximum suppression: by hand, reference against definition, compiled against reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(5)

FORMS = ["reference", "compiled"]


def overlap(a, b):
    """Compute the exact intersection over union of two integer boxes; 0 without area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union else 0.0


def pairwise(boxes, scores, threshold):
    """Suppress by the definition, pair by pair."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


@st.composite
def boxes_and_scores(draw):
    """Draw from few coordinates and scores, so that ties and empty boxes are common."""
    count = draw(st.integers(0, 30))
    edge = st.integers(0, 8)
    rows = [
        [*np.minimum(a, b), *np.maximum(a, b)]
        for a, b in draw(
            st.lists(
                st.tuples(st.tuples(edge, edge), st.tuples(edge, edge)),
                min_size=count,
                max_size=count,
            )
        )
    ]
    scores = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    return np.array(rows, np.float64).reshape(-1, 4), np.array(scores, np.float64) / 5


@settings(max_examples=100, deadline=None)
@given(
    drawn=boxes_and_scores(),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    double=st.booleans(),
)
def test_all_forms_match_definition(drawn, threshold, double):
    """With exact thresholds, only a strictly greater overlap suppresses."""
    boxes, scores = drawn
    expected = pairwise(boxes.tolist(), scores.tolist(), threshold)
    dtype = np.float64 if double else np.float32
    for form in FORMS:
        kept = getattr(kernels.nms, form)(boxes.astype(dtype), scores.astype(dtype), threshold)
        assert kept.tolist() == expected
        assert kept.dtype == np.int64


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_three_boxes(self, form):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
        scores = np.array([0.5, 0.9, 0.1], np.float32)
        assert getattr(kernels.nms, form)(boxes, scores, 0.5).tolist() == [1, 2]
        assert getattr(kernels.nms, form)(boxes, scores, 0.9).tolist() == [1, 0, 2]

    def test_iou_at_the_threshold_is_kept(self, form):
        """An IoU of 3 / 10 in float32 is not greater than a threshold of 0.3."""
        boxes = np.array([[0, 0, 8, 1], [5, 0, 10, 1]])
        scores = np.array([1.0, 0.5])
        for dtype in (np.float32, np.float64):
            kept = getattr(kernels.nms, form)(boxes.astype(dtype), scores.astype(dtype), 0.3)
            assert kept.tolist() == [0, 1]

    def test_suppressed_boxes_do_not_suppress(self, form):
        boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], np.float32)
        kept = getattr(kernels.nms, form)(boxes, np.array([3, 2, 1], np.float32), 0.4)
        assert kept.tolist() == [0, 2]

    def test_equal_boxes_and_scores_keep_the_first(self, form):
        boxes = np.tile(np.array([[1, 1, 5, 5]], np.float32), (6, 1))
        assert getattr(kernels.nms, form)(boxes, np.ones(6, np.float32), 0.7).tolist() == [0]

    def test_no_area(self, form):
        boxes = np.array([[2, 2, 2, 2], [2, 2, 2, 2], [0, 3, 9, 3], [0, 0, 4, 4]], np.float32)
        kept = getattr(kernels.nms, form)(boxes, np.zeros(4, np.float32), 0.0)
        assert kept.tolist() == [0, 1, 2, 3]

    def test_no_boxes(self, form):
        kept = getattr(kernels.nms, form)(np.zeros((0, 4), np.float32), np.zeros(0), 0.5)
        assert kept.shape == (0,)
        assert kept.dtype == np.int64

    def test_not_finite(self, form):
        nan, inf = np.nan, np.inf
        boxes = np.array(
            [[0, 0, 4, 4], [nan, 0, 4, 4], [0, 0, 4, 4], [0, 0, inf, inf], [-inf, 0, inf, 4]],
            np.float32,
        )
        scores = np.array([0.5, 0.6, nan, inf, -inf], np.float32)
        kept = getattr(kernels.nms, form)(boxes, scores, 0.5)
        assert kept.tolist() == [3, 1, 0, 4]  # the box whose score is NaN is last, and suppressed

    def test_integers(self, form):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9]])
        kept = getattr(kernels.nms, form)(boxes, np.array([1, 2], np.uint8), 0.5)
        assert kept.tolist() == [1]

    @pytest.mark.parametrize(
        ("boxes", "scores", "threshold", "message"),
        [
            (np.zeros((3, 5)), np.zeros(3), 0.5, r"got \(3, 5\) and \(3,\)"),
            (np.zeros((3, 4)), np.zeros(2), 0.5, r"got \(3, 4\) and \(2,\)"),
            (np.zeros((3, 4)), np.zeros((3, 1)), 0.5, r"got \(3, 4\) and \(3, 1\)"),
            (np.zeros((3, 4)), np.zeros(3), -0.1, "at least 0, got -0.1"),
            (np.zeros((3, 4)), np.zeros(3), np.nan, "at least 0, got nan"),
        ],
    )
    def test_bad_input(self, form, boxes, scores, threshold, message):
        with pytest.raises(ValueError, match=message):
            getattr(kernels.nms, form)(boxes, scores, threshold)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_boxes(threshold, dtype):
    center, size = rng.uniform(0, 300, (1500, 2)), rng.uniform(5, 90, (1500, 2))
    boxes = np.hstack([center - size / 2, center + size / 2]).astype(dtype)
    scores = rng.integers(0, 200, 1500).astype(dtype)
    before = boxes.copy(), scores.copy()
    kept = kernels.nms.compiled(boxes, scores, threshold)
    np.testing.assert_array_equal(kept, kernels.nms.reference(boxes, scores, threshold))
    np.testing.assert_array_equal(boxes, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_foreign_layouts(foreign):
    corner = rng.uniform(0, 20, (50, 2))
    boxes = np.hstack([corner, corner + 10]).astype(np.float32)
    scores = rng.random(50).astype(np.float32)
    np.testing.assert_array_equal(
        kernels.nms.compiled(foreign(boxes), foreign(scores), 0.4),
        kernels.nms.reference(boxes, scores, 0.4),
    )
