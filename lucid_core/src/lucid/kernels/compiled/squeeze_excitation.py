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

__all__ = ["channel_means", "squeeze_excitation"]

# Channels of a block: four cache lines, so that threads share none.
_BLOCK = 64
# Positions of a partial sum in float32; their total is in float64.
_PARTIAL = 64


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
        first, last = block * _BLOCK, min((block + blocks_now) * _BLOCK, channels)
        item += blocks_now
        part, total, mean = partial[: last - first], sums[: last - first], y[n, first:last]
        total[:] = 0
        for begin in range(0, positions, _PARTIAL):
            part[:] = 0
            for i in range(begin, min(begin + _PARTIAL, positions)):
                values = x[n, i, first:last]
                for c in range(len(part)):
                    part[c] += values[c]
            for c in range(len(part)):
                total[c] += part[c]
        for c in range(len(total)):
            mean[c] = total[c] / positions


@kernel
def _scale(start: int, stop: int, x: Array, factors: Array, y: Array) -> None:
    """Item = one position of one image; x and y (N, P, C), factors (N, C)."""
    positions = x.shape[1]
    for item in range(start, stop):
        n, i = item // positions, item % positions
        values, by, scaled = x[n, i], factors[n], y[n, i]
        for c in range(len(values)):
            scaled[c] = values[c] * by[c]


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
    n, c, h, w = x.shape
    return _means(nhwc(x).reshape(n, h * w, c))


def squeeze_excitation(x: Array, *layers: Layer) -> Array:
    """See `lucid.kernels.reference.squeeze_excitation.squeeze_excitation`."""
    parameters = [a for weight, bias, _ in layers for a in (weight, bias) if a is not None]
    if not x.size or any(a.dtype != np.float32 for a in (x, *parameters)):
        recording.refuse("squeeze-and-excitation of another dtype")
        return reference.squeeze_excitation(x, *layers)
    n, c, h, w = x.shape
    source = nhwc(x).reshape(n, h * w, c)
    factors = _means(source)
    for weight, bias, name in layers:
        start = None if bias is None else dense(bias)
        factors = few_rows_linear(factors, dense(weight), start, CODES[name])
    y = empty((n, h * w, c), x.dtype)
    parallel_for(_scale, n * h * w, source, factors, y, grain=grain_of(c))
    return y.reshape(n, h, w, c).transpose(0, 3, 1, 2)
