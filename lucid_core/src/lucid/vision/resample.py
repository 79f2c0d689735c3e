"""Resampling of arrays by Pillow, in float."""

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
    """Resize every channel, in float so that nothing is rounded to 8 bits on the way."""
    from lucid.vision.pillow import Image

    height, width = size
    if image.shape[1:] == (height, width):
        return image
    if height * width > _MAX_PIXELS:
        # A strip of a few kilobytes would fill the memory, its short side enlarged.
        raise ImageError(
            f"an image of {image.shape[1]} x {image.shape[2]} pixels cannot be resized to "
            f"{height} x {width}: that is more than {_MAX_PIXELS} pixels"
        )
    if interpolation == "bilinear":
        steps, method = [(width, height)], Image.Resampling.BILINEAR
    else:
        # Bicubic overshoots at edges.  Images of 8 bits, which networks are trained on, are
        # clipped after either of Pillow's two passes.
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
