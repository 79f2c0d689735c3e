"""Errors of reading and converting images."""

from __future__ import annotations

from lucid.errors import LucidError

__all__ = ["ImageError", "PixelLimitError"]


class ImageError(LucidError, ValueError):
    """An image cannot be read or converted; names the file where there is one."""


class PixelLimitError(ImageError):
    """An image has more pixels than the limit."""
