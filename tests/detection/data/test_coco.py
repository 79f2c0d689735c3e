"""COCO dataset: samples, mapping of categories to labels, errors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucid_models_detection.data import CocoDetection, horizontal_flip

Write = Callable[[Any], tuple[Path, Path]]


def test_samples_follow_file_order(coco_content: dict[str, Any], write_coco: Write) -> None:
    data = CocoDetection(*write_coco(coco_content))
    assert len(data) == 3
    image, target = data[0]
    assert image.shape == (3, 30, 40)
    assert image.dtype == np.float32
    pixels = np.asarray(Image.open(data.image_directory / "a.png")).transpose(2, 0, 1)
    np.testing.assert_allclose(image, pixels / 255, atol=1e-6)
    # xyxy; the second box is clipped at the right border (35 + 9.5 > 40).
    assert target["boxes"].tolist() == [[2, 3, 12, 23], [35, 25, 40, 30]]
    assert target["boxes"].dtype == np.float32
    assert target["labels"].tolist() == [2, 1]
    assert target["labels"].dtype == np.int64
    assert target["area"].tolist() == [150.5, 47.5]  # as annotated; width * height where missing
    assert target["image_id"] == 10


def test_image_without_annotations_is_a_sample(
    coco_content: dict[str, Any], write_coco: Write
) -> None:
    image, target = CocoDetection(*write_coco(coco_content))[1]
    assert image.shape == (3, 24, 16)
    assert target["boxes"].shape == target["ignored_boxes"].shape == (0, 4)
    assert target["labels"].shape == target["area"].shape == (0,)
    assert target["labels"].dtype == np.int64


def test_crowds_are_ignored_boxes(coco_content: dict[str, Any], write_coco: Write) -> None:
    _, target = CocoDetection(*write_coco(coco_content))[2]
    assert target["boxes"].tolist() == [[1, 2, 4, 6]]
    assert target["ignored_boxes"].tolist() == [[0, 0, 20, 10]]
    assert target["ignored_labels"].tolist() == [1]


def test_labels_follow_category_id_order(coco_content: dict[str, Any], write_coco: Write) -> None:
    data = CocoDetection(*write_coco(coco_content))
    assert data.category_ids == {3: 1, 7: 2}
    assert data.class_names == ("background", "cat", "dog")
    assert data.num_classes == 3


def test_explicit_category_mapping(coco_content: dict[str, Any], write_coco: Write) -> None:
    paths = write_coco(coco_content)
    swapped = CocoDetection(*paths, category_ids={7: 1, 3: 2, 99: 3})
    assert swapped.class_names == ("background", "dog", "cat", "category 99")
    assert swapped[0][1]["labels"].tolist() == [1, 2]

    merged = CocoDetection(*paths, category_ids={7: 1, 3: 1})
    assert merged.class_names == ("background", "dog/cat")
    assert merged[0][1]["labels"].tolist() == [1, 1]

    without_cats = CocoDetection(*paths, category_ids={7: 1, 3: None})
    assert without_cats.class_names == ("background", "dog")
    assert [len(target["labels"]) for _, target in without_cats] == [1, 0, 0]


def test_transform_is_applied(coco_content: dict[str, Any], write_coco: Write) -> None:
    data = CocoDetection(*write_coco(coco_content), transform=horizontal_flip)
    assert data[0][1]["boxes"].tolist() == [[28, 3, 38, 23], [0, 25, 5, 30]]


def test_samples_do_not_share_memory(coco_content: dict[str, Any], write_coco: Write) -> None:
    data = CocoDetection(*write_coco(coco_content))
    data[0][1]["boxes"][:] = 0
    assert data[0][1]["boxes"].max() == 40


def test_dataset_is_picklable(coco_content: dict[str, Any], write_coco: Write) -> None:
    data = pickle.loads(pickle.dumps(CocoDetection(*write_coco(coco_content))))
    assert data[0][1]["labels"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([2, 3, 0, 5], "width and height must be greater than 0"),
        ([2, 3, 5, -1], "width and height must be greater than 0"),
        ([2, 3, 5, 0.004], r"width and height must be at least 0\.01 pixels"),
        ([39.995, 3, 5, 5], "no part of the box is inside the image of 40 x 30 pixels"),
        ([100, 3, 5, 5], "no part of the box is inside the image of 40 x 30 pixels"),
        ([2, 3, float("nan"), 5], "must be finite"),
        ([2, 3, 5], "four numbers"),
        (None, "four numbers"),
        (["2 px", 3, 5, 5], "four numbers"),
        ([True, 3, 5, 5], "four numbers"),
        ([2, 3, 10**400, 5], "four numbers"),
        ([2, 3, 1e308, float("inf")], "must be finite"),
    ],
)
def test_invalid_boxes_raise_or_are_skipped(
    coco_content: dict[str, Any], write_coco: Write, bbox: Any, reason: str
) -> None:
    coco_content["annotations"][1]["bbox"] = bbox
    paths = write_coco(coco_content)
    with pytest.raises(ValueError, match=reason) as caught:
        CocoDetection(*paths)
    message = str(caught.value)
    assert "coco.json: 1 problem" in message
    assert "annotation 2 of image 10" in message
    assert 'on_invalid="skip"' in message
    assert "--skip-invalid" in message
    dataset = CocoDetection(*paths, on_invalid="skip")
    assert dataset[0][1]["labels"].tolist() == [2]
    assert dataset.skipped == 1


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that sets one entry, given its path such as ``images/0/id``."""

    def apply(content: Any) -> None:
        *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
        for key in parents:
            content = content[key]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annotations/0/image_id", 77, "annotation 1 of image 77: no image has this id"),
        ("annotations/0/category_id", 4, r"category_id 4 is not among \[3, 7\]"),
        ("annotations/1/id", [1], r"annotation \[1\] of image 10: expected an integer"),
        ("annotations/0/image_id", [10], r"image \[10\]: no image has this id"),
        ("annotations/0/category_id", {}, r"category_id \{\} is not among"),
        ("images/1/id", 10, "image 10: another image has the same id, and this one is 'sub/b.png'"),
        ("images/1/id", "10", "image '10': another image has the same id"),
        ("images/1/file_name", "./a.png", "image 20: image 10 has the same file_name 'a.png'"),
        ("images/1/id", 1.5, "image 1.5: expected an integer or string"),
        ("images/1/file_name", "../b.png", "relative path"),
        ("images/1/file_name", "/etc/b.png", "relative path"),
        ("images/1/file_name", None, "relative path"),
        ("categories/0/id", 3, "another category has the same id"),
        ("categories/0/name", None, "category number 0: expected id and name"),
        ("categories", {}, "with a list of objects 'categories'"),
        ("annotations", [1], "with a list of objects 'annotations'"),
    ],
)
def test_inconsistent_files_are_rejected(
    coco_content: dict[str, Any], write_coco: Write, path: str, value: Any, message: str
) -> None:
    change(path, value)(coco_content)
    with pytest.raises(ValueError, match=message) as caught:
        CocoDetection(*write_coco(coco_content))
    assert "coco.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"images": []}', "[" * 100_000])
def test_other_files_are_rejected(write_coco: Write, text: str) -> None:
    with pytest.raises(ValueError, match=r"coco\.json: "):
        CocoDetection(*write_coco(text))


def test_error_lists_ten_problems_and_counts_all(
    coco_content: dict[str, Any], write_coco: Write
) -> None:
    bad = {"image_id": 10, "category_id": 3, "bbox": [1, 1, 0, 0]}
    coco_content["annotations"] += [{**bad, "id": 100 + i} for i in range(25)]
    with pytest.raises(ValueError, match="25 problems") as caught:
        CocoDetection(*write_coco(coco_content))
    assert str(caught.value).count("\n  annotation 1") == 10
    assert "... and 15 more" in str(caught.value)


@pytest.mark.parametrize("mapping", [{3: 0, 7: 1}, {3: 1, 7: 3}, {3: 2, 7: 3}])
def test_category_ids_reject_gaps_and_background(
    coco_content: dict[str, Any], write_coco: Write, mapping: dict[int, int]
) -> None:
    with pytest.raises(ValueError, match=r"category_ids: .* 1, 2, 3"):
        CocoDetection(*write_coco(coco_content), category_ids=mapping)


def test_image_size_mismatch_is_rejected(coco_content: dict[str, Any], write_coco: Write) -> None:
    coco_content["images"][0].update(width=41, height=33)
    data = CocoDetection(*write_coco(coco_content))
    with pytest.raises(ValueError, match=r"a\.png: .*41 x 33 pixels, the image has 40 x 30"):
        data[0]


def test_missing_files_raise(coco_content: dict[str, Any], write_coco: Write) -> None:
    paths = write_coco(coco_content)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        CocoDetection("none.json", paths[1])
    (paths[1] / "c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"c\.png"):
        CocoDetection(*paths)[2]


def test_unknown_on_invalid_is_rejected(coco_content: dict[str, Any], write_coco: Write) -> None:
    with pytest.raises(ValueError, match="on_invalid"):
        CocoDetection(*write_coco(coco_content), on_invalid="ignore")  # type: ignore[arg-type]
