"""The recipe of the site for Ray Data: run as it is printed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_examples import captioned_files
from PIL import Image

import lucid
from lucid_models_detection import DetectionPredictor, faster_rcnn_resnet_18_fpn

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the recipe speaks of: weights and a directory of photos, of which one is broken."""
    lucid.random.seed(0)
    small = {"hidden_dim": 8, "rpn_pre_nms_top_n": 60, "rpn_post_nms_top_n": 20}
    model = faster_rcnn_resnet_18_fpn(num_classes=3, box_score_threshold=0.0, **small)
    lucid.save_model(model, tmp_path / "detector.safetensors")
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:02d}.png")
    (photos / "07.png").write_bytes(b"no image")
    return tmp_path


def test_the_recipe(folder: Path) -> None:
    recipe = captioned_files(PAGE.read_text(encoding="utf-8"))["detect_with_ray.py"]
    (folder / "detect_with_ray.py").write_text(recipe)
    # Ray's own processes find Lucid where this one has it.
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    settings["RAY_raylet_start_wait_time_s"] = "200"  # Ray's half minute is short on a busy machine
    done = subprocess.run(
        [sys.executable, "detect_with_ray.py"],
        cwd=folder, env=os.environ | settings, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [
        json.loads(line)
        for path in (folder / "results").iterdir()
        for line in path.read_text().splitlines()
    ]
    records = {row["image"]: json.loads(row["record"]) for row in found}
    photos = sorted(map(str, (folder / "photos").iterdir()))
    assert sorted(row["image"] for row in found) == photos
    assert [image for image in photos if "error" in records[image]] == [photos[7]]
    expected = DetectionPredictor(folder / "detector.safetensors")(photos)
    for record in expected:
        if "error" not in record:
            assert len(record["detections"]) == len(records[record["image"]]["detections"])
