"""Suffixes of the image formats that Pillow reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lucid.vision import image_suffixes, read_image

SAVED_AS = {
    ".jfif": "JPEG", ".jpe": "JPEG", ".apng": "PNG", ".tga": "TGA", ".mpo": "JPEG",
    ".ico": "ICO", ".dib": "DIB", ".pcx": "PCX", ".qoi": "QOI", ".sgi": "SGI", ".pnm": "PPM",
}  # fmt: skip


@pytest.mark.parametrize("suffix", SAVED_AS)
def test_formats_of_pillow_are_listed_and_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    Image.new("RGB", (32, 32), (200, 100, 0)).save(path, SAVED_AS[suffix])
    assert suffix in image_suffixes()
    image = read_image(path)
    assert image.mean((1, 2)) == pytest.approx([200 / 255, 100 / 255, 0], abs=0.01)


def test_what_pillow_only_writes_or_identifies_is_no_image() -> None:
    suffixes = image_suffixes()
    assert not {".pdf", ".eps", ".ps", ".mpeg", ".mpg", ".h5", ".hdf", ".wmf"} & set(suffixes)
    assert {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff",
            ".webp", ".avif", ".jp2", ".j2k"} <= set(suffixes)  # fmt: skip
    assert list(suffixes) == sorted(suffixes)


def test_format_that_is_registered_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    assert ".heic" not in image_suffixes()
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN["PNG"])
    assert ".heic" in image_suffixes()
