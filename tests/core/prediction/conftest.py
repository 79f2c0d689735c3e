from __future__ import annotations

import importlib
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import pytest

from lucid.prediction import predictor


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``toy_prediction`` beside this file, which other processes import, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    module = importlib.import_module("toy_prediction")
    module.OPENED.clear()
    monkeypatch.setattr(predictor, "_opened", OrderedDict())
    return module


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    path.write_text("10")
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Seven files; the third is empty, the fifth is not there."""
    paths = [tmp_path / f"{number}.txt" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_text("" if number == 2 else f"{number} 1")
    paths[4].unlink()
    return [str(path) for path in paths]
