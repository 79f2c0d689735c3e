from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.vision import ImageError, to_array
from lucid.vision.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Compose,
    Grayscale,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    build_transform,
    preprocessing,
)


def ramp(height: int, width: int) -> np.ndarray:
    """Values that encode their row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0 + 0.5]).astype(np.float32)


def test_compose_applies_in_order() -> None:
    image = np.ones((3, 2, 2), np.float32)
    assert Compose([lambda x: x + 1, lambda x: x * 3])(image)[0, 0, 0] == 6


def test_resize_to_a_pair_averages_what_it_merges() -> None:
    image = np.zeros((1, 4, 4), np.float32)
    image[0, :2, :2] = 8
    # A triangle of two output pixels' width: along an axis, the outer two of four pixels weigh
    # 3/8 each (3/7 and 1/7 of what is left after normalizing at the border), by hand:
    # first output pixel center 1, support 2: pixels at 0.5, 1.5, 2.5 weigh .75, .75, .25.
    near, far = 1.5 / 1.75, 0.25 / 1.75
    expected = 8 * np.outer([near, far], [near, far])
    np.testing.assert_allclose(Resize((2, 2))(image)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((30, 40), (15, 20)), ((40, 30), (20, 15)), ((31, 47), (15, 22)), ((15, 15), (15, 15))],
)
def test_resize_to_a_number_sets_the_shorter_side(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = Resize(15)(np.full((3, *shape), 0.25, np.float32))
    assert image.shape == (3, *expected)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, 0.25)


def test_enlarging_interpolates_between_pixel_centers() -> None:
    image = np.array([[[0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(Resize((1, 4))(image)[0, 0], [0, 0.25, 0.75, 1])


def test_center_crop_takes_the_middle() -> None:
    image = CenterCrop((2, 4))(ramp(6, 8))
    np.testing.assert_array_equal(image[0, :, 0], [2, 3])
    np.testing.assert_array_equal(image[1, 0], [2, 3, 4, 5])


def test_center_crop_pads_what_is_too_small() -> None:
    image = CenterCrop(4)(np.ones((1, 2, 7), np.float32))
    np.testing.assert_array_equal(image[0, :, 0], [0, 1, 1, 0])
    assert image.shape == (1, 4, 4)


def test_random_resized_crop_is_seeded_and_stays_inside() -> None:
    crop = RandomResizedCrop((5, 6))
    lucid.random.seed(3)
    first = [crop(ramp(20, 30)) for _ in range(20)]
    lucid.random.seed(3)
    second = [crop(ramp(20, 30)) for _ in range(20)]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == (3, 5, 6)
        assert a[0].min() >= 0
        assert a[0].max() <= 19
        assert a[1].max() <= 29
        np.testing.assert_allclose(a[2], 0.5)
    assert len({a.tobytes() for a in first}) == 20


def test_random_resized_crop_draws_areas_and_shapes_in_range() -> None:
    generator = lucid.random.Generator(0)
    crop = RandomResizedCrop(4, scale=(0.2, 0.5), ratio=(0.5, 2), generator=generator)
    for _ in range(200):
        top, left, height, width = crop._rectangle(100, 100)
        assert 0 <= top <= 100 - height
        assert 0 <= left <= 100 - width
        assert 0.19 <= height * width / 1e4 <= 0.51
        assert 0.48 <= width / height <= 2.1


@pytest.mark.parametrize(("shape", "expected"), [((2, 400), (2, 3)), ((400, 2), (3, 2))])
def test_random_resized_crop_of_an_elongated_image_falls_back_to_its_middle(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    generator = lucid.random.Generator(0)
    top, left, height, width = RandomResizedCrop(4, scale=(1, 1), generator=generator)._rectangle(
        *shape
    )
    assert (height, width) == expected
    assert (top, left) == tuple((n - m) // 2 for n, m in zip(shape, expected, strict=True))


def test_flip_probability() -> None:
    image = ramp(3, 4)
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(image)[1, 0], [3, 2, 1, 0])
    assert RandomHorizontalFlip(0)(image) is image
    flip = RandomHorizontalFlip(generator=lucid.random.Generator(1))
    flipped = sum(flip(image)[1, 0, 0] == 3 for _ in range(400))
    assert 160 < flipped < 240


def test_normalize_by_channel() -> None:
    image = np.array([0.5, 0.6, 0.7], np.float32).reshape(3, 1, 1)
    result = Normalize((0.5, 0.5, 0.5), (1, 0.1, 0.2))(image)
    np.testing.assert_allclose(result.ravel(), [0, 1, 1], atol=1e-6)
    assert result.dtype == np.float32


def test_grayscale_weighs_by_luma() -> None:
    image = np.array([1.0, 0, 0], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(Grayscale()(image), [[[0.299]]], rtol=1e-6)
    gray = np.ones((1, 2, 2), np.float32)
    assert Grayscale()(gray) is gray


def test_callers_array_is_never_written() -> None:
    image = ramp(8, 8) / 8
    image.flags.writeable = False
    train = Compose([RandomResizedCrop(8), RandomHorizontalFlip(1), Normalize((0,) * 3, (1,) * 3)])
    train(image)
    build_transform(preprocessing(resize_size=8, crop_size=8))(image)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Resize(0), "positive integer"),
        (lambda: Resize((3, 4, 5)), "positive integer"),  # type: ignore[arg-type]
        (lambda: CenterCrop(True), "positive integer"),
        (lambda: RandomResizedCrop(4, scale=(0, 1)), "scale: expected 0 < low <= high"),
        (lambda: RandomResizedCrop(4, ratio=(2, 1)), "ratio: expected 0 < low <= high"),
        (lambda: RandomHorizontalFlip(1.5), r"p: expected a number in \[0, 1\], got 1\.5"),
        (lambda: Normalize((0.5,), (0.5, 0.5)), "mean and positive std"),
        (lambda: Normalize((0.5,), (0,)), "positive std"),
        (lambda: preprocessing(mean=(1, 2), std=(1, 2)), "1 or 3 numbers as mean"),
        (lambda: preprocessing(mean=(1,)), "mean and positive std"),
        (
            lambda: build_transform({"resize_size": 8, "crop_size": 8, "mean": 0.5, "std": [1]}),
            "1 or 3 numbers as mean, got 0.5",
        ),
        (lambda: preprocessing(resize_size=2.5), "positive integer"),  # type: ignore[arg-type]
        (lambda: build_transform({"resize": 3}), "crop_size.*got \\['resize'\\]"),
    ],
)
def test_bad_settings_are_rejected_when_made(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "transform", [Resize(4), CenterCrop(4), RandomResizedCrop(4), RandomHorizontalFlip()]
)
def test_what_is_no_image_is_rejected(transform: object) -> None:
    for shape in ((4, 4), (4, 4, 3), (3, 0, 4), (1, 3, 4, 4)):
        with pytest.raises(ValueError, match=r"expected an image of shape \(3, H, W\)"):
            transform(np.zeros(shape, np.float32))  # type: ignore[operator]
    with pytest.raises(TypeError, match="uint8"):
        transform(np.zeros((3, 4, 4), np.uint8))  # type: ignore[operator]


def test_oversized_resize_raises() -> None:
    with pytest.raises(ImageError, match=r"got 256 x .*image of 1 x 3000000"):
        Resize(256)(np.zeros((1, 1, 3_000_000), np.float32))


def test_normalize_rejects_another_number_of_channels() -> None:
    with pytest.raises(ValueError, match=r"3 channels, got shape \(1, 2, 2\)"):
        Normalize(IMAGENET_MEAN, IMAGENET_STD)(np.zeros((1, 2, 2), np.float32))


def test_preprocessing_survives_json_and_becomes_the_evaluation_transform() -> None:
    description = json.loads(json.dumps(preprocessing(resize_size=16, crop_size=12)))
    image = np.full((3, 20, 30), 0.5, np.float32)
    result = build_transform(description)(image)
    assert result.shape == (3, 12, 12)
    expected = (0.5 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(result[:, 3, 4], expected, rtol=1e-5)


def test_one_mean_makes_a_gray_pipeline() -> None:
    image = np.full((3, 8, 8), 0.5, np.float32)
    result = build_transform(preprocessing(resize_size=8, crop_size=8, mean=(0.5,), std=(1,)))(
        image
    )
    np.testing.assert_allclose(result, np.zeros((1, 8, 8)), atol=1e-6)


def test_transforms_can_be_sent_to_workers() -> None:
    train = Compose((Resize(9), RandomResizedCrop(4), RandomHorizontalFlip(), CenterCrop(3)))
    assert pickle.loads(pickle.dumps(train)) == train


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0, 255, "divide 8-bit"), (-1, 1, "before normalization"), (0, np.inf, "NaN or infinite")],
)
def test_preprocessing_rejects_pixels_outside_the_range(low: float, high: float, text: str) -> None:
    image = np.full((3, 40, 50), low, np.float32)
    image[:, ::2] = high  # resizing averages neighboring rows
    for transform in (
        build_transform(preprocessing(resize_size=8, crop_size=8)),
        Normalize([0], [1]),
    ):
        with pytest.raises(ImageError, match=text):
            transform(image[: 1 if isinstance(transform, Normalize) else 3])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 30), (60, 90)])
def test_resizing_is_that_of_pillow(interpolation: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = (rng.random((40, 50, 3)) > 0.5).astype(np.uint8) * 255  # edges to overshoot at
    resized = Resize(size, interpolation)(to_array(Image.fromarray(pixels)))
    method = Image.Resampling[interpolation.upper()]
    expected = Image.fromarray(pixels).resize(size[::-1], method)
    np.testing.assert_allclose(resized, to_array(expected), atol=1.5 / 255)
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_interpolation_is_described_where_it_is_not_the_default() -> None:
    assert "interpolation" not in preprocessing(interpolation="bilinear")
    description = preprocessing(resize_size=9, crop_size=8, interpolation="bicubic")
    assert description["interpolation"] == "bicubic"
    assert Resize(9, "bicubic") in build_transform(json.loads(json.dumps(description))).transforms
    with pytest.raises(ValueError, match="interpolation: expected one of bilinear, bicubic"):
        preprocessing(interpolation="lanczos")
