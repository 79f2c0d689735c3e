"""Detections converted to supervision and back."""

from __future__ import annotations

import numpy as np
import pytest

from lucid_models_detection import convert

FOUND = {
    "boxes": np.array([[4, 6, 24, 20], [1, 1, 9, 30]], np.float32),
    "labels": np.array([2, 1]),
    "scores": np.array([0.97, 0.61], np.float32),
}
NAMES = ("background", "cat", "dog")


@pytest.mark.filterwarnings("ignore:OpenCV:UserWarning")  # it can do without, and says so
@pytest.mark.parametrize("count", [2, 0])
def test_round_trip_through_supervision(count: int) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    found = {key: value[:count] for key, value in FOUND.items()}
    theirs = supervision.Detections(**convert.to_supervision(found, NAMES))
    assert len(theirs) == count
    assert theirs["class_name"].tolist() == ["dog", "cat"][:count]
    dogs = theirs[theirs.class_id == 2]
    assert len(dogs) == min(count, 1)
    back = convert.from_supervision(theirs)
    for key, value in found.items():
        np.testing.assert_array_equal(back[key], value)
    picture = supervision.BoxAnnotator().annotate(np.zeros((40, 50, 3), np.uint8), theirs)
    assert (picture.max() > 0) == (count > 0)
