"""VOC dataset: coordinates, difficult objects, image sets, errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid_models_detection.data import (
    VOC_CLASSES,
    CocoDetection,
    RandomHorizontalFlip,
    VocDetection,
)

OBJECT = """
  <object><name>{name}</name><difficult>{difficult}</difficult>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
    <part><name>head</name>
      <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  </object>"""


def write(root: Path, name: str, *objects: str, filename: str = "", size: str = "40 30") -> None:
    """Write an image of 40 x 30 pixels and its annotation."""
    width, height = size.split()
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "JPEGImages").mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), (200, 100, 0)).save(root / "JPEGImages" / f"{name}.png")
    (root / "Annotations" / f"{name}.xml").write_text(
        f"<annotation><filename>{filename}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{''.join(objects)}</annotation>"
    )


def thing(name: str, *corners: object, difficult: int = 0) -> str:
    return OBJECT.format(*corners, name=name, difficult=difficult)


def load(root: Path, **options: object) -> VocDetection:
    return VocDetection(root / "Annotations", root / "JPEGImages", **options)  # type: ignore[arg-type]


def test_one_based_pixels_become_edges(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("dog", 1, 1, 10, 20), thing("cat", 5.5, 6, "40.0", 30))
    image, target = load(tmp_path)[0]
    assert image.shape == (3, 30, 40)
    np.testing.assert_allclose(image[:, 0, 0], [200 / 255, 100 / 255, 0])
    assert target["boxes"].tolist() == [[0, 0, 10, 20], [4.5, 5, 40, 30]]
    assert target["labels"].tolist() == [VOC_CLASSES.index("dog") + 1, VOC_CLASSES.index("cat") + 1]
    assert target["area"].tolist() == [200, 35.5 * 25]
    assert target["image_id"] == "a"


def test_zero_based_edges(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("dog", 1, 1, 10, 20))
    assert load(tmp_path, one_based=False)[0][1]["boxes"].tolist() == [[1, 1, 10, 20]]


def test_difficult_objects_are_ignored_or_kept(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("dog", 1, 1, 10, 20, difficult=1), thing("cat", 3, 3, 9, 9))
    _, target = load(tmp_path)[0]
    assert target["boxes"].tolist() == [[2, 2, 9, 9]]
    assert target["ignored_boxes"].tolist() == [[0, 0, 10, 20]]
    assert target["ignored_labels"].tolist() == [12]
    _, target = load(tmp_path, keep_difficult=True)[0]
    assert target["labels"].tolist() == [12, 8]
    assert len(target["ignored_boxes"]) == 0


def test_image_without_objects(tmp_path: Path) -> None:
    write(tmp_path, "a")
    _, target = load(tmp_path)[0]
    assert target["boxes"].shape == (0, 4)


def test_to_coco_keeps_annotations(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("dog", 1, 1, 10, 20, difficult=1), thing("cat", 3, 3, 9.5, 9))
    write(tmp_path, "b")
    write(tmp_path, "c", thing("dog", 1, 1, 41, 31))  # clipped at the border
    voc = load(tmp_path, class_names=("dog", "cat"))
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(voc.to_coco()))
    coco = CocoDetection(path, voc.image_directory)
    assert coco.class_names == voc.class_names
    assert len(coco) == len(voc) == 3
    for i in range(3):
        (image, found), (expected, target) = coco[i], voc[i]
        np.testing.assert_array_equal(image, expected)
        assert found.pop("image_id") == i + 1
        target.pop("image_id")
        assert found.keys() == target.keys()
        for key, value in target.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_image_set_selects_and_orders(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, name)
    (tmp_path / "set.txt").write_text("c  1\na -1\n  \n")
    data = load(tmp_path, image_set=tmp_path / "set.txt")
    assert [target["image_id"] for _, target in data] == ["c", "a"]
    assert [target["image_id"] for _, target in load(tmp_path)] == ["a", "b", "c"]
    (tmp_path / "set.txt").write_text("c\nzz\n")
    with pytest.raises(ValueError, match=r"set\.txt: 'zz': no annotation zz\.xml"):
        load(tmp_path, image_set=tmp_path / "set.txt")


def test_image_is_found_by_name_or_annotation_file(
    tmp_path: Path,
) -> None:
    write(tmp_path, "a", filename=r"C:\photos\b.png")
    Image.new("RGB", (40, 30), (0, 0, 255)).save(tmp_path / "JPEGImages" / "b.png")
    assert load(tmp_path)[0][0][2].min() == 1.0
    (tmp_path / "JPEGImages" / "b.png").unlink()
    assert load(tmp_path)[0][0][0].min() == pytest.approx(200 / 255)
    (tmp_path / "JPEGImages" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.xml: no image 'b\.png'"):
        load(tmp_path)


def test_custom_classes_and_transform(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("screw", 1, 1, 10, 20))
    data = load(tmp_path, class_names=["nut", "screw"], transform=RandomHorizontalFlip(p=1.0))
    assert data.class_names == ("background", "nut", "screw")
    assert data.num_classes == 3
    assert data[0][1]["labels"].tolist() == [2]
    assert data[0][1]["boxes"].tolist() == [[30, 0, 40, 20]]


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((10, 5, 9, 20), "width and height must be greater than 0"),
        ((50, 5, 60, 20), "no part of the box is inside the image of 40 x 30"),
        (("nan", 5, 60, 20), "must be finite"),
    ],
)
def test_invalid_boxes_raise_or_are_skipped(
    tmp_path: Path, corners: tuple[object, ...], reason: str
) -> None:
    write(tmp_path, "a", thing("cat", 1, 1, 5, 5), thing("dog", *corners))
    with pytest.raises(ValueError, match=reason) as caught:
        load(tmp_path)
    assert "a.xml: object 1: dog: bndbox" in str(caught.value)
    assert len(load(tmp_path, on_invalid="skip")[0][1]["labels"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", r"a\.xml: not a supported XML file"),
        ("<html></html>", r"a\.xml: expected a VOC <annotation>, got <html>"),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, "a")
    (tmp_path / "Annotations" / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_compressed_annotation_is_rejected(tmp_path: Path) -> None:
    write(tmp_path, "a")
    path = tmp_path / "Annotations" / "a.xml"
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.xml: expected an XML .*a gzip archive; unpack it"):
        load(tmp_path)


def test_unknown_classes_and_missing_numbers_are_rejected(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("dragon", 1, 1, 5, 5))
    with pytest.raises(ValueError, match=r"a\.xml: object 0: class 'dragon' is not among"):
        load(tmp_path)
    write(tmp_path, "a", thing("dog", 1, 1, "five", 5))
    with pytest.raises(ValueError, match=r"object 0: expected a number in <bndbox/xmax>, got 'fi"):
        load(tmp_path)


def test_image_size_mismatch_is_rejected(tmp_path: Path) -> None:
    write(tmp_path, "a", size="30 40")
    with pytest.raises(ValueError, match=r"a\.png: .*30 x 40 pixels, the image has 40 x 30"):
        load(tmp_path)[0]


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        load(tmp_path / "nowhere")
    write(tmp_path, "a")
    with pytest.raises(ValueError, match="distinct"):
        load(tmp_path, class_names=["a", "a"])
    with pytest.raises(ValueError, match="distinct"):
        load(tmp_path, class_names="dog")
    with pytest.raises(ValueError, match="on_invalid"):
        load(tmp_path, on_invalid="drop")
