"""Checks of arguments and images that classifiers share."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid_models_classification.checks import check_images, check_norm


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "got NoneType"),
        (
            (lucid.zeros(1, 3, 4, 4), [0]),
            r"got tuple; from a batch \(images, labels\)",
        ),
        ({"image": 1}, "got dict"),
        ("cat.png", "got str; lucid.vision.read_image reads a file"),
        (Image.new("RGB", (4, 4)), "got Image; lucid.vision.to_array"),
    ],
)
def test_non_batches_are_rejected(given: object, problem: str) -> None:
    with pytest.raises(TypeError, match=rf"images of shape \(N, 3, H, W\) .*{problem}"):
        check_images(given, 3)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1, 4, 4), (1, 3, 0, 4), ()])
def test_batches_of_wrong_shape_are_rejected(shape: tuple[int, ...]) -> None:
    for images in (lucid.zeros(*shape), np.zeros(shape, np.float32)):
        with pytest.raises(ValueError, match=r"images of shape \(N, 3, H, W\)") as caught:
            check_images(images, 3)
        assert str(caught.value).endswith(f"got {shape}")


def test_empty_batch_is_valid() -> None:
    check_images(lucid.zeros(0, 3, 4, 4), 3)


@pytest.mark.parametrize("eps", [True, "1e-5", -1e-5, float("nan"), float("inf")])
def test_epsilon_must_be_finite(eps: object) -> None:
    check_norm("frozen", 0)
    with pytest.raises(ValueError, match=r"norm_eps: expected a finite number of at least 0"):
        check_norm("batch", eps)
