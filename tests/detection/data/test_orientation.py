"""All eight EXIF orientations, with boxes of the upright or the stored image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from lucid_models_detection.data import CocoDetection, VocDetection
from lucid_models_detection.data.detection_dataset import DetectionDataset
from lucid_models_detection.data.orientation import to_upright

STORED = (8, 4, 48, 24)  # xyxy of the bright part in the stored pixels


def picture(folder: Path, orientation: int, size: tuple[int, int] = (96, 64)) -> tuple[int, ...]:
    """Write an image with a bright part; return its box in the upright image."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    x1, y1, x2, y2 = STORED
    pixels[y1:y2, x1:x2] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(folder / "a.png")))
    ys, xs = np.nonzero(upright)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def coco(folder: Path, size: Any, box: Any, **options: Any) -> CocoDetection:
    x1, y1, x2, y2 = map(int, box)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return CocoDetection(folder / "a.json", folder, **options)


def voc(folder: Path, size: Any, box: Any, **options: Any) -> VocDetection:
    corners = "".join(
        f"<{tag}>{int(value)}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    (folder / "a.xml").write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"<object><name>a</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    return VocDetection(folder, folder, class_names=["a"], one_based=False, **options)


def assert_fits(data: DetectionDataset) -> None:
    """Check that the box surrounds the bright part, also after check_images."""
    data.check_images()
    image, target = data[0]
    x1, y1, x2, y2 = map(int, target["boxes"][0])
    assert image[:, y1:y2, x1:x2].min() == 1
    assert image.sum() == 3 * 40 * 20
    np.testing.assert_array_equal(data.target(0)["boxes"], target["boxes"])
    assert (data.entries[0].height, data.entries[0].width) == image.shape[1:]


@pytest.mark.parametrize("make", [coco, voc])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_orientation(tmp_path: Path, orientation: int, make: Any) -> None:
    picture(tmp_path, orientation)
    if orientation > 1:
        message = f"EXIF orientation {orientation}.*--box-orientation"
        with pytest.raises(ValueError, match=message):
            make(tmp_path, (96, 64), STORED)[0]
        with pytest.raises(ValueError, match=message):
            make(tmp_path, (96, 64), STORED).check_images()
    assert_fits(make(tmp_path, (96, 64), STORED, box_orientation="stored"))


@pytest.mark.parametrize("make", [coco, voc])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_orientation(tmp_path: Path, orientation: int, make: Any) -> None:
    box = picture(tmp_path, orientation)
    size = (64, 96) if orientation > 4 else (96, 64)
    assert_fits(make(tmp_path, size, box, box_orientation="upright"))
    if orientation in (2, 3, 4):
        with pytest.raises(ValueError, match=r"does not change the size of 96 x 64"):
            make(tmp_path, size, box).check_images()
    else:
        assert_fits(make(tmp_path, size, box))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_square_images(tmp_path: Path, orientation: int) -> None:
    box = picture(tmp_path, orientation, (96, 96))
    if orientation > 1:
        with pytest.raises(ValueError, match="unknown what its box was drawn on"):
            coco(tmp_path, (96, 96), box).check_images()
    assert_fits(coco(tmp_path, (96, 96), box, box_orientation="upright"))
    assert_fits(coco(tmp_path, (96, 96), STORED, box_orientation="stored"))


@pytest.mark.parametrize("orientation", [2, 6])
def test_missing_size_leaves_orientation_unknown(tmp_path: Path, orientation: int) -> None:
    box = picture(tmp_path, orientation)
    with pytest.raises(ValueError, match=r"and no size given.*unknown"):
        coco(tmp_path, (None, None), box).check_images()
    assert_fits(coco(tmp_path, (None, None), box, box_orientation="upright"))
    assert_fits(coco(tmp_path, (None, None), STORED, box_orientation="stored"))


def test_image_without_objects_may_have_any_orientation(tmp_path: Path) -> None:
    picture(tmp_path, 3)
    path = tmp_path / "a.json"
    coco(tmp_path, (96, 64), STORED)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    CocoDetection(path, tmp_path).check_images()


def test_size_of_another_image_is_rejected(tmp_path: Path) -> None:
    picture(tmp_path, 6)
    with pytest.raises(ValueError, match=r"say 90 x 60 pixels, the image has 64 x 96"):
        coco(tmp_path, (90, 60), STORED).check_images()
    with pytest.raises(ValueError, match=r"say 64 x 96 pixels, the image has 96 x 64"):
        coco(tmp_path, (64, 96), STORED, box_orientation="stored")


def test_to_upright_matches_pillow(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        box = picture(tmp_path, orientation)
        turned = to_upright(np.array([STORED], np.float32), (96, 64), orientation)
        assert turned.tolist() == [list(box)]


def test_unknown_box_orientation_is_rejected(tmp_path: Path) -> None:
    picture(tmp_path, 1)
    with pytest.raises(ValueError, match="box_orientation: expected one of upright, stored, got"):
        coco(tmp_path, (96, 64), STORED, box_orientation="raw")
