"""Dask's workers predict with the classifier and the detector of a stranger's plugin."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import lucid
from lucid.cli.entry_point import run
from lucid.models import create_model, zoo
from lucid.models.registry import ModelRegistry

FAMILIES = Path(__file__).parents[1] / "integration" / "outside_families.py"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin, installed for this process and for those that it starts."""
    monkeypatch.syspath_prepend(FAMILIES.parent)
    outside = importlib.import_module("outside_families")
    monkeypatch.syspath_prepend(outside.install(tmp_path / "site"))
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    return outside


def test_images_are_classified(outside: Any, tmp_path: Path) -> None:
    folder = outside.class_folders(tmp_path / "classes", "amber", "blue")
    weights = tmp_path / "weights.safetensors"
    lucid.save_model(create_model("pebble", num_classes=4), weights)
    command = ["classify", str(folder), "--weights", str(weights), "--resize", "16", "--crop", "16"]
    assert reports(command, tmp_path) == 16


def test_objects_are_found(outside: Any, tmp_path: Path) -> None:
    data = outside.coco(tmp_path / "scenes", "amber", "blue")
    weights = tmp_path / "weights.safetensors"
    names = ("background", "amber", "blue")
    lucid.save_model(create_model("lantern", num_classes=3), weights, class_names=names)
    command = ["detect", str(data.parent), "--weights", str(weights), "--score-threshold", "0"]
    assert reports(command, tmp_path) == 6


def reports(command: list[str], folder: Path) -> int:
    """Number of images in the report, which is the same with Dask and without."""
    found = []
    for name, more in (("plain", []), ("dask", ["--dask", "local", "--workers", "2"])):
        path = folder / f"{name}.json"
        assert run([*command, "--output", str(path), "--batch-size", "2", *more]) == 0
        found.append(json.loads(path.read_text())["images"])
    assert found[0] == found[1]
    return len(found[0])
