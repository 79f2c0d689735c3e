from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lucid_models_detection.training.samples import SampleDetections, make_grid

BOX = {
    "boxes": np.array([[4, 4, 40, 40.0]]),
    "labels": np.array([1]),
    "scores": np.array([0.9]),
}
NOTHING = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}


def trainer(found: dict) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(predict=lambda images: [found for _ in images]))


def test_grid_per_epoch(tmp_path: Path) -> None:
    samples = [(np.full((3, 48, 64), i / 10, np.float32), {}) for i in range(10)]
    pictures = SampleDetections(samples, 5, ("background", "cat"), tmp_path / "samples")
    assert pictures.indices == [0, 2, 4, 6, 8]
    pictures.on_epoch(trainer(NOTHING), {"epoch": 1})
    pictures.on_epoch(trainer(BOX), {"epoch": 2})
    bare, drawn = (Image.open(tmp_path / "samples" / f"epoch_00{i}.png") for i in (1, 2))
    assert bare.size == drawn.size == (4 * 324 - 4, 2 * 244 - 4)
    gray = np.asarray(bare)
    assert [int(gray[100, 324 * i + 100, 0]) for i in range(4)] == [0, 51, 102, 153]
    assert int(gray[344, 100, 0]) == 204
    assert (np.asarray(drawn) != gray).any()


def test_no_samples_are_drawn_for_count_zero(tmp_path: Path) -> None:
    samples = [(np.zeros((3, 48, 64), np.float32), {})]
    SampleDetections(samples, 0, ("background",), tmp_path / "none").on_epoch(None, {"epoch": 1})
    assert not (tmp_path / "none").exists()
    assert SampleDetections(samples, 8, ("background",), tmp_path).indices == [0]


def test_grid_of_different_sizes() -> None:
    whole = make_grid([Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 5), "blue")])
    assert whole.size == (30 + 4 + 30, 20)
    assert whole.getpixel((9, 19)) == (255, 0, 0)
    assert whole.getpixel((34, 4)) == (0, 0, 255)
    assert whole.getpixel((34, 6)) == (255, 255, 255)
    with pytest.raises(ValueError, match="at least one"):
        make_grid([])
