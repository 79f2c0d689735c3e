"""Boxes in another format than expected: rejected with counts, converted on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucid_models_detection.data import CocoDetection, VocDetection
from lucid_models_detection.data.box_formats import BOX_FORMATS, BoxFormat, to_xyxy

WIDTH, HEIGHT = 96, 64


def scene(count: int = 60, seed: int = 0) -> np.ndarray:
    """Return random boxes (N, 4), xyxy in pixels."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(4, 40, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    return np.round(np.concatenate([corners, corners + sides], axis=1), 1)


def written(xyxy: np.ndarray, box_format: BoxFormat) -> np.ndarray:
    """Convert boxes from xyxy to a format."""
    first, sides = xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]
    kind = box_format.removeprefix("normalized-")
    boxes = {
        "xyxy": xyxy,
        "xywh": np.concatenate([first, sides], axis=1),
        "cxcywh": np.concatenate([first + sides / 2, sides], axis=1),
    }[kind]
    scale = np.array([WIDTH, HEIGHT] * 2) if kind != box_format else 1
    return boxes / scale


def coco(folder: Path, boxes: np.ndarray, **row: Any) -> CocoDetection:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 1200}
            for i, box in enumerate(boxes.tolist())
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return CocoDetection(folder / "a.json", folder, **row)


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_all_formats_are_converted(tmp_path: Path, box_format: BoxFormat) -> None:
    boxes = scene()
    data = coco(tmp_path, written(boxes, box_format), box_format=box_format)
    np.testing.assert_allclose(data.target(0)["boxes"], boxes, atol=1e-4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    limit = data.target(0)["area"] / areas
    assert limit.max() <= 1.02 if box_format != "xywh" else (limit[0] == 1200 / areas[0])


@pytest.mark.parametrize("box_format", [f for f in BOX_FORMATS if f != "xywh"])
@pytest.mark.parametrize("seed", range(3))
def test_wrong_formats_are_rejected(tmp_path: Path, box_format: BoxFormat, seed: int) -> None:
    boxes = written(scene(seed=seed), box_format)
    for policy in ("raise", "skip"):
        with pytest.raises(ValueError, match=r"a\.json: 1 problem:\n  \d+ of 60 boxes") as caught:
            coco(tmp_path, boxes, on_invalid=policy)
        assert f'"{box_format}"' in str(caught.value)
        assert "--box-format" in str(caught.value)
        assert "annotation " in str(caught.value)
    assert len(coco(tmp_path, boxes, box_format="xywh", on_invalid="raise")) == 1


def test_centers_read_as_corners_are_rejected_in_large_files(tmp_path: Path) -> None:
    corners = np.random.default_rng(1).uniform(0, 1, (300, 2)) * (WIDTH - 6, HEIGHT - 6)
    boxes = np.concatenate(
        [corners, corners + 6], axis=1
    )  # half a side is below the threshold of a far box
    with pytest.raises(ValueError, match=r"cross the border .* all would fit as cxcywh"):
        coco(tmp_path, written(boxes, "cxcywh"))


@pytest.mark.parametrize("seed", range(10))
def test_valid_boxes_are_accepted(tmp_path: Path, seed: int) -> None:
    data = coco(tmp_path, written(scene(seed=seed), "xywh"))
    assert not data.report.counts["clipped"]


def test_error_has_counts_and_likely_formats(tmp_path: Path) -> None:
    boxes = written(scene(60), "xywh")
    boxes[:57] = [0.1, 0.2, 0.5, 0.4]
    with pytest.raises(ValueError, match=r"57 of 60 boxes lie within 0\.\.1") as caught:
        coco(tmp_path, boxes)
    assert '"normalized-xywh"' in str(caught.value)
    boxes[:57] = [50, 30, 90, 60]
    with pytest.raises(ValueError, match="57 of 60 boxes reach far beyond the border"):
        coco(tmp_path, boxes)
    boxes[:57] = [50, 30, 0.5, 9]
    with pytest.raises(ValueError, match="57 of 60 boxes are narrower or lower than one pixel"):
        coco(tmp_path, boxes)


def test_few_invalid_boxes_are_counted(tmp_path: Path) -> None:
    boxes = written(scene(60), "xywh")
    boxes[:3] = [0.1, 0.2, 0.5, 0.4]
    boxes[3:7] = [50, 30, 90, 60]
    data = coco(tmp_path, boxes)
    assert data.report.counts["tiny"] == 3
    assert data.report.counts["clipped"] == 4
    assert len(data.target(0)["boxes"]) == 60


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [90, 60, 8, 8], [-3, -3, 20, 20]])
def test_single_box(tmp_path: Path, box: list[float]) -> None:
    """A one-pixel corner box looks like a fraction, a box a few pixels outside does not."""
    if box == [0, 0, 1, 1]:
        with pytest.raises(ValueError, match="1 of 1 boxes"):
            coco(tmp_path, np.array([box]))
    else:
        assert coco(tmp_path, np.array([box])).report.counts["clipped"] == 1


def test_unknown_box_format_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"box_format: expected one of xywh, .* got 'yxyx'"):
        coco(tmp_path, scene(), box_format="yxyx")


def test_no_boxes_to_convert() -> None:
    assert to_xyxy(np.zeros((0, 4)), np.zeros((0, 2)), "normalized-cxcywh").shape == (0, 4)


def voc(folder: Path, boxes: np.ndarray, **options: Any) -> VocDetection:
    rows = "".join(
        "<object><name>a</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
        "</bndbox></object>".format(*box)
        for box in boxes.tolist()
    )
    (folder / "a.xml").write_text(
        f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{rows}"
        "</annotation>"
    )
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    return VocDetection(folder, folder, class_names=["a"], one_based=False, **options)


@pytest.mark.parametrize("box_format", [f for f in BOX_FORMATS if f != "xyxy"])
def test_voc_files_with_wrong_formats_are_rejected(tmp_path: Path, box_format: BoxFormat) -> None:
    boxes = scene()
    with pytest.raises(ValueError, match=r"\d+ of 60 boxes") as caught:
        voc(tmp_path, written(boxes, box_format))
    assert f'"{box_format}"' in str(caught.value)
    data = voc(tmp_path, written(boxes, box_format), box_format=box_format)
    np.testing.assert_allclose(data.target(0)["boxes"], boxes, atol=1e-4)
    assert len(voc(tmp_path, boxes).target(0)["boxes"]) == 60
