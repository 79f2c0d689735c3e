"""COCO metrics: small cases by hand, a random case against pycocotools' summary."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lucid_models_detection.evaluation import CocoEvaluator, evaluate_detections

NAMES = ["background", "cat", "dog"]


def target(*rows: tuple[float, ...], **more: object) -> dict:
    """Boxes and labels from rows (x1, y1, x2, y2, label)."""
    table = np.array(rows, float).reshape(-1, 5)
    return {"boxes": table[:, :4], "labels": table[:, 4].astype(int), **more}


def prediction(*rows: tuple[float, ...], **more: object) -> dict:
    """Boxes, labels and scores from rows (x1, y1, x2, y2, label, score)."""
    table = np.array(rows, float).reshape(-1, 6)
    return {**target(*table[:, :5]), "scores": table[:, 5], **more}


def test_perfect_detector() -> None:
    truth = [target((0, 0, 10, 10, 1), (20, 20, 60, 60, 2)), target((5, 5, 200, 200, 2))]
    found = [
        prediction((0, 0, 10, 10, 1, 0.9), (20, 20, 60, 60, 2, 0.8)),
        prediction((5, 5, 200, 200, 2, 0.7)),
    ]
    metrics = evaluate_detections(found, truth, NAMES)
    assert (metrics.map, metrics.map_50, metrics.map_75) == pytest.approx((1, 1, 1))
    assert (metrics.map_small, metrics.map_medium, metrics.map_large) == pytest.approx((1, 1, 1))
    assert (metrics.mar_1, metrics.mar_10, metrics.mar_100) == pytest.approx((1, 1, 1))
    assert (metrics.images, metrics.objects, metrics.detections) == (2, 3, 3)
    assert [(c.label, c.name, c.objects) for c in metrics.classes] == [(1, "cat", 1), (2, "dog", 2)]


def test_iou_0_8_is_correct_at_seven_thresholds() -> None:
    metrics = evaluate_detections(
        [prediction((0, 0, 10, 8, 1, 0.5))], [target((0, 0, 10, 10, 1))], NAMES
    )
    assert metrics.map == pytest.approx(0.7)  # at 0.50, 0.55, ... 0.80
    assert metrics.map_75 == pytest.approx(1.0)
    assert metrics.mar_100 == pytest.approx(0.7)


def test_higher_scored_false_positive_halves_precision() -> None:
    found = prediction((0, 0, 10, 10, 1, 0.5), (50, 50, 60, 60, 1, 0.9))
    metrics = evaluate_detections([found], [target((0, 0, 10, 10, 1))], NAMES)
    assert metrics.map == pytest.approx(0.5)
    assert metrics.mar_1 == pytest.approx(0.0)
    assert metrics.mar_10 == pytest.approx(1.0)


def test_half_of_the_objects_detected() -> None:
    """Precision is 1 at the first 51 of 101 recall levels (up to 0.5), then 0."""
    truth = target((0, 0, 10, 10, 1), (50, 50, 60, 60, 1))
    metrics = evaluate_detections([prediction((0, 0, 10, 10, 1, 0.9))], [truth], NAMES)
    assert metrics.map == pytest.approx(51 / 101)
    assert metrics.mar_100 == pytest.approx(0.5)


def test_wrong_class_is_a_false_positive() -> None:
    metrics = evaluate_detections(
        [prediction((0, 0, 10, 10, 2, 0.9))], [target((0, 0, 10, 10, 1))], NAMES
    )
    assert metrics.map == 0.0


def test_class_without_objects_is_nan() -> None:
    metrics = evaluate_detections(
        [prediction((0, 0, 10, 10, 1, 0.9))], [target((0, 0, 10, 10, 1))], NAMES
    )
    cat, dog = metrics.classes
    assert metrics.map == cat.ap == pytest.approx(1.0)
    assert math.isnan(dog.ap)
    assert dog.objects == 0


def test_no_predictions() -> None:
    metrics = evaluate_detections([prediction()], [target((0, 0, 10, 10, 1))], NAMES)
    assert (metrics.map, metrics.mar_100) == (0.0, 0.0)


def test_no_objects() -> None:
    metrics = evaluate_detections([prediction((0, 0, 9, 9, 1, 0.5))], [target()], NAMES)
    assert math.isnan(metrics.map)
    assert math.isnan(metrics.mar_100)


def test_empty_arrays_of_any_shape() -> None:
    empty = {"boxes": [], "labels": [], "scores": []}
    metrics = evaluate_detections([empty], [{"boxes": np.zeros(0), "labels": []}], NAMES)
    assert (metrics.objects, metrics.detections) == (0, 0)


def test_detections_of_ignored_objects_do_not_count() -> None:
    truth = target((0, 0, 10, 10, 1))
    found = prediction((50, 50, 60, 60, 1, 0.9), (61, 61, 70, 70, 1, 0.8), (0, 0, 10, 10, 1, 0.5))
    assert evaluate_detections([found], [truth], NAMES).map == pytest.approx(1 / 3)
    truth |= {"ignored_boxes": np.array([[45, 45, 75, 75.0]]), "ignored_labels": np.array([1])}
    metrics = evaluate_detections([found], [truth], NAMES)
    assert metrics.map == pytest.approx(1.0)
    assert metrics.objects == 1


def test_annotated_area_selects_size_category() -> None:
    """A 40 x 40 box whose segmentation has area 900 is a small object."""
    truth, found = target((0, 0, 40, 40, 1)), prediction((0, 0, 40, 40, 1, 0.9))
    by_box = evaluate_detections([found], [truth], NAMES)
    by_segmentation = evaluate_detections([found], [truth | {"area": np.array([900.0])}], NAMES)
    assert math.isnan(by_box.map_small)
    assert by_box.map_medium == pytest.approx(1.0)
    assert by_segmentation.map_small == pytest.approx(1.0)
    assert math.isnan(by_segmentation.map_medium)


def random_case() -> tuple[list[dict], list[dict]]:
    rng = np.random.default_rng(7)
    predictions, targets = [], []
    for _ in range(25):
        count = int(rng.integers(0, 7))
        corner = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 150, (count, 2))], axis=1)
        labels = rng.integers(1, 3, count)
        targets.append({"boxes": boxes, "labels": labels})
        guesses = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * count, 4))
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        wrong = rng.random(2 * count) < 0.15
        predictions.append(
            {
                "boxes": guesses,
                "labels": np.where(wrong, 3 - np.repeat(labels, 2), np.repeat(labels, 2)),
                "scores": rng.random(2 * count),
            }
        )
    return predictions, targets


def summary_of_pycocotools(predictions: list[dict], targets: list[dict]) -> list[float]:
    """Return the twelve metrics of ``loadRes`` and ``summarize``."""
    truth, found = [], []
    for image, (guess, real) in enumerate(zip(predictions, targets, strict=True), start=1):
        for (x1, y1, x2, y2), label in zip(real["boxes"], real["labels"], strict=True):
            row = {"image_id": image, "category_id": int(label), "iscrowd": 0}
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            truth.append({**row, **box, "id": len(truth) + 1})
        for (x1, y1, x2, y2), label, score in zip(
            guess["boxes"], guess["labels"], guess["scores"], strict=True
        ):
            row = {"image_id": image, "category_id": int(label), "score": float(score)}
            found.append({**row, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(targets))],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": truth,
            "info": {},
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def test_matches_pycocotools_summary() -> None:
    predictions, targets = random_case()
    m = evaluate_detections(predictions, targets, NAMES)
    ours = [m.map, m.map_50, m.map_75, m.map_small, m.map_medium, m.map_large]
    ours += [m.mar_1, m.mar_10, m.mar_100, m.mar_small, m.mar_medium, m.mar_large]
    assert ours == pytest.approx(summary_of_pycocotools(predictions, targets), abs=1e-12)
    assert 0.1 < m.map < 0.9
    assert m.map == pytest.approx(sum(c.ap for c in m.classes) / 2)


def grid(columns: int, rows: int) -> np.ndarray:
    return np.array(
        [[10 * x, 10 * y, 10 * x + 8, 10 * y + 8] for x in range(columns) for y in range(rows)],
        float,
    )


def test_more_than_100_detections_per_class_count() -> None:
    boxes, labels = grid(20, 10), np.ones(200, int)
    found = {"boxes": boxes, "labels": labels, "scores": np.linspace(0.9, 0.01, 200)}
    m = evaluate_detections([found], [{"boxes": boxes, "labels": labels}], NAMES)
    assert (m.map, m.mar, m.classes[0].ap, m.classes[0].ar) == pytest.approx((1, 1, 1, 1))
    assert (m.mar_100, m.mar_10, m.mar_1) == pytest.approx((0.5, 0.05, 0.005))
    assert m.map_coco == pytest.approx(51 / 101)  # recall levels up to 0.5
    assert (m.most_objects, m.most_detections) == (200, 200)
    (note,) = m.notes
    assert "200 detections" in note
    assert "at most 100" in note
    assert "mAP 0.505, mAR 0.500" in note
    assert m.summary().splitlines()[1] == f"note: {note}"
    evaluator = CocoEvaluator(NAMES)
    evaluator.update([found], [{"boxes": boxes, "labels": labels}])
    curve = evaluator.precision_recall()[1]
    assert curve.average_precision == pytest.approx(m.classes[0].ap)


def test_coco_limit_matches_pycocotools() -> None:
    rng = np.random.default_rng(3)
    boxes, labels = grid(15, 10), rng.integers(1, 3, 150)
    guess = np.repeat(boxes, 2, axis=0) + rng.normal(0, 1, (300, 4))
    found = {"boxes": guess, "labels": np.repeat(labels, 2), "scores": rng.random(300)}
    m = evaluate_detections([found], [{"boxes": boxes, "labels": labels}], NAMES)
    theirs = summary_of_pycocotools([found], [{"boxes": boxes, "labels": labels}])
    assert [m.map_coco, m.mar_1, m.mar_10, m.mar_100] == pytest.approx(
        [theirs[0], *theirs[6:9]], abs=1e-12
    )
    assert m.map > m.map_coco > 0.1


def test_more_objects_than_detections_are_noted() -> None:
    boxes, labels = grid(20, 10), np.ones(200, int)
    found = {"boxes": boxes[:100], "labels": labels[:100], "scores": np.linspace(0.9, 0.1, 100)}
    m = evaluate_detections([found], [{"boxes": boxes, "labels": labels}], NAMES)
    assert m.mar == m.mar_100 == pytest.approx(0.5)
    (note,) = m.notes
    assert "200 objects" in note
    assert "100 detections" in note
    assert "limit of detections per image" in note


def test_a_score_threshold_is_noted() -> None:
    boxes, labels = grid(5, 6), np.ones(30, int)
    truth = {"boxes": boxes, "labels": labels}
    scores = np.linspace(0.05, 0.95, 30)
    found = {"boxes": boxes, "labels": labels, "scores": scores}
    assert evaluate_detections([found], [truth], NAMES).notes == ()
    kept = {key: values[scores >= 0.3] for key, values in found.items()}
    m = evaluate_detections([kept], [truth], NAMES)
    assert m.lowest_score == scores[scores >= 0.3].min()
    (note,) = m.notes
    assert f"below {m.lowest_score:.2f}" in note
    assert "detector's score_threshold" in note


def test_batches_accumulate() -> None:
    predictions, targets = random_case()
    evaluator = CocoEvaluator({1: "cat", 2: "dog"})
    for start in range(0, 25, 4):
        evaluator.update(predictions[start : start + 4], targets[start : start + 4])
    assert evaluator.compute() == evaluate_detections(predictions, targets, NAMES)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_detections(*random_case(), NAMES)
    assert capsys.readouterr() == ("", "")


def test_table_and_dictionary() -> None:
    truth = target((0, 0, 10, 10, 1))
    metrics = evaluate_detections([prediction((0, 0, 10, 8, 1, 0.5))], [truth], NAMES)
    assert metrics.table().splitlines() == [
        "class  objects     AP   AP50   AP75     AR",
        "------------------------------------------",
        "cat          1  0.700  1.000  1.000  0.700",
        "dog          0      -      -      -      -",
        "------------------------------------------",
        "mean         1  0.700  1.000  1.000  0.700",
    ]
    values = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
    assert values["map"] == pytest.approx(0.7)
    assert values["map_large"] is None
    assert values["classes"][1]["ap"] is None


@pytest.mark.parametrize(
    ("guess", "truth", "message"),
    [
        (prediction(image_id=3), target(image_id=4), "same images, got image 3 and image 4"),
        (prediction((0, 0, 1, 1, 3, 0.5)), target(), r"prediction of image 0: labels \[3\]"),
        (prediction(), target((0, 0, 1, 1, 0)), r"target of image 0: labels \[0\]"),
        (prediction() | {"boxes": [[0, 0, 1, 1]], "labels": [1.5]}, target(), r"labels \[1\.5\]"),
        (prediction((5, 5, 1, 1, 1, 0.5)), target(), "prediction of image 0: box 0 of boxes"),
        (prediction(), target((0, 0, math.inf, 1, 1)), "target of image 0: box 0 of boxes"),
        (prediction((0, 0, 1, 1, 1, math.nan)), target(), "finite score"),
        ({"boxes": [], "labels": []}, target(), "expected 'scores'"),
        (prediction(), {"boxes": []}, "expected 'boxes' and 'labels'"),
        (prediction(), {"boxes": [[1, 2, 3]], "labels": [1]}, r"of shape \(1, 4\)"),
        (
            prediction(),
            target((0, 0, 1, 1, 1), area=np.ones(2)),
            r"shape \(1,\), got \(2,\)",
        ),
        (
            prediction(),
            target(ignored_boxes=np.array([[0, 0, 1, 1.0]]), ignored_labels=[9]),
            r"target of image 0: labels \[9\]",
        ),
    ],
)
def test_invalid_batch_is_rejected_and_not_added(guess: dict, truth: dict, message: str) -> None:
    evaluator = CocoEvaluator(NAMES)
    good = prediction(image_id="good"), target(image_id="good")
    with pytest.raises(ValueError, match=message):
        evaluator.update([guess], [truth])
    evaluator.update([good[0]], [good[1]])
    assert evaluator.compute().images == 1


def test_repeated_image_is_rejected() -> None:
    evaluator = CocoEvaluator(NAMES)
    evaluator.update([prediction()], [target(image_id=5)])
    with pytest.raises(ValueError, match="image 5 was already evaluated"):
        evaluator.update([prediction()], [target(image_id=5)])


def test_length_mismatch_is_rejected() -> None:
    with pytest.raises(ValueError, match="1 predictions and 2 targets"):
        evaluate_detections([prediction()], [target(), target()], NAMES)


def test_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        CocoEvaluator(NAMES).compute()


@pytest.mark.parametrize("names", [[], ["background"], {0: "background"}])
def test_empty_class_names_are_rejected(names: object) -> None:
    with pytest.raises(ValueError, match="at least one class"):
        CocoEvaluator(names)  # type: ignore[arg-type]


def test_string_class_names_are_rejected() -> None:
    with pytest.raises(TypeError, match="cat"):
        CocoEvaluator("cat")


def test_missing_pycocotools_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.startswith("pycocotools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError, match=r"pip install .lucid-models-detection\[coco\]"):
        evaluate_detections([prediction()], [target()], NAMES)
