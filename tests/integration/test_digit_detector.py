"""The digit tutorial from end to end, at toy size."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lucid

pytestmark = pytest.mark.slow


@pytest.fixture
def digit_detector(tutorials: dict[str, ModuleType]) -> ModuleType:
    return tutorials["digit_detector"]


def test_the_whole_program(
    digit_detector: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "results"
    arguments = ["digit_detector.py", "--quick", "--seed", "3", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert digit_detector.main() == 0

    assert sorted(path.name for path in output.iterdir()) == [
        "classifier.safetensors",
        "detections.png",
        "detector.safetensors",
        "held_out.png",
        "held_out_detections.png",
        "metrics.json",
        "pretraining.png",
        "training.png",
    ]
    report = json.loads((output / "metrics.json").read_text())
    assert report["seed"] == 3
    assert report["classifier"]["digits"] == 10
    assert report["detector"]["images"] == 4
    assert 0 <= report["detector"]["map_50"] <= 1
    assert [len(report["history"][stage]) for stage in ("classifier", "detector")] == [1, 1]

    assert size_of(output / "held_out.png") == (128, 128)
    assert size_of(output / "held_out_detections.png") == (512, 512)
    assert size_of(output / "detections.png") == (4 * 384 + 3 * 4, 384)
    detector = lucid.load_model(output / "detector.safetensors")
    assert detector.model_name == "faster_rcnn_resnet_18_fpn"
    assert detector.num_classes == 11

    printed = capfd.readouterr().out
    for line in ("Stage 1", "Stage 2", "class  objects", "$ lucid detect", "drawn: ", "mAP@0.5"):
        assert line in printed


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def small(digit_detector: ModuleType) -> Any:
    return replace(digit_detector.QUICK, images=4, image_batch=2, test_images=2)


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a report that does not depend on time or machine."""
    rows = [
        {key: value for key, value in row.items() if key != "seconds"}
        for stage in report["history"].values()
        for row in stage
    ]
    return {"history": rows, "detector": report["detector"], "classifier": report["classifier"]}


def test_results_are_reproducible_from_the_seed(digit_detector: ModuleType, tmp_path: Path) -> None:
    recipe = small(digit_detector)
    lucid.random.seed(1)
    first = digit_detector.run(recipe, 5, tmp_path / "a")
    lucid.random.seed(2)
    again = digit_detector.run(recipe, 5, tmp_path / "b")
    assert numbers(first) == numbers(again)
    weights = [lucid.load(tmp_path / name / "detector.safetensors") for name in "ab"]
    for name, tensor in weights[0].items():
        np.testing.assert_array_equal(tensor.numpy(), weights[1][name].numpy(), err_msg=name)


def test_low_accuracy_fails(
    digit_detector: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = {
        "classifier": {"test_accuracy": 0.99, "digits": 359},
        "detector": {"map": 0.64, "map_50": 0.95, "images": 250},
        "seconds": {"total": 300.0},
    }
    monkeypatch.setattr(digit_detector, "run", lambda *arguments: report)
    monkeypatch.setattr(sys, "argv", ["digit_detector.py", "--output", str(tmp_path)])
    assert digit_detector.main() == 1
    assert "a mAP of 0.65 and a mAP@0.5 of 0.92" in capsys.readouterr().err
    report["detector"].update(map=0.7, map_50=0.91)
    assert digit_detector.main() == 1
    report["detector"].update(map_50=0.93)
    assert digit_detector.main() == 0
