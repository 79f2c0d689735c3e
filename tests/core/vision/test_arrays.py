"""Pillow images to arrays and back, and the range of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lucid.vision import ImageError, check_range, to_array, to_pil

PIXELS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [40, 50, 60], [70, 80, 90]]], np.uint8
)  # (2, 3, 3): rows, columns, colors
ARRAY = PIXELS.transpose(2, 0, 1).astype(np.float32) / 255


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_sixteen_bits_in_either_order(mode: str) -> None:
    order = {"L": "<", "B": ">"}.get(mode[-1], "<" if mode == "I;16" else "=")
    values = np.array([[0, 257, 65535], [300, 51400, 2]], np.uint16)
    image = Image.frombytes(mode, (3, 2), values.astype(f"{order}u2").tobytes())
    np.testing.assert_allclose(to_array(image), np.repeat(values[None] / 65535, 3, 0), atol=1e-7)


def test_gray_that_was_multiplied_by_its_transparency() -> None:
    image = Image.new("LA", (2, 2), (100, 200)).convert("La")
    np.testing.assert_allclose(to_array(image), 100 / 255, atol=1 / 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "1", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_every_mode_of_a_white_image_is_white(mode: str) -> None:
    white = Image.new("RGB", (3, 2), "white").convert("L" if mode in ("LA", "PA", "1") else "RGB")
    np.testing.assert_allclose(to_array(white.convert(mode)), np.ones((3, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([[0.0, 2.0]], np.float32), r"mode 'F': expected values in \[0, 1\].*\[0, 2\]"),
        (np.array([[np.nan]], np.float32), "mode 'F'"),
        (np.array([[-1, 5]], np.int32), r"mode 'I'.*\[-1, 5\]"),
    ],
)
def test_values_outside_the_range_of_a_mode_are_an_error(values: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        to_array(Image.fromarray(values))


def test_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ImageError, match="0 x 4"):
        to_array(Image.new("RGB", (0, 4)))


def test_to_pil_is_the_way_back() -> None:
    np.testing.assert_array_equal(np.asarray(to_pil(ARRAY)), PIXELS)
    np.testing.assert_array_equal(np.asarray(to_pil(PIXELS.transpose(2, 0, 1))), PIXELS)
    for gray in (ARRAY[:1], ARRAY[0]):
        image = to_pil(gray)
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), PIXELS[:, :, 0])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 4, 4)), r"\(2, 4, 4\)"),
        (np.zeros((3, 0, 4)), r"\(3, 0, 4\)"),
        (np.full((3, 2, 2), 255.0), r"got values in \[255, 255\]"),
        (np.full((3, 2, 2), np.nan), "12 of 12 values NaN"),
        (np.zeros((3, 2, 2), np.int64), "int64"),
    ],
)
def test_to_pil_says_what_it_expected(array: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        to_pil(array)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0, 255], r"values in \[0, 255\]; divide 8-bit values by 255"),
        ([-2, 2], r"values in \[-2, 2\]; .* before normalization"),
        ([0, 1.5], r"values in \[0, 1\.5\]; np\.clip"),
        ([np.nan, 0.5], r"1 of 2 values NaN or infinite, the others in \[0\.5, 0\.5\]"),
        ([np.inf, -np.inf], "2 of 2 values NaN or infinite, none is finite"),
    ],
)
def test_values_outside_the_range_are_named_with_the_remedy(values: list[float], text: str) -> None:
    with pytest.raises(ImageError, match=f"^images\\[3\\]: expected .*{text}"):
        check_range(np.array(values, np.float32), "images[3]")


def test_rounding_beyond_the_range_is_accepted() -> None:
    check_range(np.array([-9e-5, 1 + 9e-5]))


def test_image_without_values_has_no_range() -> None:
    with pytest.raises(ImageError, match=r"images\[0\]: .* got shape \(3, 0, 4\)"):
        check_range(np.zeros((3, 0, 4)), "images[0]")


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((3, 4, 4)), "got ndarray$"),
        ("cat.png", "got str; lucid.vision.read_image reads a file"),
        (None, "got NoneType$"),
    ],
)
def test_only_pillow_images_become_arrays(image: object, text: str) -> None:
    with pytest.raises(TypeError, match=f"expected a Pillow image, {text}"):
        to_array(image)


def test_mask_becomes_black_and_white() -> None:
    image = to_pil(np.array([[True, False]]))
    assert (image.mode, np.asarray(image).tolist()) == ("L", [[255, 0]])
