"""Remedies for errors of functions that take image arrays."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["conversion_hint", "shape_hint"]


def conversion_hint(image: Any) -> str:
    """Return a hint how to convert a value to an array.

    Parameters
    ----------
    image : object
        Value given instead of an array.

    Returns
    -------
    str
        Text to append to an error, such as ``"; lucid.vision.read_image reads a file"``; empty if
        no conversion is known.
    """
    if isinstance(image, str | os.PathLike):
        return "; lucid.vision.read_image reads a file"
    if isinstance(image, bytes | bytearray | memoryview):
        return "; lucid.vision.read_image(io.BytesIO(content)) decodes the content of a file"
    if type(image).__module__.startswith("PIL."):
        return "; lucid.vision.to_array converts a Pillow image"
    if type(image).__module__.startswith("torch"):
        return " of PyTorch; pass image.numpy()"
    return ""


def shape_hint(shape: tuple[int, ...], channels: int) -> str:
    """Return a hint how to convert a shape to (channels, H, W).

    Parameters
    ----------
    shape : tuple of int
        Shape of the array that was given.
    channels : int
        Number of channels expected.

    Returns
    -------
    str
        Text to append to an error; empty if no conversion is known.
    """
    if 0 in shape:
        return ""
    last = shape[2] if len(shape) == 3 else 0
    if last == channels or (last in (1, 4) and shape[0] not in (1, 4)):
        return "; put channels first: image.transpose(2, 0, 1)"
    if len(shape) == 3 and shape[0] == 4 and channels == 3:
        return "; drop the alpha channel: image[:3]"
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
        rows = "image" if len(shape) == 3 else "image[None]"
        return f"; repeat a gray image: np.repeat({rows}, {channels}, axis=0)"
    return ""
