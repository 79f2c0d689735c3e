"""The only module that imports Pillow.

Import it inside functions: Pillow is optional and slow to import.
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
