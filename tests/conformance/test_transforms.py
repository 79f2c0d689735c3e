"""The image transforms against torchvision's, on arrays and on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision_cpu import torchvision

from lucid.vision import read_image
from lucid.vision.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Normalize,
    Resize,
    build_transform,
    preprocessing,
)

their = torchvision.transforms


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((3, height, width)).astype(np.float32)


@pytest.mark.parametrize("shape", [(37, 53), (53, 37), (40, 40), (11, 90)])
@pytest.mark.parametrize("size", [16, 40, 61, (20, 33), (70, 8)])
def test_resize(shape: tuple[int, int], size: Any) -> None:
    x = image(*shape)
    size_there = size if isinstance(size, int) else list(size)
    expected = their.Resize(size_there, antialias=True)(torch.from_numpy(x)).numpy()
    actual = Resize(size)(x)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(37, 53), (53, 36), (20, 20), (11, 90), (5, 4)])
@pytest.mark.parametrize("size", [20, 21, (30, 11), (9, 40)])
def test_center_crop(shape: tuple[int, int], size: Any) -> None:
    x = image(*shape)
    expected = their.CenterCrop(size)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(CenterCrop(size)(x), expected)


def test_normalize() -> None:
    x = image(6, 7)
    expected = their.Normalize(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(Normalize(IMAGENET_MEAN, IMAGENET_STD)(x), expected, atol=1e-6)


def test_the_evaluation_pipeline_from_a_file(tmp_path: Path) -> None:
    """torchvision resizes 8-bit images and rounds, so one level may differ."""
    pixels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    smooth = Image.fromarray(pixels).resize((300, 280), Image.Resampling.BICUBIC)
    path = tmp_path / "image.png"
    smooth.save(path)
    pipeline = their.Compose(
        [
            their.Resize(256),
            their.CenterCrop(224),
            their.ToTensor(),
            their.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    with Image.open(path) as file:
        expected = pipeline(file).numpy()
    actual = build_transform(preprocessing())(read_image(path))
    assert np.abs(actual - expected).max() < 1.1 / 255 / min(IMAGENET_STD)
