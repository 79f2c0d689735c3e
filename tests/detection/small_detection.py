"""Small COCO files and a small detector, for tests that train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import lucid
from lucid import nn
from lucid_models_detection import FasterRCNN

#: Category ids of files here: with gaps, and not in the order of their names.
CATEGORIES = {7: "disc", 3: "square"}
COLORS = {7: (220, 40, 40), 3: (40, 60, 220)}

#: Arguments that make a detector quick.
SMALL = {
    "hidden_dim": 8,
    "rpn_pre_nms_top_n": 60,
    "rpn_post_nms_top_n": [40, 20],
    "box_batch_size_per_image": 16,
}


def write_coco(
    folder: Path,
    count: int = 6,
    *,
    name: str = "data.json",
    sizes: Sequence[tuple[int, int]] = ((64, 64),),
    empty: Sequence[int] = (),
    categories: dict[int, str] = CATEGORIES,
    seed: int = 0,
) -> Path:
    """Write a COCO file with images of one or two colored boxes; images in ``empty`` have none.

    Sizes are (width, height).
    """
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        pixels = rng.integers(100, 140, (height, width, 3)).astype(np.uint8)
        for _ in range(0 if number in empty else 1 + number % 2):
            category = list(categories)[int(rng.integers(len(categories)))]
            w, h = rng.integers(20, 36, 2).tolist()
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            pixels[y : y + h, x : x + w] = COLORS.get(category, (40, 200, 40))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": 100 + number, "category_id": category,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            )  # fmt: skip
        file_name = f"{Path(name).stem}_{number}.png"
        Image.fromarray(pixels).save(folder / file_name)
        images.append(
            {"id": 100 + number, "file_name": file_name, "width": width, "height": height}
        )
    named = [{"id": key, "name": value} for key, value in categories.items()]
    content = {"images": images, "annotations": annotations, "categories": named}
    path = folder / name
    path.write_text(json.dumps(content))
    return path


class TinyBackbone(nn.Module):
    """Five strided convolutions, named as the stages of a ResNet."""

    feature_channels = (8, 8, 8, 8)
    feature_strides = (4, 8, 16, 32)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        for i in (2, 3, 4):
            stage = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU())
            setattr(self, f"layer{i}", stage)
        self.fc = nn.Linear(8, num_classes)

    def features(self, x: lucid.Tensor) -> list[lucid.Tensor]:
        stages = [self.layer1(self.stem(x))]
        for layer in (self.layer2, self.layer3, self.layer4):
            stages.append(layer(stages[-1]))
        return stages

    def stages(self) -> list[nn.Module]:
        return [self.stem, self.layer1, self.layer2, self.layer3, self.layer4]


def tiny_detector(
    num_classes: int = 3, backbone_num_classes: int = 5, **options: Any
) -> FasterRCNN:
    """Faster R-CNN on a tiny backbone."""
    return FasterRCNN(TinyBackbone(backbone_num_classes), num_classes, **{**SMALL, **options})
