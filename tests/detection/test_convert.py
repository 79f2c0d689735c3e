from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest

import lucid
from lucid_models_detection import convert
from lucid_models_detection.evaluation import CocoEvaluator

FOUND = {
    "boxes": np.array([[4, 6, 24, 20.125], [1, 1, 9.25, 30]], np.float32),
    "labels": np.array([2, 1]),
    "scores": np.array([0.97, 0.612345], np.float32),
}
NOTHING = {"boxes": np.zeros((0, 4), np.float32), "labels": [], "scores": []}
NAMES = ("background", "cat", "dog")


def test_to_supervision_arguments() -> None:
    given = convert.to_supervision(FOUND, NAMES)
    assert set(given) == {"xyxy", "confidence", "class_id", "data"}
    np.testing.assert_array_equal(given["xyxy"], FOUND["boxes"])
    np.testing.assert_array_equal(given["confidence"], FOUND["scores"])
    assert given["class_id"].tolist() == [2, 1]
    assert given["data"]["class_name"].tolist() == ["dog", "cat"]
    assert not any(np.shares_memory(given["xyxy"], FOUND[key]) for key in FOUND)
    assert "data" not in convert.to_supervision(FOUND)


def test_empty_detections_keep_shapes() -> None:
    given = convert.to_supervision(NOTHING, NAMES)
    shapes = {key: given[key].shape for key in ("xyxy", "confidence", "class_id")}
    assert shapes == {"xyxy": (0, 4), "confidence": (0,), "class_id": (0,)}
    assert given["data"]["class_name"].shape == (0,)
    assert given["data"]["class_name"].dtype.kind == "U"
    assert convert.from_supervision(given)["boxes"].shape == (0, 4)
    assert convert.to_records(NOTHING) == []
    assert convert.to_coco_results([NOTHING, NOTHING], [1, 2]) == []


class Theirs:
    """Stand-in for ``supervision.Detections``."""

    def __init__(self, **values: Any) -> None:
        self.__dict__ = {"mask": None, "confidence": None, "class_id": None, **values}


def test_from_supervision_round_trip() -> None:
    given = convert.to_supervision(FOUND)
    for form in (given, Theirs(**given)):
        back = convert.from_supervision(form)
        for key, value in FOUND.items():
            np.testing.assert_array_equal(back[key], value)
            assert back[key].dtype == value.dtype


def test_from_supervision_sorts_and_offsets_labels() -> None:
    theirs = Theirs(
        xyxy=np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]),
        confidence=np.array([0.2, 0.9, 0.2]),
        class_id=np.array([0, 1, 2]),
    )
    back = convert.from_supervision(theirs, first_label=1)
    assert back["labels"].tolist() == [2, 1, 3]
    assert back["boxes"][:, 2].tolist() == [2, 1, 3]
    assert back["boxes"].dtype == back["scores"].dtype == np.float32
    evaluator = CocoEvaluator(["background", "a", "b", "c"])
    truth = {"boxes": [[0, 0, 2, 2]], "labels": [2]}
    evaluator.update([back], [truth])  # label 0 would be rejected
    assert evaluator.compute().map == pytest.approx(1)


@pytest.mark.parametrize("missing", ["xyxy", "confidence", "class_id"])
def test_from_supervision_requires_all_fields(missing: str) -> None:
    given = {**convert.to_supervision(FOUND), missing: None}
    for form in (given, Theirs(**given)):
        with pytest.raises(ValueError, match=f"expected detections with {missing}, got"):
            convert.from_supervision(form)


def test_records_are_json_serializable() -> None:
    records = convert.to_records(FOUND, NAMES)
    assert json.loads(json.dumps(records)) == [
        {"label": 2, "class": "dog", "score": 0.97, "box": [4.0, 6.0, 24.0, 20.12]},
        {"label": 1, "class": "cat", "score": 0.6123, "box": [1.0, 1.0, 9.25, 30.0]},
    ]
    assert [record["class"] for record in convert.to_records(FOUND)] == ["2", "1"]


def test_pycocotools_reads_results() -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="COCO's tools are not installed")
    results = convert.to_coco_results([FOUND, NOTHING], [42, 7], {1: 17, 2: 18})
    assert results[1] == {
        "image_id": 42,
        "category_id": 17,
        "bbox": [1.0, 1.0, 8.25, 29.0],
        "score": 0.61234,
    }
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": 42}, {"id": 7}],
        "categories": [{"id": 17}, {"id": 18}],
        "annotations": [],
    }
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(results)
    assert [loaded.anns[i]["area"] for i in (1, 2)] == pytest.approx([20 * 14.12, 8.25 * 29])


def test_category_ids_default_to_labels() -> None:
    results = convert.to_coco_results([FOUND], ["a"])
    assert [row["category_id"] for row in results] == [2, 1]


def test_mismatched_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"image 5: .*category_ids \[1\], got 2"):
        convert.to_coco_results([FOUND], [5], {1: 17})
    with pytest.raises(ValueError, match="got 1 images and 2 image ids"):
        convert.to_coco_results([FOUND], [5, 6])
    with pytest.raises(ValueError, match="2 boxes, 1 labels and 2 scores"):
        convert.to_supervision({**FOUND, "labels": [1]})


def test_tensors_and_lists_are_accepted() -> None:
    forms = {
        "boxes": lucid.tensor(FOUND["boxes"]),
        "labels": FOUND["labels"].tolist(),
        "scores": FOUND["scores"].tolist(),
    }
    assert convert.to_records(forms, NAMES) == convert.to_records(FOUND, NAMES)
