"""Pillow, which decodes, encodes and resizes images; the only module that imports it.

Import this module inside of functions: Pillow is optional, and takes a while to import.
"""

from __future__ import annotations

from lucid.errors import MissingPackageError

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise MissingPackageError(
        f'Pillow cannot be imported ({error}); install it: pip install "lucid-core[vision]"',
        name="PIL",
    ) from error

__all__ = ["Image", "ImageOps", "UnidentifiedImageError"]
