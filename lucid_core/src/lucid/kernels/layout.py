"""Memory layout of images: (N, C, H, W) to the user, channels last in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def is_channels_last(x: Array) -> bool:
    """Whether a (N, C, H, W) array lies in memory as a contiguous (N, H, W, C)."""
    return bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def channels_last(x: Array) -> Array:
    """The same (N, C, H, W) values with channels last in memory.

    Returns ``x`` itself where it lies so already; a foreign layout is copied
    once, here, and not at every kernel that follows.
    """
    nhwc = x.transpose(0, 2, 3, 1)
    if not nhwc.flags.c_contiguous:
        nhwc = np.ascontiguousarray(nhwc)
        return nhwc.transpose(0, 3, 1, 2)
    return x
