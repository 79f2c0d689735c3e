"""Tutorial programs as modules, digits without scikit-learn, models of an external plugin."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from lucid.cli.entry_point import run
from lucid.models import zoo
from lucid.models.registry import ModelRegistry

for helpers in (Path(__file__).parent, Path(__file__).parents[1] / "core" / "training"):
    sys.path.insert(0, str(helpers))

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PROGRAMS = ("digit_images", "digit_detector")


def printed_digits(count: int) -> SimpleNamespace:
    """Rendered digits of 8 x 8 pixels with values 0 to 16, in scikit-learn's format."""
    font = ImageFont.load_default(11)
    rng = np.random.default_rng(0)
    images, classes = [], np.arange(count) % 10
    for digit in classes:
        scan = Image.new("L", (8, 8))
        place = (int(rng.integers(0, 3)), int(rng.integers(-4, -1)))
        ImageDraw.Draw(scan).text(place, str(digit), fill=255, font=font)
        images.append(np.round(np.asarray(scan) * (16 / 255)))
    return SimpleNamespace(images=np.stack(images), target=classes)


@pytest.fixture
def tutorials(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """Import a program by name, with rendered digits instead of scikit-learn's."""
    monkeypatch.syspath_prepend(str(TUTORIALS))
    datasets = ModuleType("sklearn.datasets")
    datasets.load_digits = lambda: printed_digits(60)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", datasets)
    yield {name: importlib.import_module(name) for name in PROGRAMS}
    for name in PROGRAMS:
        sys.modules.pop(name, None)


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the two models of ``outside_families`` as in a script."""
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    importlib.import_module("outside_families").register_all()


@pytest.fixture
def call(families: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a ``lucid`` command that must succeed; return its output."""

    def call(*arguments: object) -> str:
        code = run([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return call
