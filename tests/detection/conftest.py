"""Import paths of test helpers, and a small model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from lucid.models import register_model, zoo
from lucid.models.registry import ModelRegistry

for folder in ("weights", "training"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "core" / folder))
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the tiny detector for the test; return its name."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    builder = importlib.import_module("small_detection").tiny_detector
    register_model(name="tiny_detector", task="object-detection", family="faster_rcnn")(builder)
    return "tiny_detector"
