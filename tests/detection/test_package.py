from __future__ import annotations

import subprocess
import sys

import pytest

import lucid_models_detection

pytestmark = pytest.mark.slow


def test_importing_is_cheap() -> None:
    """Neither the package nor a look around it may import what models need."""
    script = (
        "import sys, lucid_models_detection; dir(lucid_models_detection); "
        "heavy = {'PIL', 'numba', 'pycocotools', 'matplotlib', 'lucid.nn', 'click', 'tqdm'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_network_needs_no_pillow() -> None:
    script = (
        "import sys; from lucid_models_detection import FasterRCNN, roi_align, torchvision_config; "
        "print(sorted({'PIL', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", lucid_models_detection.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(lucid_models_detection, name) is not None
    assert name in dir(lucid_models_detection)


def test_roi_align_is_the_function() -> None:
    from lucid_models_detection import parts, roi_align

    assert roi_align is parts.roi_align


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'mask_rcnn'"):
        _ = lucid_models_detection.mask_rcnn
