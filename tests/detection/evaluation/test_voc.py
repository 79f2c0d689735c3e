"""Pascal VOC metrics: small cases by hand, random ones against a reference implementation."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from lucid_models_detection.evaluation import VocEvaluator, average_precision

NAMES = ["background", "cat", "dog"]


def target(*rows: tuple[float, ...], difficult: Any = (), **more: object) -> dict[str, Any]:
    """Target from rows (x1, y1, x2, y2, label)."""
    table = np.array(rows, float).reshape(-1, 5)
    hard = np.array(difficult, float).reshape(-1, 5)
    return {
        "boxes": table[:, :4],
        "labels": table[:, 4].astype(int),
        "ignored_boxes": hard[:, :4],
        "ignored_labels": hard[:, 4].astype(int),
        **more,
    }


def prediction(*rows: tuple[float, ...]) -> dict[str, Any]:
    """Boxes, labels and scores from rows (x1, y1, x2, y2, label, score)."""
    table = np.array(rows, float).reshape(-1, 6)
    return {"boxes": table[:, :4], "labels": table[:, 4].astype(int), "scores": table[:, 5]}


def measured(
    predictions: list[dict[str, Any]], targets: list[dict[str, Any]], **options: Any
) -> Any:
    evaluator = VocEvaluator(NAMES, **options)
    evaluator.update(predictions, targets)
    return evaluator.compute()


# Average precision by hand


@pytest.mark.parametrize(
    ("right", "objects", "of_2007", "of_2012"),
    [
        ([1], 1, 1.0, 1.0),
        ([0], 1, 0.0, 0.0),
        ([], 3, 0.0, 0.0),
        ([1], 2, 6 / 11, 1 / 2),  # recall 0.5 reaches the levels 0 to 0.5
        ([0, 1], 1, 1 / 2, 1 / 2),
        # Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4: levels 0 to 0.2, then 0.3 to 0.5.
        ([1, 0, 1], 4, (3 + 3 * 2 / 3) / 11, 1 / 4 + 1 / 4 * 2 / 3),
        # False positives first: precision 1/3, 2/4 at recall 1/2, 1; the later one is higher.
        ([0, 0, 1, 1], 2, 1 / 2, 1 / 2),
        # Three of ten reach the level 0.3, although 3 / 10 < 3 * 0.1 in floating point.
        ([1, 1, 1], 10, 4 / 11, 3 / 10),
        ([1, 1, 1, 1, 1, 1, 1], 10, 8 / 11, 7 / 10),
    ],
)
def test_average_precision_by_hand(
    right: list[int], objects: int, of_2007: float, of_2012: float
) -> None:
    assert average_precision(right, objects, 2007) == pytest.approx(of_2007, abs=1e-12)
    assert average_precision(right, objects, 2012) == pytest.approx(of_2012, abs=1e-12)


def test_average_precision_without_objects_is_nan() -> None:
    assert math.isnan(average_precision([0, 0], 0))


def test_unknown_year_is_rejected() -> None:
    with pytest.raises(ValueError, match="expected 2007 or 2012, got 2010"):
        average_precision([1], 1, 2010)  # type: ignore[arg-type]


# Matching by hand


def test_object_is_matched_once() -> None:
    """The second detection of an object is a false positive."""
    found = prediction((0, 0, 10, 10, 1, 0.9), (0, 0, 10, 9, 1, 0.8), (20, 20, 30, 30, 1, 0.7))
    metrics = measured([found], [target((0, 0, 10, 10, 1), (20, 20, 30, 30, 1))])
    assert metrics.map == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert metrics.classes[0].recall == 1.0


def test_detection_is_not_matched_to_its_second_best_object() -> None:
    """Its best object is taken, so it is a false positive (as in VOC)."""
    truth = target((0, 0, 10, 10, 1), (3, 0, 13, 10, 1))
    found = prediction((0, 0, 10, 10, 1, 0.9), (1, 0, 11, 10, 1, 0.8))
    metrics = measured([found], [truth])
    assert metrics.classes[0].recall == 0.5
    assert metrics.map == pytest.approx(0.5)


def test_iou_equal_to_the_threshold_matches() -> None:
    truth, found = target((0, 0, 10, 10, 1)), prediction((0, 0, 10, 5, 1, 0.5))
    assert measured([found], [truth]).map == 1.0
    assert measured([found], [truth], iou_threshold=0.51).map == 0.0


def test_wrong_class_is_a_false_positive() -> None:
    metrics = measured([prediction((0, 0, 10, 10, 2, 0.9))], [target((0, 0, 10, 10, 1))])
    assert metrics.map == 0.0
    assert math.isnan(metrics.classes[1].ap)


def test_box_in_another_image_does_not_match() -> None:
    found = [prediction(), prediction((0, 0, 10, 10, 1, 0.9))]
    assert measured(found, [target((0, 0, 10, 10, 1)), target()]).map == 0.0


def test_difficult_objects_are_ignored() -> None:
    truth = target((0, 0, 10, 10, 1), difficult=[(50, 50, 60, 60, 1)])
    alone = measured([prediction((0, 0, 10, 10, 1, 0.5))], [truth])
    assert (alone.map, alone.objects, alone.difficult) == (1.0, 1, 1)
    # Two detections of a difficult object are both ignored.
    found = prediction((50, 50, 60, 60, 1, 0.9), (50, 50, 60, 61, 1, 0.8), (0, 0, 10, 10, 1, 0.5))
    assert measured([found], [truth]).map == 1.0
    # A difficult object of another class does not match.
    dog = target((0, 0, 10, 10, 1), difficult=[(50, 50, 60, 60, 2)])
    assert measured([found], [dog]).map == pytest.approx(1 / 3)
    # An object with higher IoU takes precedence over a difficult one.
    near = target((0, 0, 10, 10, 1), difficult=[(0, 0, 10, 8, 1)])
    assert measured([prediction((0, 0, 10, 10, 1, 0.5))], [near]).map == 1.0


def test_only_difficult_objects_give_nan() -> None:
    metrics = measured([prediction((0, 0, 9, 9, 1, 0.5))], [target(difficult=[(0, 0, 9, 9, 1)])])
    assert math.isnan(metrics.map)


# Reference implementation


def iou(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
    return common / (sum(areas) - common)


def reference_ap(predictions: Any, targets: Any, label: int, threshold: float, year: int) -> float:
    """Average precision of a class, computed as in the development kit, with loops."""
    objects = []
    for image, truth in enumerate(targets):
        for kind, hard in (("", False), ("ignored_", True)):
            pairs = zip(
                truth[kind + "boxes"].tolist(), truth[kind + "labels"].tolist(), strict=True
            )
            objects += [(image, box, hard) for box, of in pairs if of == label]
    count = sum(not hard for _, _, hard in objects)
    if not count:
        return math.nan
    rows = [
        (score, image, box)
        for image, found in enumerate(predictions)
        for box, of, score in zip(
            found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True
        )
        if of == label
    ]
    taken: set[int] = set()
    right, wrong, points = 0, 0, []
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        overlaps = [iou(box, b) if i == image else -1.0 for i, b, _ in objects]
        best = max(range(len(objects)), key=lambda k: overlaps[k])
        if overlaps[best] >= threshold:
            if objects[best][2]:
                continue
            if best not in taken:
                taken.add(best)
                right += 1
            else:
                wrong += 1
        else:
            wrong += 1
        points.append((right / count, right / (right + wrong)))
    if year == 2007:
        levels = [k / 10 for k in range(11)]
        return sum(max((p for r, p in points if r >= t), default=0.0) for t in levels) / 11
    area, before = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return area


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("year", [2007, 2012])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
def test_matches_reference_implementation(seed: int, year: Any, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    predictions, targets = [], []
    for _ in range(12):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 100, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (count, 2))], axis=1)
        rows = np.column_stack([boxes, rng.integers(1, 3, count)])
        hard = rng.random(count) < 0.25
        targets.append(target(*rows[~hard], difficult=rows[hard]))
        guesses = np.repeat(rows, 3, axis=0)
        guesses[:, :4] += rng.normal(0, 4, (3 * count, 4))
        guesses[:, 2:4] = np.maximum(guesses[:, 2:4], guesses[:, :2] + 1)
        swap = rng.random(3 * count) < 0.1
        guesses[swap, 4] = 3 - guesses[swap, 4]
        predictions.append(prediction(*np.column_stack([guesses, rng.random(3 * count)])))
    metrics = measured(predictions, targets, year=year, iou_threshold=threshold)
    expected = [reference_ap(predictions, targets, label, threshold, year) for label in (1, 2)]
    assert [c.ap for c in metrics.classes] == pytest.approx(expected, abs=1e-12)
    assert metrics.map == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0.0 < metrics.map < 1.0


# Results and arguments


def test_table_and_dictionary() -> None:
    truth = target((0, 0, 10, 10, 1), (20, 20, 30, 30, 1), difficult=[(5, 5, 9, 9, 2)])
    metrics = measured([prediction((0, 0, 10, 8, 1, 0.5))], [truth])
    assert metrics.table().splitlines() == [
        "class  objects     AP recall",
        "----------------------------",
        "cat          2  0.500  0.500",
        "dog          0      -      -",
        "----------------------------",
        "mean         2  0.500",
    ]
    values = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
    assert (values["map"], values["year"], values["iou_threshold"]) == (0.5, 2012, 0.5)
    assert values["classes"][1]["ap"] is None
    assert values["classes"][1]["difficult"] == 1


def test_precision_recall_of_each_class() -> None:
    evaluator = VocEvaluator(NAMES)
    truth = target((0, 0, 10, 10, 1), (20, 20, 30, 30, 1))
    found = prediction((0, 0, 10, 10, 1, 0.9), (50, 50, 60, 60, 1, 0.8), (20, 20, 30, 30, 1, 0.7))
    evaluator.update([found], [truth])
    curves = evaluator.precision_recall()
    assert list(curves) == [1], "there is no dog to find"
    assert curves[1].name == "cat"
    assert curves[1].recall.tolist() == [0.5, 0.5, 1.0]
    assert curves[1].precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curves[1].average_precision == evaluator.compute().map == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou_threshold": 0.0}, r"iou_threshold: expected a number in \(0, 1\], got 0.0"),
        ({"iou_threshold": math.nan}, "iou_threshold: .* got nan"),
        ({"year": 2010}, "year: expected 2007 or 2012, got 2010"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VocEvaluator(NAMES, **options)


def test_labels_of_other_classes_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"prediction of image 0: labels \[18\] are not among"):
        measured([prediction((0, 0, 1, 1, 18, 0.5))], [target()])
    with pytest.raises(ValueError, match="nothing to evaluate"):
        VocEvaluator(NAMES).compute()


def test_a_score_threshold_is_noted() -> None:
    boxes = np.array([[10.0 * i, 0, 10 * i + 8, 8] for i in range(150)])
    truth = {"boxes": boxes, "labels": np.ones(150, int)}
    evaluator = VocEvaluator(["background", "cat"])
    evaluator.update([{**truth, "scores": np.linspace(0.4, 0.9, 150)}], [truth])
    metrics = evaluator.compute()
    assert metrics.map == pytest.approx(1)  # no limit on the number of detections
    assert metrics.lowest_score == pytest.approx(0.4)
    assert metrics.summary().splitlines()[1].startswith("note: no detection scores below 0.40")
