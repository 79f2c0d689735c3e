"""Images: files, arrays and transforms.

An image is an array (3, H, W), float32, red, green and blue in [0, 1].  Pillow, of the
extra ``lucid-core[vision]``, reads the files; it is imported with the first image.

``images``       files to arrays, and arrays to and from Pillow
``suffixes``     suffixes of the formats that Pillow reads
``image_limit``  largest number of pixels that is decoded
``image_check``  many files checked without decoding them
``transforms``   resize, crop, flip, normalize
``pillow``       the import of Pillow

    >>> import numpy as np
    >>> from lucid.vision import to_array, to_pil
    >>> image = to_pil(np.zeros((3, 4, 6), np.float32))
    >>> image.size
    (6, 4)
    >>> to_array(image).shape
    (3, 4, 6)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import missing_attribute

if TYPE_CHECKING:
    from lucid.vision import transforms
    from lucid.vision.image_check import CheckedImage, check_images, same_images
    from lucid.vision.images import (
        ImageError,
        ImageHeader,
        PixelLimitError,
        check_range,
        read_header,
        read_image,
        to_array,
        to_pil,
    )
    from lucid.vision.suffixes import image_suffixes

# Loaded on first use, so that the command line reads the limit without lucid.data.
_LAZY = {
    "CheckedImage": "image_check",
    "ImageError": "images",
    "ImageHeader": "images",
    "PixelLimitError": "images",
    "check_images": "image_check",
    "check_range": "images",
    "image_suffixes": "suffixes",
    "read_header": "images",
    "read_image": "images",
    "same_images": "image_check",
    "to_array": "images",
    "to_pil": "images",
}

__all__ = [
    "CheckedImage",
    "ImageError",
    "ImageHeader",
    "PixelLimitError",
    "check_images",
    "check_range",
    "image_suffixes",
    "read_header",
    "read_image",
    "same_images",
    "to_array",
    "to_pil",
    "transforms",
]


def __getattr__(name: str) -> Any:
    if name == "transforms":
        return importlib.import_module("lucid.vision.transforms")
    if name in _LAZY:
        value = getattr(importlib.import_module(f"lucid.vision.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise missing_attribute("lucid.vision", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
