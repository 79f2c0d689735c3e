"""Memory layout of images: (N, C, H, W) to the user, channels last in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def is_channels_last(x: Array) -> bool:
    """Return whether a (N, C, H, W) array is channels-last (NHWC) in memory.

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W).

    Returns
    -------
    bool
        True if ``x.transpose(0, 2, 3, 1)`` is C-contiguous.
    """
    return bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def channels_last(x: Array) -> Array:
    """Return ``x`` with channels last in memory, the layout that kernels work in.

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W), in any memory layout.

    Returns
    -------
    numpy.ndarray
        (N, C, H, W); ``x`` itself if it is channels-last already.
    """
    nhwc = x.transpose(0, 2, 3, 1)
    if not nhwc.flags.c_contiguous:
        nhwc = np.ascontiguousarray(nhwc)
        return nhwc.transpose(0, 3, 1, 2)
    return x


def flatten_in_memory_order(*arrays: Array) -> list[Array] | None:
    """Return one-dimensional views of arrays of one shape, elements in memory order.

    Returns
    -------
    list of numpy.ndarray, or None
        Views in which an index is the same element of every array.  None if the arrays differ
        in their memory order or have gaps.
    """
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    order = _effective_strides(arrays[0])
    if any(_effective_strides(array) != order for array in arrays):
        return None
    flat = [array.ravel(order="K") for array in arrays]
    are_views = all(np.may_share_memory(x, y) for x, y in zip(flat, arrays, strict=True))
    return flat if are_views else None


def _effective_strides(array: Array) -> tuple[int, ...]:
    """Return the strides of the axes with more than one element."""
    return tuple(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
