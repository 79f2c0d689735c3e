"""Maximum number of pixels per image, a guard against decompression bombs."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MAX_PIXELS_VARIABLE", "default_max_pixels", "pixel_limit"]

#: Environment variable with the limit.
MAX_PIXELS_VARIABLE = "LUCID_MAX_PIXELS"

#: Held while Pillow's process-wide limit is changed.
_limit_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A forked child must not inherit a held lock or the changed limit.
    os.register_at_fork(
        before=_limit_lock.acquire,
        after_in_parent=_limit_lock.release,
        after_in_child=_limit_lock.release,
    )


def default_max_pixels() -> int | None:
    """Read the environment variable ``LUCID_MAX_PIXELS``.

    Returns
    -------
    int or None
        The limit; None if the variable is not set (Pillow's limit applies).

    Raises
    ------
    ValueError
        If the variable is not a positive integer.
    """
    value = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and int(value)):
        raise ValueError(f"{MAX_PIXELS_VARIABLE}: expected a positive integer, got {value!r}")
    return int(value)


@contextmanager
def pixel_limit(max_pixels: int | None = None) -> Iterator[None]:
    """Reject images with more pixels, before decoding, inside the block.

    Pillow's limit and warning filters are process-wide: if several threads open images, enter
    this once around all of them.
    """
    from lucid.vision.pillow import Image

    if max_pixels is not None and (not isinstance(max_pixels, int) or max_pixels < 1):
        raise ValueError(f"max_pixels: expected a positive integer, got {max_pixels!r}")
    limit = default_max_pixels() if max_pixels is None else max_pixels
    with warnings.catch_warnings():
        # Up to twice its limit, Pillow only warns.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if limit is None:
            yield
            return
        with _limit_lock:
            before = Image.MAX_IMAGE_PIXELS
            Image.MAX_IMAGE_PIXELS = limit
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS = before
