"""Images: files, arrays and transforms.

An image is a float32 array (3, H, W), RGB in [0, 1].  Files are read with Pillow (extra
``lucid-core[vision]``), which is imported on first use.

``files``        read image files and headers
``arrays``       convert Pillow images to arrays and back; check the range
``transforms``   resize, crop, flip, normalize
``check``        check many image files without decoding them
``suffixes``     suffixes of image formats
``pixel_limit``  maximum number of pixels per image
``resample``     resize arrays
``arguments``    argument checks of transforms
``image_hints``  remedies for errors about images
``errors``       exceptions
``pillow``       import of Pillow

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

from lucid.hints import attribute_error

if TYPE_CHECKING:
    from lucid.vision import transforms
    from lucid.vision.arrays import check_range, to_array, to_pil
    from lucid.vision.check import CheckedImage, check_images, find_duplicates
    from lucid.vision.errors import ImageError, PixelLimitError
    from lucid.vision.files import ImageHeader, read_header, read_image
    from lucid.vision.image_hints import conversion_hint, shape_hint
    from lucid.vision.pixel_limit import default_max_pixels
    from lucid.vision.suffixes import image_suffixes

# Loaded on first use, so that the command line reads the limit without lucid.data.
_LAZY = {
    "CheckedImage": "check",
    "ImageError": "errors",
    "ImageHeader": "files",
    "PixelLimitError": "errors",
    "check_images": "check",
    "check_range": "arrays",
    "conversion_hint": "image_hints",
    "default_max_pixels": "pixel_limit",
    "image_suffixes": "suffixes",
    "read_header": "files",
    "read_image": "files",
    "find_duplicates": "check",
    "shape_hint": "image_hints",
    "to_array": "arrays",
    "to_pil": "arrays",
}

__all__ = [
    "CheckedImage",
    "ImageError",
    "ImageHeader",
    "PixelLimitError",
    "check_images",
    "check_range",
    "conversion_hint",
    "default_max_pixels",
    "find_duplicates",
    "image_suffixes",
    "read_header",
    "read_image",
    "shape_hint",
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
    raise attribute_error("lucid.vision", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
