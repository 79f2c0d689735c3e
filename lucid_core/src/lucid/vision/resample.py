"""Resize float arrays with Pillow."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lucid.vision.arrays import Array
from lucid.vision.errors import ImageError

__all__ = ["Interpolation", "resample"]

Interpolation = Literal["bilinear", "bicubic"]

_MAX_PIXELS = 2**27


def resample(
    image: Array, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> Array:
    """Resize every channel in float32, without rounding to 8 bits."""
    from lucid.vision.pillow import Image

    height, width = size
    if image.shape[1:] == (height, width):
        return image
    if height * width > _MAX_PIXELS:
        # A long thin strip of a few kilobytes would be enlarged to gigabytes.
        raise ImageError(
            f"expected a size of at most {_MAX_PIXELS} pixels, got {height} x {width} (image of "
            f"{image.shape[1]} x {image.shape[2]})"
        )
    if interpolation == "bilinear":
        steps, method = [(width, height)], Image.Resampling.BILINEAR
    else:
        # Bicubic overshoots at edges.  Pillow clips 8-bit images, the usual training data, after
        # each of its two passes.
        steps, method = [(width, image.shape[1]), (width, height)], Image.Resampling.BICUBIC
    channels = []
    for channel in image:
        plane = np.ascontiguousarray(channel, np.float32)
        for step in steps:
            plane = np.asarray(Image.fromarray(plane).resize(step, method))
            if interpolation == "bicubic":
                plane = np.clip(plane, 0, 1)
        channels.append(plane)
    return np.stack(channels).astype(image.dtype, copy=False)
