from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid_models_detection.ground_truth import check_targets

SIZE = (100, 200)  # height, width
GOOD = [10, 20, 30, 40]


def check(boxes: Any, labels: Any = (1,), num_classes: int = 5) -> Any:
    good = {"boxes": np.array([GOOD]), "labels": np.array([1])}
    return check_targets(
        [good, {"boxes": boxes, "labels": np.asarray(labels)}], [SIZE, SIZE], num_classes
    )[1]


def test_good_targets_become_float32_and_int64() -> None:
    for boxes in ([GOOD], np.array([GOOD], np.int32), lucid.tensor([[10.0, 20, 30, 40]])):
        target = check(boxes, np.array([4], np.uint8))
        assert target.boxes.dtype == np.float32
        assert target.labels.dtype == np.int64
        np.testing.assert_array_equal(target.boxes, [GOOD])
        np.testing.assert_array_equal(target.labels, [4])


@pytest.mark.parametrize("boxes", [np.zeros((0, 4)), np.zeros(0), []])
def test_target_without_objects(boxes: Any) -> None:
    target = check(boxes, [])
    assert target.boxes.shape == (0, 4)
    assert target.labels.shape == (0,)
    assert (target.boxes.dtype, target.labels.dtype) == (np.float32, np.int64)


def test_a_pixel_over_the_border_is_an_annotators_rounding() -> None:
    box = [-1, 0, 200.9, 100.5]
    np.testing.assert_allclose(check([box]).boxes, [box], rtol=1e-6)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([30, 40, 10, 10], r'targets\[1\]\["boxes"\]\[1\] is \[30, 40, 10, 10\]: .*xywh'),
        ([50, 50, 50, 60], "expected x1 < x2 and y1 < y2"),
        ([np.nan, 0, 1, 1], "expected finite numbers"),
        ([0, 0, np.inf, 1], "expected finite numbers"),
        ([150, 20, 220, 40], r"inside the image \(200 wide, 100 high"),
        ([300, 20, 320, 40], "inside the image"),
        ([-8, 20, 20, 40], "inside the image"),
        ([10, 20, 20, 140], "inside the image"),
    ],
)
def test_invalid_boxes_are_rejected(box: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check([GOOD, box], [1, 1])
    assert 'targets[1]["boxes"][1]' in str(caught.value)


def test_reversed_box_outside_xywh_has_no_hint() -> None:
    with pytest.raises(ValueError, match="x1 < x2") as caught:
        check([[190, 90, 180, 80]])
    assert "xywh" not in str(caught.value)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((0, 5)), r"expected shape \(M, 4\), got \(0, 5\)"),
        (np.zeros((2, 5)), r"expected numbers of shape \(M, 4\), xyxy, got float64 \(2, 5\)"),
        (np.zeros(4), r"got float64 \(4,\)"),
        ([["a", "b", "c", "d"]], "expected numbers"),
    ],
)
def test_boxes_of_another_shape(boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(boxes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r'targets\[1\]\["labels"\]\[0\]: expected 1 to 4 .*got 0 \(0 is the background'),
        ([5], r"expected 1 to 4 \(num_classes=5.*got 5"),
        ([-1], "expected 1 to 4 .*got -1"),
        ([1.0], "expected integers, got float64"),
        ([1, 2], r"expected shape \(1,\).*got \(2,\)"),
        ([], r"expected shape \(1,\)"),
    ],
)
def test_invalid_labels_are_rejected(labels: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check([GOOD], labels)


def test_labels_without_boxes() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(0,\).* got \(1,\)"):
        check([], [1])


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([], ValueError, "targets: expected 1 .*got 0"),
        ({"boxes": [], "labels": []}, TypeError, "expected a list .* got dict"),
        ([{"boxes": []}], ValueError, r"targets\[0\]: expected keys .* got \['boxes'\]"),
        ([None], ValueError, r"targets\[0\]: .* got NoneType"),
    ],
)
def test_invalid_targets_are_rejected(targets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_targets(targets, [SIZE], 5)


def test_the_callers_arrays_are_left_alone_and_other_keys_passed_over() -> None:
    boxes = np.array([GOOD], np.float32)
    boxes.flags.writeable = False
    target = {"boxes": boxes, "labels": np.array([1]), "image_id": 7, "ignored_boxes": None}
    check_targets([target], [SIZE], 5)
    assert target["boxes"] is boxes
