from __future__ import annotations

import numpy as np
import pytest

from lucid_models_detection.parts.matcher import Matcher

QUALITY = np.array(
    [
        [0.9, 0.6, 0.2, 0.1, 0.0],
        [0.1, 0.5, 0.4, 0.1, 0.0],
    ]
)


def test_thresholds_are_inclusive_from_below() -> None:
    matches = Matcher(high=0.6, low=0.4)(QUALITY)
    # Best are 0.9, 0.6, 0.4, 0.1, 0: matched, matched (at high), ignored (at low), background.
    np.testing.assert_array_equal(matches, [0, 0, Matcher.IGNORED, -1, -1])
    assert matches.dtype == np.int64


def test_equal_thresholds_leave_nothing_ignored() -> None:
    np.testing.assert_array_equal(Matcher(0.5, 0.5)(QUALITY), [0, 0, -1, -1, -1])


def test_low_quality_match_uses_the_best_box_of_the_anchor() -> None:
    # Ground truth 1 overlaps anchor 1 most, but anchor 1 overlaps ground truth 0 more.
    np.testing.assert_array_equal(Matcher(0.7, 0.3, True)(QUALITY), [0, 0, -2, -1, -1])


def test_low_quality_ties_all_match() -> None:
    quality = np.array([[0.2, 0.1, 0.2, 0.0]])
    np.testing.assert_array_equal(Matcher(0.7, 0.3, True)(quality), [0, -1, 0, -1])
    np.testing.assert_array_equal(Matcher(0.7, 0.3)(quality), [-1, -1, -1, -1])


def test_box_without_overlap_is_unmatched() -> None:
    quality = np.array([[0.0, 0.0, 0.0], [0.0, 0.8, 0.0]])
    np.testing.assert_array_equal(Matcher(0.7, 0.3, True)(quality), [-1, 1, -1])


@pytest.mark.parametrize("low_quality", [False, True])
def test_without_ground_truth_all_is_background(low_quality: bool) -> None:
    matcher = Matcher(0.7, 0.3, low_quality)
    np.testing.assert_array_equal(matcher(np.zeros((0, 3))), [-1, -1, -1])
    assert matcher(np.zeros((2, 0))).shape == (0,)


def test_thresholds_in_order() -> None:
    with pytest.raises(ValueError, match=r"low: .*0\.4 .*high.*got 0\.5"):
        Matcher(0.4, 0.5)


def test_quality_has_two_axes() -> None:
    with pytest.raises(ValueError, match=r"quality: expected shape \(M, A\), got \(5,\)"):
        Matcher(0.5, 0.5)(QUALITY[0])
