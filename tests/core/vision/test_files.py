"""Image files: pixels, headers, limits, and errors that name the file."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid.vision import ImageError, read_header, read_image

PIXELS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [40, 50, 60], [70, 80, 90]]], np.uint8
)  # (2, 3, 3): rows, columns, colors
ARRAY = PIXELS.transpose(2, 0, 1).astype(np.float32) / 255


def saved(image: Image.Image, format: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def test_rgb_file_becomes_planes_in_zero_to_one(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(PIXELS).save(path)
    for file in (path, str(path)):
        image = read_image(file)
        assert image.dtype == np.float32
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, ARRAY)


def test_file_is_closed_even_when_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(saved(Image.effect_noise((40, 40), 50)).getvalue()[:500])
    with pytest.raises(ImageError):  # an unclosed file would be a ResourceWarning, an error here
        read_image(path)
    path.unlink()


def test_pipe_is_rejected_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    link = tmp_path / "link.png"
    link.symlink_to(path)
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=r"link\.png: .* got a named pipe"):
            read(link)
    with pytest.raises(ImageError, match=r"/dev/zero: .* got a character device"):
        read_image("/dev/zero")


def test_gray_becomes_three_equal_channels() -> None:
    image = read_image(saved(Image.fromarray(PIXELS[:, :, 0])))
    np.testing.assert_array_equal(image, np.stack([ARRAY[0]] * 3))


def test_sixteen_bits_keep_their_precision() -> None:
    values = np.array([[0, 1, 300], [32768, 65534, 65535]], np.uint16)
    image = read_image(saved(Image.fromarray(values)))
    np.testing.assert_allclose(image[1], values / 65535, rtol=1e-6)


def test_transparency_is_dropped_and_the_color_beneath_remains() -> None:
    alpha = np.full((2, 3, 1), 7, np.uint8)
    image = read_image(saved(Image.fromarray(np.concatenate([PIXELS, alpha], axis=2))))
    np.testing.assert_array_equal(image, ARRAY)


def test_palette_with_transparency_is_read_without_a_warning() -> None:
    palette = Image.fromarray(PIXELS).quantize(6)
    file = saved(palette, transparency=bytes([0, 128, 255, 255, 255, 255]))
    np.testing.assert_allclose(read_image(file), ARRAY, atol=0.05)


def test_cmyk_jpeg_keeps_its_colors() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    image = read_image(saved(red, "JPEG", quality=95))
    np.testing.assert_allclose(image.mean((1, 2)) * 255, [200, 30, 30], atol=4)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ARRAY),
        (2, ARRAY[:, :, ::-1]),
        (3, ARRAY[:, ::-1, ::-1]),
        (4, ARRAY[:, ::-1]),
        (5, ARRAY.transpose(0, 2, 1)),
        (6, np.rot90(ARRAY, -1, (1, 2))),
        (7, np.rot90(ARRAY.transpose(0, 2, 1), 2, (1, 2))),
        (8, np.rot90(ARRAY, 1, (1, 2))),
    ],
)
def test_exif_orientation_is_applied(orientation: int, expected: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(saved(Image.fromarray(PIXELS), exif=exif))
    np.testing.assert_array_equal(image, expected)


def test_sixteen_bits_are_rotated_too() -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(saved(Image.fromarray(values), exif=exif))
    np.testing.assert_allclose(image[0] * 65535, np.rot90(values, -1), rtol=1e-5)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    file = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(file)[:, 0, 0], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_file_is_one_clear_error(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
    whole = saved(noise, format).getvalue()
    path = tmp_path / "broken"
    for length in (*range(0, 60, 7), len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"broken: expected a whole image"):
            read_image(path)


def test_invalid_image_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("to whom it may concern")
    with pytest.raises(ImageError, match=r"notes\.txt.*not an image"):
        read_image(path)


def test_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow only warns of the first
def test_decompression_bomb_is_rejected(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(100 * 100 / factor))
    with pytest.raises(
        ImageError,
        match=rf"10000 pixels.*limit of {int(100 * 100 / factor)};.*--max-pixels.*LUCID_MAX_PIXELS",
    ):
        read_image(saved(Image.new("L", (100, 100))))


@pytest.mark.parametrize("factor", [1.5, 3])
def test_limit_on_pixels_can_be_raised_for_a_call_and_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    limit = int(100 * 100 / factor)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert read_image(saved(Image.new("L", (100, 100))), max_pixels=10_000).shape == (3, 100, 100)
    assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("LUCID_MAX_PIXELS", "10000")
    assert read_image(saved(Image.new("L", (100, 100)))).shape == (3, 100, 100)
    with pytest.raises(ImageError, match=r"10100 pixels.*limit of 10000;"):
        read_image(saved(Image.new("L", (101, 100))))
    with pytest.raises(ImageError, match="limit of 9999"):
        read_image(saved(Image.new("L", (100, 100))), max_pixels=9_999)


def test_invalid_pixel_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="expected a positive integer, got 'many'"):
        read_image(saved(Image.new("L", (4, 4))))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_header_has_the_stored_size_and_the_upright_one(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    header = read_header(path)
    assert (header.width, header.height) == (40, 30)
    assert header.orientation == (orientation if 1 <= orientation <= 8 else 1)
    assert header.size == read_image(path).shape[:0:-1]


def test_header_of_no_image_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"text")
    with pytest.raises(ImageError, match=r"a\.png: .*not an image"):
        read_header(path)
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (None, "got NoneType$"),
        (b"content", r"got bytes; .*io\.BytesIO"),
        (np.zeros((3, 4, 4)), "got ndarray$"),
        (Image.new("L", (4, 4)), "got Image; .*to_array converts a Pillow image"),
    ],
)
def test_what_is_neither_a_path_nor_a_file_is_rejected(file: object, text: str) -> None:
    for read in (read_image, read_header):
        with pytest.raises(TypeError, match=f"expected a path or a binary file, {text}"):
            read(file)
