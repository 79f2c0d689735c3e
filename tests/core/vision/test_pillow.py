"""Pillow is optional: without it images are refused with the command that installs it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import vision
from lucid.vision import transforms

IMAGE = np.zeros((3, 4, 6), np.float32)


@pytest.fixture
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "lucid.vision.pillow", raising=False)


@pytest.mark.usefixtures("no_pillow")
@pytest.mark.parametrize(
    "use",
    [
        lambda: vision.read_image(io.BytesIO()),
        lambda: vision.read_header(Path("image.png")),
        lambda: vision.check_images(["image.png"], "."),
        lambda: vision.image_suffixes(),
        lambda: vision.to_pil(IMAGE),
        lambda: transforms.Resize(8)(IMAGE),
    ],
)
def test_error_names_the_extra(use: Callable[[], object]) -> None:
    with pytest.raises(lucid.MissingPackageError, match=r'"lucid-core\[vision\]"') as got:
        use()
    assert got.value.name == "PIL"


@pytest.mark.usefixtures("no_pillow")
def test_functions_without_pillow() -> None:
    vision.check_range(IMAGE)
    assert transforms.CenterCrop(2)(IMAGE).shape == (3, 2, 2)
    assert transforms.Normalize([0.5], [0.5])(IMAGE[:1]).tolist() == np.full((1, 4, 6), -1).tolist()
