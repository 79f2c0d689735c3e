"""The transforms under their public name in the classification package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lucid.vision
from lucid_models_classification import transforms


def test_every_transform_of_the_core_is_exported() -> None:
    for name in lucid.vision.transforms.__all__:
        assert getattr(transforms, name) is getattr(lucid.vision.transforms, name)
    assert set(lucid.vision.transforms.__all__) <= set(transforms.__all__)


def test_images_are_read_and_converted_by_the_core() -> None:
    for name in ("ImageError", "read_image", "to_array", "to_pil"):
        assert getattr(transforms, name) is getattr(lucid.vision, name)
        assert name in transforms.__all__


@pytest.mark.slow
def test_pillow_is_not_imported_before_the_first_image() -> None:
    code = (
        "import sys, lucid_models_classification.transforms, lucid_models_classification as p\n"
        "p.resnet_18\n"
        "assert not {'PIL', 'numba', 'click', 'tqdm'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchvision_name_gives_a_hint() -> None:
    with pytest.raises(AttributeError, match=r"'ToTensor'; use lucid\.vision\.to_array"):
        _ = transforms.ToTensor  # type: ignore[attr-defined]
