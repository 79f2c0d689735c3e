"""Memory layout of images: (N, C, H, W) to the user, channels last in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def is_channels_last(x: Array) -> bool:
    """Whether a (N, C, H, W) array lies in memory as a contiguous (N, H, W, C).

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W).

    Returns
    -------
    bool
        True where an array without gaps would be left by ``x.transpose(0, 2, 3, 1)``.
    """
    return bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def channels_last(x: Array) -> Array:
    """The same (N, C, H, W) values with channels last in memory.

    A foreign layout is copied once, here, and not at every kernel that follows.

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W), in any memory layout.

    Returns
    -------
    numpy.ndarray
        (N, C, H, W); ``x`` itself where it lies so already.
    """
    nhwc = x.transpose(0, 2, 3, 1)
    if not nhwc.flags.c_contiguous:
        nhwc = np.ascontiguousarray(nhwc)
        return nhwc.transpose(0, 3, 1, 2)
    return x


def as_lines(*arrays: Array) -> list[Array] | None:
    """The values of arrays of one shape as lines, in the order in which they lie in memory.

    Returns
    -------
    list of numpy.ndarray, or None
        Views of one axis, in which a place belongs to the same element of every
        array.  None where the arrays do not lie alike, or have gaps.
    """
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    order = _steps(arrays[0])
    if any(_steps(array) != order for array in arrays):
        return None
    lines = [array.ravel(order="K") for array in arrays]
    alike = all(np.may_share_memory(x, y) for x, y in zip(lines, arrays, strict=True))
    return lines if alike else None


def _steps(array: Array) -> tuple[int, ...]:
    """The strides that matter: those of axes with more than one element."""
    return tuple(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
