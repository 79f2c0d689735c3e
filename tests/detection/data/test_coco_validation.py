"""Validation of COCO files: tolerated spellings, counted findings, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lucid_models_detection.data import CocoDetection
from lucid_models_detection.data.coco import read_categories, read_images

Write = Callable[[Any], tuple[Path, Path]]
Content = dict[str, Any]


def kinds(data: CocoDetection) -> dict[str, int]:
    return {kind: number for kind, _, number in data.report.rows()}


def box_count(data: CocoDetection) -> int:
    return sum(len(data.target(i)["boxes"]) for i in range(len(data)))


def renumber(content: Content, spell: Callable[[int], Any], key: str, *places: str) -> None:
    for place in places:
        name = key if place == "annotations" else "id"
        for row in content[place]:
            row[name] = spell(row[name])


@pytest.mark.parametrize("spell", [str, float, lambda n: f"{n}.0"])
@pytest.mark.parametrize("places", [("images",), ("annotations",), ("images", "annotations")])
def test_image_ids_as_strings_or_integral_floats(
    coco_content: Content, write_coco: Write, spell: Any, places: tuple[str, ...]
) -> None:
    renumber(coco_content, spell, "image_id", *places)
    data = CocoDetection(*write_coco(coco_content))
    assert [len(data.target(i)["boxes"]) for i in range(3)] == [2, 0, 1]
    own = spell(10) if "images" in places and spell is not float else 10
    assert data.target(0)["image_id"] == own
    assert type(data.target(0)["image_id"]) is type(own)


@pytest.mark.parametrize("spell", [str, float])
@pytest.mark.parametrize("places", [("categories",), ("annotations",)])
def test_category_ids_as_strings_or_integral_floats(
    coco_content: Content, write_coco: Write, spell: Any, places: tuple[str, ...]
) -> None:
    renumber(coco_content, spell, "category_id", *places)
    path, images = write_coco(coco_content)
    data = CocoDetection(path, images)
    assert data.category_ids == {3: 1, 7: 2}
    assert data.class_names == ("background", "cat", "dog")
    assert data.target(0)["labels"].tolist() == [2, 1]
    assert read_categories(path).names == {3: "cat", 7: "dog"}
    again = CocoDetection(path, images, category_ids={"3": 2, 7.0: 1})
    assert again.target(0)["labels"].tolist() == [1, 2]


def test_non_numeric_ids(coco_content: Content, write_coco: Write) -> None:
    renumber(coco_content, lambda n: f"img-{n}", "image_id", "images", "annotations")
    renumber(coco_content, lambda n: f"c{n}", "category_id", "categories", "annotations")
    data = CocoDetection(*write_coco(coco_content))
    assert data.category_ids == {"c3": 1, "c7": 2}
    assert [data.target(i)["image_id"] for i in range(3)] == ["img-10", "img-20", "img-5"]
    assert box_count(data) == 3


def test_colliding_ids_are_rejected(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"][1]["id"] = "7"
    with pytest.raises(ValueError, match=r"category 7 .'cat'.: another category has the same id"):
        CocoDetection(*write_coco(coco_content), on_invalid="skip")


def test_annotation_ids_have_no_effect(coco_content: Content, write_coco: Write) -> None:
    rows = coco_content["annotations"]
    rows[1]["id"] = rows[0]["id"]
    rows[2]["id"] = str(rows[0]["id"])
    del rows[3]["id"]
    data = CocoDetection(*write_coco(coco_content))
    assert box_count(data) == 3
    assert kinds(data)["duplicate-annotation-id"] == 2


def test_repeated_image_entry_is_merged(coco_content: Content, write_coco: Write) -> None:
    coco_content["images"].append({**coco_content["images"][0], "id": "10"})
    data = CocoDetection(*write_coco(coco_content))
    assert len(data) == data.report.totals["images"] == 3
    assert kinds(data)["repeated-image"] == 1


@pytest.mark.parametrize(
    ("flag", "crowd"),
    [(0, 0), (1, 1), (True, 1), (None, 0), ("0", 0), ("Yes", 1), ("false", 0), (1.0, 1)],
)
def test_crowd_flag_spellings(
    coco_content: Content, write_coco: Write, flag: Any, crowd: int
) -> None:
    coco_content["annotations"][0]["iscrowd"] = flag
    data = CocoDetection(*write_coco(coco_content))
    assert len(data.target(0)["ignored_boxes"]) == crowd
    assert len(data.target(0)["boxes"]) == 2 - crowd
    assert kinds(data)["crowd"] == 1 + crowd  # one is in the file already


@pytest.mark.parametrize("flag", [2, "maybe", [], 0.5])
def test_invalid_crowd_flag_is_reported(
    coco_content: Content, write_coco: Write, flag: Any
) -> None:
    coco_content["annotations"][0]["iscrowd"] = flag
    paths = write_coco(coco_content)
    with pytest.raises(ValueError, match="annotation 1 of image 10: iscrowd: expected 0 or 1, got"):
        CocoDetection(*paths)
    data = CocoDetection(*paths, on_invalid="skip")
    assert (box_count(data), data.skipped) == (2, 1)


@pytest.mark.parametrize(
    "size", [(None, None), (0, 0), (-1, -1), ("wide", 30), (40.5, 30), (40, None), ("", "")]
)
def test_missing_size_is_read_from_the_image(
    coco_content: Content, write_coco: Write, size: tuple[Any, Any]
) -> None:
    coco_content["images"][0].update(width=size[0], height=size[1])
    data = CocoDetection(*write_coco(coco_content))
    assert (data.entries[0].width, data.entries[0].height) == (40, 30)
    assert data.target(0)["boxes"].tolist() == [[2, 3, 12, 23], [35, 25, 40, 30]]
    assert kinds(data)["derived-size"] == 1


@pytest.mark.parametrize("size", [(40.0, 30.0), ("40", "30"), ("40.0", 30)])
def test_sizes_as_strings_or_floats(
    coco_content: Content, write_coco: Write, size: tuple[Any, Any]
) -> None:
    coco_content["images"][0].update(width=size[0], height=size[1])
    data = CocoDetection(*write_coco(coco_content))
    assert (data.entries[0].width, data.entries[0].height) == (40, 30)
    assert "derived-size" not in kinds(data)


def test_unknown_size_is_reported(coco_content: Content, write_coco: Write) -> None:
    del coco_content["images"][0]["width"]
    path, images = write_coco(coco_content)
    (images / "a.png").unlink()
    with pytest.raises(ValueError, match="image 10: expected width and height, got None and 30"):
        CocoDetection(path, images)
    data = CocoDetection(path, images, on_invalid="skip")
    assert [entry.name for entry in data.entries] == ["sub/b.png", "c.png"]
    assert data.report.left_out == {"images": 1, "annotations": 2}


@pytest.mark.parametrize(
    "bbox",
    [
        "absent",
        None,
        [],
        "",
        {},
        [0, 0, 0, 0],
        [0.0] * 4,
        [-1] * 4,
        [None] * 4,
        ["0"] * 4,
        [5, 6, 0, 0],
    ],
)
@pytest.mark.parametrize(
    "segmentation",
    [[[3, 4, 13, 4, 13, 14]], {"size": [30, 40], "counts": [3 * 30 + 4] + [10, 20] * 10}],
)
def test_missing_box_is_derived_from_segmentation(
    coco_content: Content, write_coco: Write, bbox: Any, segmentation: Any
) -> None:
    row = coco_content["annotations"][0]
    row.update(bbox=bbox, segmentation=segmentation)
    if bbox == "absent":
        del row["bbox"]
    data = CocoDetection(*write_coco(coco_content), box_format=None)
    assert data.target(0)["boxes"][0].tolist() == [3, 4, 13, 14]
    assert kinds(data)["derived-bbox"] == 1


def test_annotation_without_box_and_segmentation(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"][0].update(bbox=[], segmentation=[])
    paths = write_coco(coco_content)
    with pytest.raises(ValueError, match=r"annotation 1 of image 10: bbox .*or a segmentation"):
        CocoDetection(*paths)
    assert kinds(CocoDetection(*paths, on_invalid="skip"))["no-bbox"] == 1


@pytest.mark.parametrize("bbox", [[0, 0, 0, 0], [3, 4, 0, 10], [3, 4, -1, -1]])
@pytest.mark.parametrize("segmentation", [None, []])
def test_box_without_area_and_without_segmentation(
    coco_content: Content, write_coco: Write, bbox: Any, segmentation: Any
) -> None:
    coco_content["annotations"][0].update(bbox=bbox, segmentation=segmentation)
    with pytest.raises(
        ValueError, match=r"annotation 1 of image 10: bbox .*must be greater than 0"
    ):
        CocoDetection(*write_coco(coco_content))


def test_numbers_as_strings(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"][0].update(bbox=["2", "3.0", "10", "2e1"], area="150.5")
    target = CocoDetection(*write_coco(coco_content)).target(0)
    assert target["boxes"][0].tolist() == [2, 3, 12, 23]
    assert target["area"][0] == 150.5


def test_leaving_out_more_than_half_raises(coco_content: Content, write_coco: Write) -> None:
    for row in coco_content["annotations"][:3]:
        row["category_id"] = 99
    with pytest.raises(ValueError, match="3 of 4 annotations"):
        CocoDetection(*write_coco(coco_content), on_invalid="skip")


def test_report_counts_findings(coco_content: Content, write_coco: Write) -> None:
    coco_content["annotations"] += [
        {"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4]},  # another class
        {"image_id": 5, "category_id": 3, "bbox": [5, 5, 0.5, 4]},
    ]
    data = CocoDetection(*write_coco(coco_content))
    assert kinds(data) == {
        "clipped": 1,
        "tiny": 1,
        "duplicate": 1,
        "crowd": 1,
        "no-objects": 1,
    }
    assert data.report.classes == {"cat": 4, "dog": 2}
    assert data.report.totals == {"images": 3, "annotations": 7}


# --- categories -----------------------------------------------------------------------------------


def test_root_category_is_not_a_class(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"] = [
        {"id": 0, "name": "pet", "supercategory": "none"},
        {"id": 3, "name": "pet", "supercategory": "pet"},
        {"id": 7, "name": "dog", "supercategory": "pet"},
    ]
    path, images = write_coco(coco_content)
    data = CocoDetection(path, images)
    assert data.class_names == ("background", "pet", "dog")
    assert kinds(data)["root-category"] == 1
    assert read_categories(path).roots == {0: "pet"}
    coco_content["annotations"][0]["category_id"] = 0
    path, images = write_coco(coco_content)
    with pytest.raises(ValueError, match=r"categories 0, 3 .*'pet'"):
        CocoDetection(path, images)
    merged = CocoDetection(path, images, category_ids={0: 1, 3: 1, 7: 2})
    assert merged.num_classes == 3


def test_root_category_of_a_detector_stays_a_class(
    coco_content: Content, write_coco: Write
) -> None:
    coco_content["categories"].append({"id": 1, "name": "pet"})
    coco_content["categories"][0]["supercategory"] = "pet"
    categories = read_categories(write_coco(coco_content)[0])
    assert 1 not in categories.names
    assert categories.names_for(("background", "pet"))[1] == "pet"
    assert 1 not in categories.names_for(None)


def test_unused_categories_are_classes(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"].append({"id": 0, "name": "bird", "supercategory": "animal"})
    data = CocoDetection(*write_coco(coco_content))
    assert data.class_names == ("background", "bird", "cat", "dog")
    assert kinds(data)["unused-category"] == 1
    assert data.report.classes["bird"] == 0


@pytest.mark.parametrize("name", ["background", "Background", " BACKGROUND ", "__background__"])
def test_class_named_background_is_rejected(
    coco_content: Content, write_coco: Write, name: str
) -> None:
    coco_content["categories"][1]["name"] = name
    paths = write_coco(coco_content)
    with pytest.raises(ValueError, match=r"category 3 .*label 0 is the background"):
        CocoDetection(*paths)
    assert CocoDetection(*paths, category_ids={3: None, 7: 1}).class_names == ("background", "dog")


def test_unused_background_is_left_out(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"].append({"id": 0, "name": "_background_"})
    data = CocoDetection(*write_coco(coco_content))
    assert data.class_names == ("background", "cat", "dog")
    assert kinds(data)["root-category"] == 1


@pytest.mark.parametrize("name", ["dog", " dog", "dog "])
def test_repeated_names_are_rejected(coco_content: Content, write_coco: Write, name: str) -> None:
    coco_content["categories"][1]["name"] = name
    with pytest.raises(ValueError, match=r"categories 3, 7 .*'dog'"):
        CocoDetection(*write_coco(coco_content))


def test_names_that_differ_in_case_are_reported(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"][1]["name"] = "Dog"
    data = CocoDetection(*write_coco(coco_content))
    assert data.class_names == ("background", "Dog", "dog")
    assert kinds(data)["similar-names"] == 1


def test_numeric_names(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"][0]["name"] = 5
    assert CocoDetection(*write_coco(coco_content)).class_names == ("background", "cat", "5")
    coco_content["categories"][0]["name"] = True
    with pytest.raises(ValueError, match="category number 0: expected id and name"):
        CocoDetection(*write_coco(coco_content))


def test_incomplete_category_mapping_is_rejected(coco_content: Content, write_coco: Write) -> None:
    with pytest.raises(ValueError, match=r"category_id 7 is not among \[3\]"):
        CocoDetection(*write_coco(coco_content), category_ids={3: 1}, on_invalid="skip")
    with pytest.raises(ValueError, match="category_ids: expected distinct category ids"):
        CocoDetection(*write_coco(coco_content), category_ids={3: 1, "3": 2})


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings(coco_content: Content, write_coco: Write, encoding: str) -> None:
    coco_content["categories"][0]["name"] = "größer"
    path, images = write_coco(coco_content)
    path.write_bytes(json.dumps(coco_content, ensure_ascii=False).encode(encoding))
    assert CocoDetection(path, images).class_names == ("background", "cat", "größer")


def test_latin_1_is_rejected(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"][0]["name"] = "größer"
    path, images = write_coco(coco_content)
    path.write_bytes(json.dumps(coco_content, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(ValueError, match=r"coco\.json: .*expected UTF-8 text.*save the file as"):
        CocoDetection(path, images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  \n", "expected a COCO JSON file, got an empty file; export .* as COCO JSON"),
        (
            "{'images'}",
            "got text that is not JSON .*; export .* as COCO",
        ),
        (
            '{"images": []}',
            r"list of objects 'annotations', got the keys .*images.*; export",
        ),
        ('{"a": 1}\n{"b": 2}\n', "JSON lines"),
        ("<?xml version='1.0'?><annotation/>", "Pascal VOC annotations are read by VocDetection"),
        ("<!DOCTYPE html><html></html>", "HTML page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 1, 1], "score": 1}]', "COCO results"),
        ('[{"image": "a.png", "annotations": []}]', "CreateML"),
        ('[{"image_id": 1, "bbox": []}]', "without images and categories"),
        ("train: a/images\nval: b/images\nnc: 1\nnames: [a]\n", "YOLO"),
        ("0 0.5 0.5 0.25 0.125\n" * 200, "YOLO"),
        ("[]", "got a list"),
        ("7", "expected a COCO JSON file .*got 7"),
        ('{"shapes": [], "imagePath": "a.png"}', "labelme"),
        ('{"_via_img_metadata": {}}', "VGG Image Annotator"),
        ('{"a.png1": {"regions": []}}', "VGG Image Annotator"),
    ],
)
def test_error_names_the_actual_file_format(write_coco: Write, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        CocoDetection(*write_coco(text))
    assert "coco.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        (r"sub\b.png", 0), ("./sub/b.png", 0), ("sub/./b.png", 0), ("sub%2Fb.png", 0),
        ("images/sub/b.png", 1), (r"D:\data\sub\b.png", 1), ("/data/sub/b.png", 1),
    ],
)  # fmt: skip
def test_file_name_spellings(
    coco_content: Content, write_coco: Write, name: str, moved: int
) -> None:
    coco_content["images"][1]["file_name"] = name
    data = CocoDetection(*write_coco(coco_content))
    assert data.entries[1].name == "sub/b.png"
    assert data[1][0].shape == (3, 24, 16)
    assert data.report.counts["moved-image"] == moved


def test_image_in_another_folder_is_not_used(coco_content: Content, write_coco: Write) -> None:
    """other/b.png does not exist; b.png is another image."""
    coco_content["images"][1]["file_name"] = "other/b.png"
    path, images = write_coco(coco_content)
    (images / "b.png").write_bytes((images / "sub" / "b.png").read_bytes())
    data = CocoDetection(path, images)
    with pytest.raises(ValueError, match=r"other/b\.png: no such file"):
        data.check_images()


def test_similar_file_name_is_suggested(coco_content: Content, write_coco: Write) -> None:
    coco_content["images"][1]["file_name"] = "sub/B.JPG"
    with pytest.raises(ValueError, match=r"sub/B\.JPG: no such file; there is b\.png"):
        CocoDetection(*write_coco(coco_content)).check_images()


def test_read_images_keeps_original_ids(coco_content: Content, write_coco: Write) -> None:
    coco_content["images"][0].update(id="10", width=None)
    coco_content["images"][1].update(file_name=r"sub\b.png", id=20.0)
    assert read_images(write_coco(coco_content)[0]) == {
        "a.png": ("10", None),
        "sub/b.png": (20, (16, 24)),
        "c.png": (5, (20, 20)),
    }


def test_missing_and_damaged_images_are_left_out(coco_content: Content, write_coco: Write) -> None:
    path, images = write_coco(coco_content)
    (images / "a.png").write_bytes(b"no image")
    data = CocoDetection(path, images)
    with pytest.raises(ValueError, match=r"coco\.json: 1 problem:\n .*a\.png: .*not an image"):
        data.check_images()
    data = CocoDetection(path, images, on_invalid="skip")
    data.check_images()
    assert [entry.name for entry in data.entries] == ["sub/b.png", "c.png"]
    assert [data.target(i)["image_id"] for i in range(2)] == [20, 5]
    assert [len(data.target(i)["boxes"]) for i in range(2)] == [0, 1]
    assert data.report.classes == {"cat": 1, "dog": 0}
    assert data.skipped == 2
    data.check_images()  # checked images are not opened again
    assert data.report.left_out["images"] == 1
    (images / "c.png").unlink()
    data = CocoDetection(path, images, on_invalid="skip")
    with pytest.raises(ValueError, match="2 of 3 images"):
        data.check_images()


@pytest.mark.parametrize(("size", "valid"), [([30, 40], True), ([40, 30], False)])
def test_mask_of_another_size_is_rejected(
    coco_content: Content, write_coco: Write, size: list[int], valid: bool
) -> None:
    runs = [3 * 30 + 4] + [10, 20] * 10
    row = coco_content["annotations"][0]
    del row["bbox"]
    row["segmentation"] = {"size": size, "counts": runs}
    path, images = write_coco(coco_content)
    if valid:
        assert kinds(CocoDetection(path, images))["derived-bbox"] == 1
        return
    with pytest.raises(ValueError, match=r"image, 40 x 30 pixels; the mask has 30 x 40"):
        CocoDetection(path, images)
    assert kinds(CocoDetection(path, images, on_invalid="skip"))["no-bbox"] == 1


def test_repeated_category_entry_is_merged(coco_content: Content, write_coco: Write) -> None:
    coco_content["categories"].append(dict(coco_content["categories"][0]))
    data = CocoDetection(*write_coco(coco_content))
    assert data.class_names == ("background", "cat", "dog")
    assert kinds(data)["repeated-category"] == 1


@pytest.mark.parametrize("rows", [None, {}, [{}, None]])
def test_annotations_must_be_a_list_of_objects(
    coco_content: Content, write_coco: Write, rows: Any
) -> None:
    coco_content["annotations"] = rows
    with pytest.raises(ValueError, match=r"objects 'annotations', got (None|\{\})"):
        CocoDetection(*write_coco(coco_content))


def test_mask_encodings(coco_content: Content, write_coco: Write) -> None:
    compressed = "n2:d000000000000000000Vi0"  # of pycocotools.mask.encode
    row = coco_content["annotations"][0]
    for counts in (compressed, [94, *[10, 20] * 9, 10, 826], [94.0, *[10.0, 20.0] * 9, 10.0]):
        row.update(bbox=[0, 0, 0, 0], segmentation={"size": [30, 40], "counts": counts})
        data = CocoDetection(*write_coco(coco_content))
        assert data.target(0)["boxes"][0].tolist() == [3, 4, 13, 14]


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [30, 40], "counts": "zzzz~~"},
        {"size": [30, 40], "counts": "n2:"},  # 94, 10: less than the whole mask
        {"size": [30, 40], "counts": [94.5, 10]},
        [[3, 4, 13, float("nan"), 13, 14]],
        [[3, 4, float("inf"), 4, 13, 14]],
    ],
)
def test_damaged_segmentations_are_rejected(
    coco_content: Content, write_coco: Write, segmentation: Any
) -> None:
    coco_content["annotations"][0].update(bbox=None, segmentation=segmentation)
    with pytest.raises(ValueError, match="annotation 1 of image 10: bbox None: expected"):
        CocoDetection(*write_coco(coco_content))


@pytest.mark.parametrize("name", [None, ""])
def test_coco_url_replaces_missing_file_name(
    coco_content: Content, write_coco: Write, name: str | None
) -> None:
    row = coco_content["images"][0]
    row.update(file_name=name, coco_url="http://images.cocodataset.org/val2017/a.png")
    path, images = write_coco(coco_content)
    data = CocoDetection(path, images)
    assert data.entries[0].name == "a.png"
    assert kinds(data)["moved-image"] == 1
