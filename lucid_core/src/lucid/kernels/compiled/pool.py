"""Max and average pooling over (N, H, W, C) memory.

Forward, an item is a row of the output.  Backward, an item of average pooling is a row of the
input, which gathers from the output rows whose windows contain it; an item of max pooling,
which scatters, is a block of channels.  So no two threads write to one element, and the order
of summation does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import Array, float_type, kernel, nhwc
from lucid.kernels.memory import empty
from lucid.kernels.reference.pool import Pair, output_size, window_counts
from lucid.kernels.threads import parallel_for

Shape = tuple[int, int, int, int]

# Elements read (outputs times window) in about 50 microseconds.
_GRAIN = 1 << 17
# Channels of a block: a cache line of float32, so that threads share none.
_BLOCK = 16


def _grain(values_per_item: int) -> int:
    return max(1, _GRAIN // max(1, values_per_item))


@kernel
def _max_pool(
    start: int, stop: int, x: Array, y: Array, index: Array, window: Pair, stride: Pair,
    padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """Item = one row of the output."""
    _, height, width, channels = x.shape
    _, out_h, out_w, _ = y.shape
    for item in range(start, stop):
        n, oy = item // out_h, item % out_h
        for ox in range(out_w):
            for c in range(channels):
                y[n, oy, ox, c] = -np.inf
                index[n, oy, ox, c] = -1
            for ky in range(window[0]):
                iy = oy * stride[0] - padding[0] + ky * dilation[0]
                if iy < 0 or iy >= height:
                    continue
                for kx in range(window[1]):
                    ix = ox * stride[1] - padding[1] + kx * dilation[1]
                    if ix < 0 or ix >= width:
                        continue
                    flat = np.int32(iy * width + ix)
                    for c in range(channels):
                        v, best, at = x[n, iy, ix, c], y[n, oy, ox, c], index[n, oy, ox, c]
                        # "not <=" is true for NaN, and nothing replaces a NaN.
                        take = ((not v <= best) & (best == best)) | (at < 0)
                        y[n, oy, ox, c] = v if take else best
                        index[n, oy, ox, c] = flat if take else at


@kernel
def _max_pool_backward(start: int, stop: int, g: Array, index: Array, gx: Array) -> None:
    """Item = one block of channels of one image; (N, pixels, C) each."""
    _, outputs, channels = g.shape
    pixels = gx.shape[1]
    blocks = -(-channels // _BLOCK)
    item = start
    while item < stop:  # adjacent blocks of one image in one pass
        n, block = item // blocks, item % blocks
        blocks_now = min(blocks - block, stop - item)
        first = np.uintp(block * _BLOCK)  # unsigned: no wraparound of negative indices
        last = np.uintp(min((block + blocks_now) * _BLOCK, channels))
        item += blocks_now
        for i in range(pixels):
            for c in range(first, last):
                gx[n, i, c] = 0
        for o in range(outputs):
            for c in range(first, last):
                at = index[n, o, c]
                if at >= 0:
                    gx[n, np.uintp(at), c] += g[n, o, c]


@kernel
def _avg_pool(
    start: int,
    stop: int,
    x: Array,
    counts: Array,
    y: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
) -> None:
    """Item = one row of the output."""
    _, height, width, channels = x.shape
    _, out_h, out_w, _ = y.shape
    total = np.empty(channels)
    for item in range(start, stop):
        n, oy = item // out_h, item % out_h
        top, bottom = oy * stride[0] - padding[0], oy * stride[0] - padding[0] + window[0]
        for ox in range(out_w):
            left, right = ox * stride[1] - padding[1], ox * stride[1] - padding[1] + window[1]
            total[:] = 0
            for iy in range(max(top, 0), min(bottom, height)):
                for ix in range(max(left, 0), min(right, width)):
                    for c in range(channels):
                        total[c] += x[n, iy, ix, c]
            factor = 1.0 / counts[oy, ox]
            for c in range(channels):
                y[n, oy, ox, c] = total[c] * factor


@kernel
def _avg_pool_backward(
    start: int,
    stop: int,
    g: Array,
    counts: Array,
    gx: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
) -> None:
    """Item = one row of the input."""
    _, height, width, channels = gx.shape
    _, out_h, out_w, _ = g.shape
    for item in range(start, stop):
        n, iy = item // height, item % height
        gx[n, iy] = 0
        # Output row oy reads iy - top in 0..window-1, where top = oy * stride - padding.
        low = max(-((window[0] - 1 - iy - padding[0]) // stride[0]), 0)
        high = min((iy + padding[0]) // stride[0] + 1, out_h)
        for oy in range(low, high):
            for ox in range(out_w):
                factor = gx.dtype.type(1.0 / counts[oy, ox])
                left = ox * stride[1] - padding[1]
                for ix in range(max(left, 0), min(left + window[1], width)):
                    for c in range(channels):
                        gx[n, iy, ix, c] += g[n, oy, ox, c] * factor


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """See `lucid.kernels.reference.pool.max_pool2d`."""
    dtype = float_type(x)
    n, c, h, w = x.shape
    out_h, out_w = output_size((h, w), kernel, stride, padding, dilation, ceil_mode)
    y = empty((n, out_h, out_w, c), dtype)
    index = empty(y.shape, np.int32)
    grain = _grain(out_w * c * kernel[0] * kernel[1])
    geometry = (kernel, stride, padding, dilation)
    parallel_for(_max_pool, n * out_h, nhwc(x, dtype), y, index, *geometry, grain=grain)
    return y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)


def max_pool2d_backward(g: Array, index: Array, input_shape: Shape) -> Array:
    """See `lucid.kernels.reference.pool.max_pool2d_backward`."""
    dtype = float_type(g)
    n, c, h, w = input_shape
    gx = empty((n, h * w, c), dtype)
    outputs = g.shape[2] * g.shape[3]
    rows = (nhwc(g, dtype).reshape(n, outputs, c), nhwc(index).reshape(n, outputs, c))
    blocks = -(-c // _BLOCK)
    parallel_for(_max_pool_backward, n * blocks, *rows, gx, grain=_grain(_BLOCK * outputs))
    return gx.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """See `lucid.kernels.reference.pool.avg_pool2d`."""
    dtype = float_type(x)
    n, c, h, w = x.shape
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    counts = window_counts((h, w), *settings)
    out_h, out_w = counts.shape
    y = empty((n, out_h, out_w, c), dtype)
    grain = _grain(out_w * c * kernel[0] * kernel[1])
    geometry = (kernel, stride, padding)
    parallel_for(_avg_pool, n * out_h, nhwc(x, dtype), counts, y, *geometry, grain=grain)
    return y.transpose(0, 3, 1, 2)


def avg_pool2d_backward(
    g: Array,
    input_shape: Shape,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """See `lucid.kernels.reference.pool.avg_pool2d_backward`."""
    dtype = float_type(g)
    n, c, h, w = input_shape
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    counts = window_counts((h, w), *settings)
    gx = empty((n, h, w, c), dtype)
    grain = _grain(w * c * kernel[0] * kernel[1] // (stride[0] * stride[1]))
    geometry = (kernel, stride, padding)
    parallel_for(_avg_pool_backward, n * h, nhwc(g, dtype), counts, gx, *geometry, grain=grain)
    return gx.transpose(0, 3, 1, 2)
