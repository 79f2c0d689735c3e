"""Largest number of pixels of an image that is decoded, as the environment sets it."""

from __future__ import annotations

import os

__all__ = ["MAX_PIXELS_VARIABLE", "max_pixels_set"]

#: The environment variable with the limit.
MAX_PIXELS_VARIABLE = "LUCID_MAX_PIXELS"


def max_pixels_set() -> int | None:
    """The limit in the environment variable ``LUCID_MAX_PIXELS``, None without it.

    Raises
    ------
    ValueError
        If it is no positive integer.
    """
    value = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and int(value)):
        raise ValueError(f"{MAX_PIXELS_VARIABLE}: expected a positive integer, got {value!r}")
    return int(value)
