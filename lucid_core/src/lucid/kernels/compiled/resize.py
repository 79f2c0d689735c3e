"""Nearest and bilinear resizing over (N, H, W, C) memory.

Forward, an item is a row of the output; backward, a row of the input, which gathers from the
output rows that read it.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import Array, float_type, grain_of, kernel, nhwc
from lucid.kernels.memory import empty
from lucid.kernels.reference.resize import (
    BY_SIZE,
    Pair,
    Shape,
    Steps,
    bilinear_source,
    check_sizes,
    nearest_source,
)
from lucid.kernels.threads import parallel_for


@kernel
def _nearest(start: int, stop: int, x: Array, rows: Array, columns: Array, y: Array) -> None:
    """Item = one row of the output."""
    _, out_h, out_w, channels = y.shape
    for item in range(start, stop):
        n, oy = item // out_h, item % out_h
        iy = rows[oy]
        for ox in range(out_w):
            ix = columns[ox]
            for c in range(channels):
                y[n, oy, ox, c] = x[n, iy, ix, c]


@kernel
def _nearest_backward(
    start: int, stop: int, g: Array, edges: Array, columns: Array, gx: Array
) -> None:
    """Item = one row of the input, copied to output rows edges[iy] to edges[iy + 1] - 1."""
    _, height, _, channels = gx.shape
    out_w = g.shape[2]
    for item in range(start, stop):
        n, iy = item // height, item % height
        gx[n, iy] = 0
        for oy in range(edges[iy], edges[iy + 1]):
            for ox in range(out_w):
                ix = columns[ox]
                for c in range(channels):
                    gx[n, iy, ix, c] += g[n, oy, ox, c]


@kernel
def _bilinear(
    start: int, stop: int, x: Array, y0: Array, y1: Array, wy: Array, x0: Array, x1: Array,
    wx: Array, y: Array,
) -> None:  # fmt: skip
    """Item = one row of the output."""
    _, out_h, out_w, channels = y.shape
    one = x.dtype.type(1)
    for item in range(start, stop):
        n, oy = item // out_h, item % out_h
        top, bottom, fy = y0[oy], y1[oy], wy[oy]
        for ox in range(out_w):
            left, right, fx = x0[ox], x1[ox], wx[ox]
            for c in range(channels):
                upper = x[n, top, left, c] * (one - fx) + x[n, top, right, c] * fx
                lower = x[n, bottom, left, c] * (one - fx) + x[n, bottom, right, c] * fx
                y[n, oy, ox, c] = upper * (one - fy) + lower * fy


@kernel
def _bilinear_backward(
    start: int, stop: int, g: Array, edges: Array, rows: Array, weights: Array, x0: Array,
    x1: Array, wx: Array, gx: Array,
) -> None:  # fmt: skip
    """Item = one row of the input; entries edges[iy] to edges[iy + 1] - 1 are its output rows."""
    _, height, _, channels = gx.shape
    out_w = g.shape[2]
    one = gx.dtype.type(1)
    for item in range(start, stop):
        n, iy = item // height, item % height
        gx[n, iy] = 0
        for entry in range(edges[iy], edges[iy + 1]):
            oy, fy = rows[entry], weights[entry]
            for ox in range(out_w):
                left, right = x0[ox], x1[ox]
                to_left, to_right = (one - wx[ox]) * fy, wx[ox] * fy
                for c in range(channels):
                    gx[n, iy, left, c] += g[n, oy, ox, c] * to_left
                for c in range(channels):
                    gx[n, iy, right, c] += g[n, oy, ox, c] * to_right


def resize_nearest(x: Array, size: Pair, steps: Steps = BY_SIZE) -> Array:
    """See `lucid.kernels.reference.resize.resize_nearest`."""
    dtype = float_type(x)
    n, c, h, w = x.shape
    check_sizes((h, w), size)
    rows = nearest_source(h, size[0], steps[0])
    columns = nearest_source(w, size[1], steps[1])
    y = empty((n, *size, c), dtype)
    grain = grain_of(size[1] * c)
    parallel_for(_nearest, n * size[0], nhwc(x, dtype), rows, columns, y, grain=grain)
    return y.transpose(0, 3, 1, 2)


def resize_nearest_backward(g: Array, input_shape: Shape, steps: Steps = BY_SIZE) -> Array:
    """See `lucid.kernels.reference.resize.resize_nearest_backward`."""
    dtype = float_type(g)
    n, c, h, w = input_shape
    out_h, out_w = g.shape[2:]
    check_sizes((h, w), (out_h, out_w))
    edges = np.searchsorted(nearest_source(h, out_h, steps[0]), np.arange(h + 1))
    columns = nearest_source(w, out_w, steps[1])
    gx = empty((n, h, w, c), dtype)
    grain = grain_of(max(w * h, out_w * out_h) * c // h)
    parallel_for(_nearest_backward, n * h, nhwc(g, dtype), edges, columns, gx, grain=grain)
    return gx.transpose(0, 3, 1, 2)


def resize_bilinear(x: Array, size: Pair, align_corners: bool, steps: Steps = BY_SIZE) -> Array:
    """See `lucid.kernels.reference.resize.resize_bilinear`."""
    dtype = float_type(x)
    n, c, h, w = x.shape
    check_sizes((h, w), size)
    y0, y1, wy = bilinear_source(h, size[0], align_corners, steps[0])
    x0, x1, wx = bilinear_source(w, size[1], align_corners, steps[1])
    y = empty((n, *size, c), dtype)
    taps = (y0, y1, wy.astype(dtype), x0, x1, wx.astype(dtype))
    grain = grain_of(size[1] * c)
    parallel_for(_bilinear, n * size[0], nhwc(x, dtype), *taps, y, grain=grain)
    return y.transpose(0, 3, 1, 2)


def resize_bilinear_backward(
    g: Array, input_shape: Shape, align_corners: bool, steps: Steps = BY_SIZE
) -> Array:
    """See `lucid.kernels.reference.resize.resize_bilinear_backward`."""
    dtype = float_type(g)
    n, c, h, w = input_shape
    out_h, out_w = g.shape[2:]
    check_sizes((h, w), (out_h, out_w))
    y0, y1, wy = bilinear_source(h, out_h, align_corners, steps[0])
    x0, x1, wx = bilinear_source(w, out_w, align_corners, steps[1])
    # The output rows that read each input row, and their weights, sorted by input row.
    sources_of = np.concatenate([y0, y1])
    order = np.argsort(sources_of, kind="stable")
    edges = np.searchsorted(sources_of[order], np.arange(h + 1))
    weights = np.concatenate([1 - wy, wy])[order].astype(dtype)
    gx = empty((n, h, w, c), dtype)
    work = (nhwc(g, dtype), edges, order % out_h, weights, x0, x1, wx.astype(dtype), gx)
    grain = grain_of(max(w * h, out_w * out_h) * c // h)
    parallel_for(_bilinear_backward, n * h, *work, grain=grain)
    return gx.transpose(0, 3, 1, 2)
