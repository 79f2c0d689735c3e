from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_detection

import lucid
from lucid.data import DataLoader
from lucid_models_detection.categories import Categories, Category
from lucid_models_detection.data import CocoDetection, collate
from lucid_models_detection.data.coco import read_categories
from lucid_models_detection.dataset_evaluation import DatasetEvaluation
from lucid_models_detection.training.validation import Validation


class Oracle:
    """Returns the annotated objects under its own labels, and one false positive."""

    def __init__(self, dataset: CocoDetection, labels: dict[int, int]) -> None:
        self.targets = iter([dataset.target(i) for i in range(len(dataset))])
        self.labels = labels

    def predict(self, images: list[Any]) -> list[dict[str, Any]]:
        found = []
        for _ in images:
            target = next(self.targets)
            labels = np.array([self.labels[label] for label in target["labels"].tolist()] + [9])
            boxes = np.concatenate([target["boxes"], [[0, 0, 5, 5]]])
            scores = np.linspace(0.9, 0.5, len(labels))
            found.append({"boxes": boxes, "labels": labels.astype(int), "scores": scores})
        return found


CATEGORIES = Categories([Category(3, "square", 5), Category(7, "disc", 2), Category(11, "star", 9)])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_labels_are_matched_by_category(tmp_path: Path, batch_size: int) -> None:
    path = small_detection.write_coco(tmp_path, empty=(2,))
    dataset = CocoDetection(path, tmp_path)  # square is 1 there, disc 2
    comparison = DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)
    assert comparison.missing == ("star",)
    evaluator = comparison.evaluator()
    results = comparison.run(Oracle(dataset, {1: 5, 2: 2}), evaluator, batch_size)
    metrics = evaluator.compute()
    assert metrics.map == pytest.approx(1)
    assert [c.name for c in metrics.classes] == ["disc", "square"]
    assert (metrics.images, metrics.detections) == (6, metrics.objects)  # stars are ignored
    assert len(results) == metrics.objects
    first = dataset.target(0)
    x1, y1, x2, y2 = first["boxes"][0].tolist()
    assert results[0] == {
        "image_id": 100,
        "category_id": 3 if first["labels"][0] == 1 else 7,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": 0.9,
    }


def test_metrics_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    """The ground truth are the detector's own predictions for each image alone."""
    lucid.random.seed(0)
    model = small_detection.tiny_detector(rpn_post_nms_top_n=20, box_score_threshold=0.0)
    path = small_detection.write_coco(tmp_path, sizes=((64, 64), (72, 48), (50, 60), (40, 90)))
    content = json.loads(path.read_text())
    dataset = CocoDetection(path, tmp_path)
    content["annotations"] = []
    for (image, target), row in zip(dataset, content["images"], strict=True):
        assert target["image_id"] == row["id"]
        found = model.predict([image])[0]
        for box, label in zip(found["boxes"][::3], found["labels"][::3], strict=True):
            x1, y1, x2, y2 = box.tolist()
            annotation = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            number = len(content["annotations"]) + 1
            category = {1: 3, 2: 7}[int(label)]
            content["annotations"].append(
                {**annotation, "id": number, "image_id": row["id"], "category_id": category,
                 "iscrowd": 0}
            )  # fmt: skip
    path.write_text(json.dumps(content))
    categories = Categories([Category(3, "square", 1), Category(7, "disc", 2)])
    measured = []
    for batch_size in (1, 2, 4, 6):
        comparison = DatasetEvaluation(path, tmp_path, categories, read_categories(path).names)
        evaluator = comparison.evaluator()
        results = comparison.run(model, evaluator, batch_size)
        loader = DataLoader(comparison.dataset, batch_size, collate=collate, seed=0)
        validated = Validation(loader, comparison.dataset.class_names)(model)
        measured.append((results, evaluator.compute(), validated))
    (results, metrics, _), *others = measured
    assert 0.2 < metrics.map < 1
    for other_results, other_metrics, other_validated in others:
        assert [(r["image_id"], r["category_id"]) for r in other_results] == [
            (r["image_id"], r["category_id"]) for r in results
        ]
        for key, tolerance in (("bbox", 0.011), ("score", 1e-5)):  # rounded to 0.01
            np.testing.assert_allclose(
                [r[key] for r in other_results], [r[key] for r in results], atol=tolerance
            )
        assert other_metrics.map == pytest.approx(metrics.map, abs=1e-3)
        assert other_validated["mAP"] == pytest.approx(metrics.map, abs=1e-3)


def test_swapped_labels_score_zero(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    comparison = DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)
    oracle = Oracle(CocoDetection(path, tmp_path), {1: 2, 2: 5})
    evaluator = comparison.evaluator()
    comparison.run(oracle, evaluator)
    assert evaluator.compute().map_50 < 0.2


def test_notes_on_data_and_detector(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    comparison = DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)

    class Detector:
        score_threshold = 0.05

    assert comparison.notes(Detector()) == [
        "classes of the detector without a category in the data: star"
    ]
    Detector.score_threshold = 0.5
    assert "score_threshold 0.5" in comparison.notes(Detector())[0]
    assert len(comparison.notes(object())) == 1


def test_categories_that_share_a_label_are_one_class(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    one = Categories([Category(3, "square", 1), Category(7, "disc", 1)])
    comparison = DatasetEvaluation(path, tmp_path, one, read_categories(path).names)
    assert comparison.dataset.class_names == ("background", "square/disc")
    evaluator = comparison.evaluator("voc2007")
    results = comparison.run(Oracle(CocoDetection(path, tmp_path), {1: 1, 2: 1}), evaluator)
    assert evaluator.compute().map == 1
    assert {row["category_id"] for row in results} == {3}


def test_file_with_other_categories_is_rejected(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path, categories={3: "disc"})
    with pytest.raises(ValueError, match="category 3 is 'disc': in the detector it is 'square'"):
        DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)


def test_missing_images_are_rejected_before_prediction(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    (tmp_path / "data_3.png").unlink()
    with pytest.raises(ValueError, match=r"data\.json: 1 problem:\n .*data_3\.png: no such file"):
        DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)


def test_results_have_original_ids(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] = f"img-{image['id']}"
    for row in content["annotations"]:
        row["image_id"] = f"img-{row['image_id']}"
    for category in content["categories"]:
        category["id"] = str(category["id"])
    path.write_text(json.dumps(content))
    comparison = DatasetEvaluation(path, tmp_path, CATEGORIES, read_categories(path).names)
    oracle = Oracle(CocoDetection(path, tmp_path), {1: 5, 2: 2})
    evaluator = comparison.evaluator()
    results = comparison.run(oracle, evaluator)
    assert evaluator.compute().map == pytest.approx(1)
    assert {row["image_id"] for row in results} == {image["id"] for image in content["images"]}
    assert {row["category_id"] for row in results} == {"3", "7"}
