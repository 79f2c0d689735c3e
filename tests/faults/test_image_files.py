"""Damaged image files of many formats: pixels in [0, 1], or an error that names the file."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from checks import HangError, hang_limit
from mutations import mutated
from PIL import Image

from lucid.vision import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
FORMATS = {
    "png": ("RGB", {}),
    "jpeg": ("RGB", {"quality": 50}),
    "gif": ("P", {}),
    "tiff": ("CMYK", {"compression": "tiff_lzw"}),
    "bmp": ("RGB", {}),
    "ppm": ("L", {}),
    "tga": ("RGBA", {}),
    "pcx": ("P", {}),
    "ico": ("RGBA", {}),
    "webp": ("RGB", {}),
}


def picture(kind: str) -> bytes:
    mode, options = FORMATS[kind]
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind in ("png", "jpeg", "tiff", "webp"):
        options = {**options, "exif": exif}
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_images_are_read_or_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"picture.{kind}"
    seeds = [picture(kind)]
    read = refused = 0
    for number in range(150):
        path.write_bytes(mutated(seeds, random.Random(f"{kind} {number}")))
        try:
            with hang_limit(5):
                image = read_image(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        except HangError:
            pytest.fail(f"picture {number} takes more than 5 s")
        else:
            read += 1
            assert image.dtype == np.float32
            assert image.ndim == 3
            assert image.shape[0] == 3
            assert image.size > 0
            assert ((image >= 0) & (image <= 1)).all()
    assert read
    assert refused
