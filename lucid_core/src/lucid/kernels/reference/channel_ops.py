"""Concatenation and shuffling of the channels of images."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array, channels_last


def concatenate_channels(*images: Array) -> Array:
    """Concatenate images (N, C, H, W) of one dtype along their channels."""
    return channels_last(np.concatenate(images, axis=1))


def channel_shuffle(x: Array, groups: int) -> Array:
    """Exchange the axes (groups, C / groups) of the channels of an array (N, C, ...)."""
    n, c, *positions = x.shape
    grouped = x.reshape(n, groups, c // groups, *positions)
    y = np.ascontiguousarray(grouped.swapaxes(1, 2)).reshape(x.shape)
    return channels_last(y) if x.ndim == 4 else y
