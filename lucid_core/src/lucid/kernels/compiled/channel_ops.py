"""Concatenation and shuffling of the channels of images (N, H, W, C) in memory."""

from __future__ import annotations

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.jit import Array, grain_of, kernel
from lucid.kernels.layout import is_channels_last
from lucid.kernels.memory import empty_channels_last
from lucid.kernels.reference import channel_ops as reference
from lucid.kernels.threads import parallel_for

__all__ = ["channel_shuffle", "concatenate_channels"]

# Elements of an image for which a launch takes as long as the copy.
_SMALL = 1 << 14
# Their positions are declared as data of the kernel.
_MAX_IMAGES = 64
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@kernel
def _copy_channels(start: int, stop: int, x: Array, y: Array, first: int) -> None:
    """Item = one position; x (P, c) goes to the channels of y (P, C) from ``first`` on."""
    # Flat arrays and unsigned indices: slices of each position take longer than the copies.
    width, step = np.uintp(x.shape[1]), np.uintp(y.shape[1])
    source, target = x.reshape(-1), y.reshape(-1)
    for i in range(np.uintp(start), np.uintp(stop)):
        at, to = i * width, i * step + np.uintp(first)
        for c in range(width):
            target[to + c] = source[at + c]


@kernel
def _shuffle(start: int, stop: int, x: Array, y: Array, groups: int) -> None:
    """Item = one position; x and y (P, C)."""
    count, width = np.uintp(groups), np.uintp(x.shape[1] // groups)
    two = np.uintp(2)
    source, target = x.reshape(-1), y.reshape(-1)
    for i in range(np.uintp(start), np.uintp(stop)):
        at = i * np.uintp(x.shape[1])
        # LLVM vectorizes the cases of two.
        if groups == 2:
            for j in range(width):
                target[at + two * j] = source[at + j]
                target[at + two * j + np.uintp(1)] = source[at + width + j]
        elif width == two:
            for group in range(count):
                target[at + group] = source[at + two * group]
                target[at + count + group] = source[at + two * group + np.uintp(1)]
        else:
            for group in range(count):
                for j in range(width):
                    target[at + j * count + group] = source[at + group * width + j]


def _positions(x: Array) -> Array:
    """View a channels-last image batch as (positions, channels)."""
    n, c, h, w = x.shape
    return x.transpose(0, 2, 3, 1).reshape(n * h * w, c)


def _usable(x: Array) -> bool:
    regular = x.ndim == 4 and x.dtype in _DTYPES and x.size > 0
    return regular and is_channels_last(x) and x.flags.aligned and x.flags.writeable


def concatenate_channels(*images: Array) -> Array:
    """See `lucid.kernels.reference.channel_ops.concatenate_channels`."""
    regular = all(map(_usable, images)) and len({x.dtype for x in images}) == 1
    # NumPy is faster for small images, but its result cannot be replayed.
    small = sum(x.size for x in images) < _SMALL * len(images)
    if small and recording.current() is None:
        return reference.concatenate_channels(*images)
    if not regular or len(images) > _MAX_IMAGES:
        recording.refuse("a concatenation in NumPy")
        return reference.concatenate_channels(*images)
    n, _, h, w = images[0].shape
    y = empty_channels_last((n, sum(x.shape[1] for x in images), h, w), images[0].dtype)
    first, target = 0, _positions(y)
    for x in images:
        source = _positions(x)
        grain = grain_of(8 * source.shape[1])
        parallel_for(_copy_channels, len(source), source, target, first, grain=grain)
        first += source.shape[1]
    return y


def channel_shuffle(x: Array, groups: int) -> Array:
    """See `lucid.kernels.reference.channel_ops.channel_shuffle`."""
    if not _usable(x):
        recording.refuse("a shuffle in NumPy")
        return reference.channel_shuffle(x, groups)
    y = empty_channels_last(x.shape, x.dtype)
    source = _positions(x)
    grain = grain_of(8 * source.shape[1])
    parallel_for(_shuffle, len(source), source, _positions(y), groups, grain=grain)
    return y
