"""Small datasets on disk, made for each test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def write_image(path: Path, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Write a PNG of noise; return its pixels (H, W, 3)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """Three images (the second empty), category ids with a gap, one crowd."""
    return {
        "images": [
            {"id": 10, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 20, "file_name": "sub/b.png", "width": 16, "height": 24},
            {"id": 5, "file_name": "c.png", "width": 20, "height": 20},
        ],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [2, 3, 10, 20], "area": 150.5},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [35, 25, 9.5, 5]},
            {"id": 3, "image_id": 5, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
            {"id": 4, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[[Any], tuple[Path, Path]]:
    """Write content as a JSON file beside its images; give both paths."""

    def write(content: Any) -> tuple[Path, Path]:
        images = tmp_path / "images"
        write_image(images / "a.png", 40, 30, seed=1)
        write_image(images / "sub" / "b.png", 16, 24, seed=2)
        write_image(images / "c.png", 20, 20, seed=3)
        path = tmp_path / "coco.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path, images

    return write
