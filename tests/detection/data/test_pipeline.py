"""Datasets, augmentation, batches and worker processes together."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucid.data import DataLoader
from lucid_models_detection.data import (
    COCO_CATEGORY_IDS,
    CocoDetection,
    ColorJitter,
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    ScaleJitter,
    collate,
)

AUGMENT = Compose([RandomHorizontalFlip(), ScaleJitter((0.6, 1.6)), RandomCrop(), ColorJitter()])
SIZES = [(30, 40), (24, 16), (20, 20), (50, 33), (41, 60), (64, 20), (17, 90)]
ROTATED = 2  # stored with an EXIF orientation


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDetection:
    """Images of seven sizes with a bright square, except one; one has an EXIF orientation."""
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
    }
    for i, (height, width) in enumerate(SIZES):
        pixels = np.full((height, width, 3), 20 * i, np.uint8)
        if i != 1:
            pixels[3:11, 2:12] = 255
            row = {"id": i, "image_id": i, "category_id": 18, "bbox": [2, 3, 10, 8]}
            content["annotations"].append(row)
        exif = Image.Exif()
        if i == ROTATED:
            exif[0x0112] = 6  # rotate clockwise for display
            pixels = np.rot90(pixels)
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"{i}.png", exif=exif)
        content["images"].append(
            {"id": i, "file_name": f"{i}.png", "width": width, "height": height}
        )
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return CocoDetection(
        path,
        tmp_path,
        category_ids=COCO_CATEGORY_IDS,
        transform=AUGMENT,
        box_orientation="upright",
    )


def epoch(loader: DataLoader) -> list[tuple[Any, ...]]:
    """Convert batches to comparable values."""
    return [
        (target["image_id"], image.shape, image.tobytes(), target["boxes"].tobytes())
        for images, targets in loader
        for image, target in zip(images, targets, strict=True)
    ]


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_workers(dataset: CocoDetection) -> None:
    runs = []
    for workers in (0, 1, 3):
        loader = DataLoader(dataset, 2, shuffle=True, collate=collate, workers=workers, seed=5)
        runs.append([epoch(loader), epoch(loader)])
        loader.close()
    assert runs[0] == runs[1] == runs[2]
    first, second = runs[0]
    assert sorted(row[0] for row in first) == list(range(len(SIZES)))
    assert {row[0]: row[2] for row in first} != {row[0]: row[2] for row in second}


@pytest.mark.slow
def test_each_sample_has_its_own_random_numbers(dataset: CocoDetection) -> None:
    """The same image at each position of the epoch: all crops differ."""
    same = [dataset] * 8
    loader = DataLoader(_FirstOf(same), 1, collate=collate, workers=2, seed=1)
    images = [row[2] for row in epoch(loader)]
    loader.close()
    assert len(set(images)) == 8


class _FirstOf:
    """A dataset with the first sample of each dataset."""

    def __init__(self, datasets: list[CocoDetection]) -> None:
        self.datasets = datasets

    def __len__(self) -> int:
        return len(self.datasets)

    def __getitem__(self, index: int) -> Any:
        return self.datasets[index][0]


@pytest.mark.slow
def test_leaving_an_epoch_early_does_not_block_the_next(dataset: CocoDetection) -> None:
    loader = DataLoader(dataset, 1, collate=collate, workers=2, prefetch=4, seed=2)
    for _ in range(3):
        next(iter(loader))
    assert len(epoch(loader)) == len(SIZES)
    loader.close()


def test_boxes_match_images_with_exif_orientation(dataset: CocoDetection) -> None:
    for images, targets in DataLoader(dataset, 3, collate=collate, seed=0):
        for image, target in zip(images, targets, strict=True):
            gray = image.mean(axis=0)
            if target["image_id"] == 1:
                assert target["boxes"].shape == (0, 4)
                continue
            assert target["labels"].tolist() == [COCO_CATEGORY_IDS[18]] == [17]
            ys, xs = np.nonzero(gray > (gray.min() + gray.max()) / 2)
            around = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(around, target["boxes"][0], atol=1.0)


def test_stored_size_with_exif_orientation_is_rejected(
    dataset: CocoDetection, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "0.png", exif=exif)
    with pytest.raises(ValueError, match=r"say 40 x 30 pixels, the image has 30 x 40.*EXIF"):
        dataset[0]


def test_coco_category_ids_have_no_gap() -> None:
    assert list(COCO_CATEGORY_IDS.values()) == list(range(1, 81))
    assert (COCO_CATEGORY_IDS[1], COCO_CATEGORY_IDS[13], COCO_CATEGORY_IDS[90]) == (1, 12, 80)
    assert not {12, 26, 29, 30, 45, 66, 68, 69, 71, 83} & COCO_CATEGORY_IDS.keys()
    assert all(low < high for low, high in pairwise(COCO_CATEGORY_IDS))


def test_torchvision_labels_are_coco_category_ids(dataset: CocoDetection) -> None:
    same = {number: number for number in range(1, 91)}
    data = CocoDetection(dataset.annotation_file, dataset.image_directory, category_ids=same)
    assert data.num_classes == 91
    assert data[0][1]["labels"].tolist() == [18]
    assert data.class_names[18] == "dog"
