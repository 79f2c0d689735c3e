from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.models import create_model
from lucid_models_detection.coco_ids import CocoIds
from lucid_models_detection.prediction import coco_rows

IMAGES = [
    {"id": 7, "file_name": "a/x.png"},
    {"id": 8, "file_name": "b/x.png"},
    {"id": 9, "file_name": "y.png"},
]
CATEGORIES = [{"id": 30, "name": "dog"}, {"id": 20, "name": "cat"}]
FOUND = {
    "boxes": np.array([[4, 6, 24, 20], [1, 1, 9, 30], [0, 0, 5, 5]], np.float32),
    "labels": np.array([2, 1, 3]),
    "scores": np.array([0.9, 0.6, 0.2], np.float32),
}
NAMES = ("background", "cat", "dog", "fish")


def record_of(image: Path, categories: dict[int, int], **size: int) -> dict[str, Any]:
    """Record of a predictor for an image with these detections."""
    rows = coco_rows(FOUND, categories)
    return {"image": str(image), "width": 40, "height": 30, "coco_results": rows} | size


def write(folder: Path, **parts: Any) -> Path:
    """Write a COCO file without annotations, as for COCO's test sets."""
    path = folder / "info.json"
    path.write_text(json.dumps({"images": IMAGES, "categories": CATEGORIES} | parts))
    return path


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights without category metadata."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=4, hidden_dim=8)
    lucid.save_model(model, path)
    return path


def test_images_and_classes_are_matched_by_name(tmp_path: Path, bare: Path) -> None:
    pictures = [tmp_path / "y.png", tmp_path / "b" / "x.png", tmp_path / "a" / "x.png"]
    ids = CocoIds(write(tmp_path), pictures, bare, NAMES)
    assert [id for id, _ in ids.images.values()] == [9, 8, 7]
    assert ids.results(record_of(pictures[1], ids.categories)) == [
        {"image_id": 8, "category_id": 30, "bbox": [4.0, 6.0, 20.0, 14.0], "score": 0.9},
        {"image_id": 8, "category_id": 20, "bbox": [1.0, 1.0, 8.0, 29.0], "score": 0.6},
    ]  # the file has no fish


def test_names_are_relative_to_the_current_directory(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    assert CocoIds(write(tmp_path), [Path("x.png")], bare, NAMES).images == {"x.png": (8, None)}


def test_image_size_mismatch_is_rejected(tmp_path: Path, bare: Path) -> None:
    sized = {"id": 7, "file_name": "x.png", "width": 40, "height": 30}
    ids = CocoIds(write(tmp_path, images=[sized]), [tmp_path / "x.png"], bare, NAMES)
    picture = tmp_path / "x.png"
    assert len(ids.results(record_of(picture, ids.categories))) == 2
    with pytest.raises(ValueError, match=r"x.png: .* says 40 x 30 .* has 30 x 40; .*EXIF"):
        ids.results(record_of(picture, ids.categories, width=30, height=40))


def test_recorded_category_ids_take_precedence(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    entries = [{"id": 20, "name": "cat", "label": 2}, {"id": 30, "name": "dog", "label": 1}]
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8)
    lucid.save_model(model, path, class_names=NAMES[:3], preprocessing={"categories": entries})
    given = (write(tmp_path), [tmp_path / "y.png"], path, NAMES[:3])
    assert CocoIds(*given).categories == {1: 30, 2: 20}
    assert CocoIds(*given, match_by_name=True).categories == {1: 20, 2: 30}


@pytest.mark.parametrize(
    ("parts", "picture", "names", "message"),
    [
        ({}, "z.png", NAMES, "z.png is not among its images"),
        ({}, "c/x.png", NAMES, "x.png is not among its images"),
        ({"images": [*IMAGES, {"id": 3, "file_name": "x.png"}]}, "a/x.png", NAMES, r"\[3, 7\]"),
        ({"images": [*IMAGES, {"id": 3, "file_name": "y.png"}]}, "y.png", NAMES, "image 9 has"),
        ({"images": [{"id": "3"}]}, "y.png", NAMES, "expected id and file_name"),
        ({"images": None}, "y.png", NAMES, "objects 'images'"),
        ({}, "y.png", ("background", "cat"), "category 30 is 'dog': the detector has no such"),
        ({}, "y.png", None, "expected class names .* --class-names"),
    ],
)
def test_unmatched_images_and_classes_are_rejected(
    tmp_path: Path, bare: Path, parts: dict[str, Any], picture: str, names: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CocoIds(write(tmp_path, **parts), [tmp_path / picture], bare, names)


def test_original_ids_are_kept(tmp_path: Path, bare: Path) -> None:
    images = [{"id": "7", "file_name": r"a\x.png"}, {"id": "img-8", "file_name": "./b/x%20y.png"}]
    categories = [{"id": "30", "name": "dog"}, {"id": "c20", "name": "cat"}]
    path = write(tmp_path, images=images, categories=categories)
    pictures = [tmp_path / "a" / "x.png", tmp_path / "b" / "x y.png"]
    ids = CocoIds(path, pictures, bare, NAMES)
    rows = [ids.results(record_of(picture, ids.categories)) for picture in pictures]
    assert [row["image_id"] for found in rows for row in found] == ["7"] * 2 + ["img-8"] * 2
    assert [row["category_id"] for row in rows[0]] == ["30", "c20"]
