"""Squeeze-and-excitation over (N, H, W, C) memory: means, linear layers and scaling."""

from __future__ import annotations

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.activation import CODES
from lucid.kernels.compiled.jit import Array, dense, grain_of, kernel, nhwc
from lucid.kernels.compiled.linear import few_rows_linear
from lucid.kernels.memory import empty
from lucid.kernels.reference import squeeze_excitation as reference
from lucid.kernels.reference.squeeze_excitation import Layer
from lucid.kernels.threads import parallel_for

__all__ = [
    "channel_means",
    "channel_means_backward",
    "scale_channels",
    "scale_channels_backward",
    "squeeze_excitation",
]

# Channels of a block: four cache lines, so that threads share none.
_BLOCK = 64
# Positions of a partial sum in float32; their total is in float64.
_PARTIAL = 64


# The loops index shared arrays element by element: a slice counts a reference, and threads that
# count the same references wait for each other.  Unsigned indices need no wraparound.


@kernel
def _channel_means(start: int, stop: int, x: Array, y: Array) -> None:
    """Item = one block of channels of one image; x (N, P, C), y (N, C)."""
    _, positions, channels = x.shape
    blocks = -(-channels // _BLOCK)
    partial, sums = np.empty(channels, y.dtype), np.empty(channels, np.float64)
    item = start
    while item < stop:  # adjacent blocks of one image in one pass
        n, block = item // blocks, item % blocks
        blocks_now = min(blocks - block, stop - item)
        first = np.uintp(block * _BLOCK)
        last = np.uintp(min((block + blocks_now) * _BLOCK, channels))
        item += blocks_now
        sums[:] = 0
        for begin in range(0, positions, _PARTIAL):
            partial[:] = 0
            for i in range(begin, min(begin + _PARTIAL, positions)):
                for c in range(first, last):
                    partial[c] += x[n, i, c]
            for c in range(first, last):
                sums[c] += partial[c]
        for c in range(first, last):
            y[n, c] = sums[c] / positions


@kernel
def _spread(start: int, stop: int, g: Array, added: Array, gx: Array, adds: bool) -> None:
    """Item = one position of one image; g (N, C), added and gx (N, P, C)."""
    _, positions, channels = gx.shape
    for item in range(start, stop):
        n, i = item // positions, item % positions
        if adds:
            for c in range(channels):
                gx[n, i, c] = added[n, i, c] + g[n, c]
        else:
            for c in range(channels):
                gx[n, i, c] = g[n, c]


@kernel
def _scale(start: int, stop: int, x: Array, factors: Array, y: Array) -> None:
    """Item = one position of one image; x and y (N, P, C), factors (N, C)."""
    _, positions, channels = x.shape
    for item in range(start, stop):
        n, i = item // positions, item % positions
        for c in range(channels):
            y[n, i, c] = x[n, i, c] * factors[n, c]


@kernel
def _scale_gradients(
    start: int, stop: int, g: Array, x: Array, factors: Array, gx: Array, gfactors: Array
) -> None:
    """Item = one block of channels of one image; factors (N, C), the others (N, P, C)."""
    _, positions, channels = x.shape
    blocks = -(-channels // _BLOCK)
    partial, sums = np.empty(channels, x.dtype), np.empty(channels, np.float64)
    item = start
    while item < stop:
        n, block = item // blocks, item % blocks
        blocks_now = min(blocks - block, stop - item)
        first = np.uintp(block * _BLOCK)
        last = np.uintp(min((block + blocks_now) * _BLOCK, channels))
        item += blocks_now
        sums[:] = 0
        for begin in range(0, positions, _PARTIAL):
            partial[:] = 0
            for i in range(begin, min(begin + _PARTIAL, positions)):
                for c in range(first, last):
                    gx[n, i, c] = g[n, i, c] * factors[n, c]
                for c in range(first, last):
                    partial[c] += g[n, i, c] * x[n, i, c]
            for c in range(first, last):
                sums[c] += partial[c]
        for c in range(first, last):
            gfactors[n, c] = sums[c]


def _positions(x: Array) -> Array:
    """Reshape (N, C, H, W) to (N, P, C)."""
    n, c, h, w = x.shape
    return nhwc(x).reshape(n, h * w, c)


def _image(positions: Array, shape: tuple[int, ...]) -> Array:
    """Reshape (N, P, C) to (N, C, H, W)."""
    n, c, h, w = shape
    return positions.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _scaled(source: Array, factors: Array) -> Array:
    n, positions, c = source.shape
    y = empty(source.shape, source.dtype)
    parallel_for(_scale, n * positions, source, factors, y, grain=grain_of(c))
    return y


def _means(x: Array) -> Array:
    """Return the means (N, C) of an image batch (N, P, C)."""
    n, positions, c = x.shape
    y = empty((n, c), x.dtype)
    grain = grain_of(positions * _BLOCK)
    parallel_for(_channel_means, n * -(-c // _BLOCK), x, y, grain=grain)
    return y


def channel_means(x: Array) -> Array:
    """See `lucid.kernels.reference.squeeze_excitation.channel_means`."""
    if x.dtype != np.float32 or not x.size:
        recording.refuse("means of another dtype")
        return reference.channel_means(x)
    return _means(_positions(x))


def channel_means_backward(
    g: Array, input_shape: tuple[int, int, int, int], accumulate: Array | None = None
) -> Array:
    """See `lucid.kernels.reference.squeeze_excitation.channel_means_backward`."""
    n, c, h, w = input_shape
    others = () if accumulate is None else (accumulate,)
    if any(a.dtype != np.float32 or not a.size for a in (g, *others)) or not h * w:
        return reference.channel_means_backward(g, input_shape, accumulate)
    gx = empty((n, h * w, c), g.dtype)
    added = gx if accumulate is None else _positions(accumulate)
    spread = dense(g / np.float32(h * w))
    parallel_for(_spread, n * h * w, spread, added, gx, accumulate is not None, grain=grain_of(c))
    return _image(gx, input_shape)


def scale_channels(x: Array, factors: Array) -> Array:
    """See `lucid.kernels.reference.squeeze_excitation.scale_channels`."""
    if x.dtype != np.float32 or factors.dtype != np.float32 or not x.size:
        return reference.scale_channels(x, factors)
    return _image(_scaled(_positions(x), dense(factors)), x.shape)


def scale_channels_backward(g: Array, x: Array, factors: Array) -> tuple[Array, Array]:
    """See `lucid.kernels.reference.squeeze_excitation.scale_channels_backward`."""
    if any(a.dtype != np.float32 or not a.size for a in (g, x, factors)):
        return reference.scale_channels_backward(g, x, factors)
    n, c = factors.shape
    given, source = _positions(g), _positions(x)
    gx, gfactors = empty(source.shape, x.dtype), empty((n, c), x.dtype)
    parallel_for(
        _scale_gradients, n * -(-c // _BLOCK), given, source, dense(factors), gx, gfactors,
        grain=grain_of(source.shape[1] * _BLOCK),
    )  # fmt: skip
    return _image(gx, x.shape), gfactors


def squeeze_excitation(x: Array, *layers: Layer) -> Array:
    """See `lucid.kernels.reference.squeeze_excitation.squeeze_excitation`."""
    parameters = [a for weight, bias, _ in layers for a in (weight, bias) if a is not None]
    if not x.size or any(a.dtype != np.float32 for a in (x, *parameters)):
        recording.refuse("squeeze-and-excitation of another dtype")
        return reference.squeeze_excitation(x, *layers)
    source = _positions(x)
    factors = _means(source)
    for weight, bias, name in layers:
        start = None if bias is None else dense(bias)
        factors = few_rows_linear(factors, dense(weight), start, CODES[name])
    return _image(_scaled(source, factors), x.shape)
