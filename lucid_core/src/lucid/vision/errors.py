"""Exceptions of image reading and conversion."""

from __future__ import annotations

from lucid.errors import LucidError

__all__ = ["ImageError", "PixelLimitError"]


class ImageError(LucidError, ValueError):
    """Image that cannot be read or converted; the message starts with the file name."""


class PixelLimitError(ImageError):
    """Image with more pixels than the limit."""
