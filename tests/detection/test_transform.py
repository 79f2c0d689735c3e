from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid import Tensor
from lucid.testing import gradcheck
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.transform import (
    GeneralizedRCNNTransform,
    check_images,
    check_pixels,
    pad_to_multiple,
)

PLAIN = {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}


def image(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((3, height, width), np.float32)


def test_images_are_normalized_padded_and_stand_in_the_corner() -> None:
    first, second = image(5, 9), image(7, 3, 1)
    transform = GeneralizedRCNNTransform((0.5, 0.25, 0.0), (0.5, 1.0, 2.0), size_divisible=4)
    batch = transform([first, Tensor(second)])
    assert batch.tensor.shape == (2, 3, 8, 12)
    assert batch.sizes == batch.original_sizes == [(5, 9), (7, 3)]
    assert batch.padded_size == (8, 12)
    data = batch.tensor.data
    for values, given in ((data[0, :, :5, :9], first), (data[1, :, :7, :3], second)):
        np.testing.assert_allclose(values[0], given[0] * 2 - 1, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values[1], given[1] - 0.25, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values[2], given[2] / 2, rtol=1e-5, atol=1e-6)
    assert not data[0, :, 5:].any()
    assert not data[0, :, :, 9:].any()
    assert not data[1, :, 7:].any()
    assert not data[1, :, :, 3:].any()


@pytest.mark.parametrize(
    ("size", "min_size", "max_size", "expected"),
    [
        ((480, 640), (800,), 1333, (800, 1066)),  # 640 * 800 / 480 = 1066.67
        ((480, 640), (800,), 1000, (750, 1000)),
        ((100, 300), None, 150, (50, 150)),
        ((100, 140), None, 150, (100, 140)),  # max_size alone never enlarges
        ((100, 140), (50,), None, (50, 70)),
        ((100, 140), (80, 50), None, (50, 70)),  # prediction takes the last
        ((1, 500), (10,), 100, (1, 100)),  # never less than a pixel
        ((100, 140), None, None, (100, 140)),
    ],
)
def test_new_sizes(
    size: tuple[int, int],
    min_size: tuple[int, ...] | None,
    max_size: int | None,
    expected: tuple[int, int],
) -> None:
    batch = GeneralizedRCNNTransform(**PLAIN, min_size=min_size, max_size=max_size)([image(*size)])
    assert batch.sizes == [expected]
    assert batch.original_sizes == [size]


def test_training_draws_from_several_sizes() -> None:
    transform = GeneralizedRCNNTransform(**PLAIN, min_size=(8, 16, 24), size_divisible=1)
    drawn = {transform([image(32, 32)], training=True).sizes[0] for _ in range(40)}
    assert drawn == {(8, 8), (16, 16), (24, 24)}


def test_resizing_is_bilinear_between_pixel_centers() -> None:
    given = np.arange(4, dtype=np.float32).reshape(1, 1, 4).repeat(3, axis=0)
    batch = GeneralizedRCNNTransform(**PLAIN, min_size=(2,), size_divisible=1)([given])
    assert batch.sizes == [(2, 8)]
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(batch.tensor.data[0, 1], [expected, expected], rtol=1e-6)


def test_boxes_follow_the_image_and_come_back() -> None:
    transform = GeneralizedRCNNTransform(**PLAIN, min_size=(50,))
    batch = transform([image(100, 200), image(50, 60)])
    boxes = np.array([[10, 20, 30, 40]], np.float32)
    target = GroundTruth(boxes, np.array([3]))
    moved = transform.resize_targets([target, target], batch)
    np.testing.assert_allclose(moved[0].boxes, [[5, 10, 15, 20]])
    assert moved[1] is target
    np.testing.assert_allclose(transform.restore_boxes(moved[0].boxes, batch, 0), boxes)


def test_gradients_reach_the_images() -> None:
    first = lucid.random.rand(3, 6, 8, dtype=lucid.float64).requires_grad_()
    second = lucid.random.rand(3, 4, 4, dtype=lucid.float64).requires_grad_()
    transform = GeneralizedRCNNTransform(
        (0.1, 0.2, 0.3), (0.5, 1.0, 2.0), min_size=(4,), size_divisible=4
    )
    gradcheck(lambda *images: transform(images, np.float64).tensor, [first, second])


def test_pad_to_multiple() -> None:
    assert pad_to_multiple((1, 32), 32) == (32, 32)
    assert pad_to_multiple((33, 64), 32) == (64, 64)


def test_a_batch_is_a_list_of_its_images() -> None:
    assert len(check_images(np.zeros((2, 3, 4, 5), np.float32))) == 2


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "expected at least one image, got none"),
        (np.zeros((0, 3, 4, 4), np.float32), ValueError, "at least one image"),
        (np.zeros((3, 4, 4), np.float32), ValueError, r"\(3, 4, 4\); put a single image"),
        (
            [image(4, 4), np.zeros((1, 4, 4))],
            ValueError,
            r"images\[1\].*3, H, W.*\(1, 4, 4\)",
        ),
        ([np.zeros((4, 4, 3))], ValueError, r"got \(4, 4, 3\); .*transpose\(2, 0, 1\)"),
        ([np.zeros((8, 9, 1))], ValueError, r"got \(8, 9, 1\); put channels first"),
        ([np.zeros((4, 4, 4))], ValueError, r"got \(4, 4, 4\); drop the alpha channel"),
        (
            [np.zeros((1, 4, 4))],
            ValueError,
            r"\(1, 4, 4\); repeat a gray image: np.repeat\(image, 3",
        ),
        ([np.zeros((4, 4))], ValueError, r"\(4, 4\); .*np.repeat\(image\[None\], 3, axis=0\)"),
        ([np.zeros((3, 0, 4))], ValueError, r"at least one pixel, got \(3, 0, 4\)"),
        ([np.zeros((3, 4, 4), np.uint8)], TypeError, "got uint8; divide by 255"),
        ([np.zeros((3, 4, 4), np.int64)], TypeError, "floating point in .* got int64"),
        ([[1.0]], TypeError, r"images\[0\]: expected a tensor or an array, got list"),
        ([np.zeros((3, 4, 4), bool)], TypeError, "floating point in .* got bool"),
        ([np.zeros((3, 4, 4), complex)], TypeError, "floating point in .* got complex128"),
        ("cat.png", TypeError, "got str; .*read_image"),
        ([Path("cat.png")], TypeError, r"images\[0\]: .*read_image"),
        (Image.new("RGB", (4, 4)), TypeError, "got Image; .*to_array"),
        ([Image.new("RGB", (4, 4))], TypeError, r"images\[0\]: .*to_array"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_invalid_images_are_rejected(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_images(images)


@pytest.mark.parametrize(
    ("low", "high", "remedy"),
    [
        (0, 255, "divide 8-bit values by 255"),
        (0, 65535, "by 65535"),
        (-1, 1, "before normalization"),
        (-2.1, 2.6, "before normalization"),
        (0, 1.01, "np.clip"),
    ],
)
def test_pixels_outside_the_range_name_image_range_and_remedy(
    low: float, high: float, remedy: str
) -> None:
    wrong = np.linspace(low, high, 48, dtype=np.float32).reshape(3, 4, 4)
    with pytest.raises(ValueError, match=rf"images\[1\]: .*\[{low:.5g}, {high:.5g}\]; ") as error:
        check_pixels([image(4, 4), wrong])
    assert remedy in str(error.value)
    assert len(check_images([wrong])) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_pixels_in_range_to_rounding_are_accepted_in_any_layout(dtype: Any) -> None:
    pixels = np.linspace(0, 1, 60).astype(dtype).reshape(3, 4, 5)
    pixels[0, 0, 0], pixels[-1, -1, -1] = -5e-5, 1
    pixels.flags.writeable = False
    layouts = [pixels, pixels[:, ::-1, ::-1], pixels.transpose(1, 2, 0).copy().transpose(2, 0, 1)]
    assert len(check_pixels(layouts)) == 3
    assert len(check_pixels([Tensor(pixels[:, ::2].astype(np.float32), requires_grad=True)])) == 1


def test_enlarging_a_long_strip_is_rejected() -> None:
    strip = np.zeros((3, 1, 60_000), np.float32)
    with pytest.raises(ValueError, match=r"images\[1\]: .*800 x 48000000 .*1 x 60000.*max_size"):
        GeneralizedRCNNTransform(**PLAIN, min_size=(800,))([image(8, 8), strip])
    batch = GeneralizedRCNNTransform(**PLAIN, min_size=(800,), max_size=1333)([strip])
    assert batch.sizes == [(1, 1333)]
    assert batch.tensor.shape == (1, 3, 32, 1344)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), ((), ()), ((0.5,), (-1.0,))]
)
def test_means_and_deviations_of_channels(mean: Any, std: Any) -> None:
    with pytest.raises(ValueError, match="one mean and one positive standard deviation"):
        GeneralizedRCNNTransform(mean, std)


def test_padding_is_to_a_positive_multiple() -> None:
    with pytest.raises(ValueError, match="size_divisible: expected a positive integer, got 0"):
        GeneralizedRCNNTransform((0.5,), (0.5,), size_divisible=0)
