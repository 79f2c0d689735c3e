"""Color jitter: formulas, ranges of the random factors, unchanged boxes."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest

import lucid
from lucid_models_detection.data import ColorJitter

IMAGE = np.random.default_rng(0).random((3, 6, 8), np.float32)
OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def changed(image: np.ndarray, **options: Any) -> np.ndarray:
    target = {"boxes": np.zeros((0, 4)), "image_id": 3}
    result, same = ColorJitter(**options)(image, target)
    assert same is target
    assert result.shape == image.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    return result


def luma(image: np.ndarray) -> np.ndarray:
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def test_zero_amounts_are_the_identity() -> None:
    np.testing.assert_allclose(changed(IMAGE, **OFF), IMAGE, atol=2e-6)


def generator(seed: int) -> lucid.random.Generator:
    return lucid.random.Generator(seed)


def test_brightness_scales_by_one_factor() -> None:
    factors = []
    for seed in range(30):
        dark = IMAGE * np.float32(0.5)
        result = changed(dark, **OFF | {"brightness": 0.4}, generator=generator(seed))
        ratio = result / dark
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)
        factors.append(ratio.mean())
    assert 0.6 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.4


def test_contrast_keeps_the_mean_and_saturation_the_luma() -> None:
    soft = 0.4 + 0.2 * IMAGE  # no clipping at 0 and 1
    for seed in range(10):
        contrast = changed(soft, **OFF | {"contrast": 0.5}, generator=generator(seed))
        assert luma(contrast).mean() == pytest.approx(luma(soft).mean(), abs=1e-5)
        spread = contrast.std() / soft.std()
        np.testing.assert_allclose(
            contrast - luma(soft).mean(), spread * (soft - luma(soft).mean()), atol=1e-4
        )
        saturation = changed(soft, **OFF | {"saturation": 0.5}, generator=generator(seed))
        np.testing.assert_allclose(luma(saturation), luma(soft), atol=1e-5)
        assert np.abs(saturation - soft).max() > 1e-3


def test_hue_keeps_gray_and_luma() -> None:
    gray = np.full((3, 4, 4), 0.3, np.float32)
    np.testing.assert_allclose(changed(gray, **OFF | {"hue": 0.5}), gray, atol=1e-3)
    reddish = np.array([0.6, 0.45, 0.4], np.float32)[:, None, None]
    turned = set()
    for seed in range(10):
        result = changed(reddish, **OFF | {"hue": 0.5}, generator=generator(seed))
        np.testing.assert_allclose(luma(result), luma(reddish), atol=1e-3)
        turned.add(round(6 * colorsys.rgb_to_hsv(*result.reshape(3).tolist())[0]))
    assert len(turned) >= 4, "all round the circle"


def test_jitter_follows_the_seed_and_keeps_its_input() -> None:
    before = IMAGE.copy()
    first = changed(IMAGE, generator=generator(1))
    np.testing.assert_array_equal(first, changed(IMAGE, generator=generator(1)))
    assert np.abs(first - changed(IMAGE, generator=generator(2))).max() > 1e-3
    np.testing.assert_array_equal(IMAGE, before)
    lucid.random.seed(3)
    shared = changed(IMAGE)
    lucid.random.seed(3)
    np.testing.assert_array_equal(shared, changed(IMAGE))


@pytest.mark.parametrize(
    ("name", "value"),
    [("brightness", -0.1), ("contrast", float("nan")), ("saturation", 11), ("hue", 0.6)],
)
def test_amounts_are_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a number in .* got {value}"):
        ColorJitter(**{name: value})
