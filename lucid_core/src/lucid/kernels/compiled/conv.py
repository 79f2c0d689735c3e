"""Two-dimensional convolution as matrix products over tiles of unfolded windows.

Memory is channels last, so a 1x1 convolution is one product with nothing copied,
and a larger one gathers runs of channels into a tile that stays in cache.  Each
thread unfolds its own tile and multiplies it with single-threaded BLAS.

A "pixel" is one place of the output over all images, numbered (n, ho, wo); a
window unfolds to K = kH * kW * C / groups numbers, kernel row by kernel row.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lucid.kernels.compiled.gemm import gemm
from lucid.kernels.compiled.jit import kernel as compiled
from lucid.kernels.compiled.jit import nhwc as nhwc_of
from lucid.kernels.layout import Array, channels_last, empty_channels_last
from lucid.kernels.threads import get_num_threads, parallel_for, single_threaded_blas

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
# kernel, stride, top and left padding, dilation: what unfolding and folding go by
Geometry = tuple[Pair, Pair, int, int, Pair]

# Bytes of one unfolded tile: with its share of the weights it should fit a core's L2 cache.
_TILE_BYTES = 1_500_000
_FEWEST_PIXELS = 128
# A larger buffer than this (a whole large image unfolded) is not kept between calls.
_KEPT_BYTES = 64_000_000
# Partial sums of the weight gradient: fixed, so that the result does not depend on threads.
_PARTS = 4

_scratch = threading.local()


def _tile(pixels: int, k: int, dtype: np.dtype[Any]) -> Array:
    """This thread's tile buffer, kept from call to call."""
    size = pixels * k
    if size * dtype.itemsize > _KEPT_BYTES:
        return np.empty((pixels, k), dtype)
    buffer: Array | None = getattr(_scratch, "buffer", None)
    if buffer is None or buffer.dtype != dtype or buffer.size < size:
        buffer = np.empty(size, dtype)
        _scratch.buffer = buffer
    return buffer[:size].reshape(pixels, k)


@compiled
def _unfold(
    start: int,
    stop: int,
    x: Array,
    tile: Array,
    ho: int,
    wo: int,
    kernel: Pair,
    stride: Pair,
    top: int,
    left: int,
    dilation: Pair,
    c0: int,
    c: int,
) -> None:
    """Rows of ``tile``: the windows of pixels start..stop-1 over channels c0..c0+c-1."""
    _, h, w, channels = x.shape
    kh, kw = kernel
    for pixel in range(start, stop):
        row = tile[pixel - start]
        n = pixel // (ho * wo)
        y0 = (pixel // wo) % ho * stride[0] - top
        x0 = pixel % wo * stride[1] - left
        whole_run = c == channels and dilation[1] == 1 and x0 >= 0 and x0 + kw <= w
        k = 0
        for i in range(kh):
            yy = y0 + i * dilation[0]
            if yy < 0 or yy >= h:
                row[k : k + kw * c] = 0
                k += kw * c
            elif whole_run:
                # Neighbouring pixels lie side by side: the kernel row is one run.
                source = x[n, yy].reshape(-1)
                first = x0 * channels
                for q in range(kw * c):
                    row[k + q] = source[first + q]
                k += kw * c
            else:
                for j in range(kw):
                    xx = x0 + j * dilation[1]
                    if xx < 0 or xx >= w:
                        row[k : k + c] = 0
                    else:
                        source = x[n, yy, xx]
                        for q in range(c):
                            row[k + q] = source[c0 + q]
                    k += c


@compiled
def _fold(
    start: int,
    stop: int,
    tile: Array,
    gx: Array,
    n: int,
    ho: int,
    wo: int,
    kernel: Pair,
    stride: Pair,
    top: int,
    left: int,
    dilation: Pair,
    c0: int,
    c: int,
) -> None:
    """Add unfolded gradients of image n into rows start..stop-1 of its input gradient.

    Each input row gathers from the windows that cover it, so rows can be
    shared out among threads.
    """
    w = gx.shape[2]
    kh, kw = kernel
    for yy in range(start, stop):
        for i in range(kh):
            up = yy + top - i * dilation[0]
            if up < 0 or up % stride[0] or up // stride[0] >= ho:
                continue
            for out_x in range(wo):
                row = tile[up // stride[0] * wo + out_x]
                for j in range(kw):
                    xx = out_x * stride[1] - left + j * dilation[1]
                    if 0 <= xx < w:
                        target = gx[n, yy, xx]
                        k = (i * kw + j) * c
                        for q in range(c):
                            target[c0 + q] += row[k + q]


def _is_pointwise(kernel: Pair, stride: Pair, padding: Padding) -> bool:
    return kernel == (1, 1) and stride == (1, 1) and padding == ((0, 0), (0, 0))


def _filters(weight: Array, groups: int) -> list[Array]:
    """Each group's weights as a matrix (O / groups, K); a view where memory is channels last."""
    o = weight.shape[0]
    flat = weight.transpose(0, 2, 3, 1).reshape(o, -1)
    return [flat[i * (o // groups) : (i + 1) * (o // groups)] for i in range(groups)]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Cross-correlation of ``x`` with ``weight``."""
    n, _, h, w = x.shape
    o, c, kh, kw = weight.shape
    (top, bottom), (left, right) = padding
    ho = (h + top + bottom - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    wo = (w + left + right - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = empty_channels_last((n, o, ho, wo), x.dtype)
    nhwc, out = nhwc_of(x), y.transpose(0, 2, 3, 1).reshape(-1, o)
    filters = _filters(weight, groups)
    if _is_pointwise((kh, kw), stride, padding) and groups == 1:
        gemm(nhwc.reshape(-1, c), filters[0].T, out)
        if bias is not None:
            out += bias
        return y

    geometry: Geometry = ((kh, kw), stride, top, left, dilation)
    pixels = n * ho * wo
    k = kh * kw * c
    per_tile = max(_FEWEST_PIXELS, _TILE_BYTES // max(1, k * x.itemsize))

    if groups == 1 and pixels <= per_tile:
        # Too few pixels to share out: unfold all of them together, split the product.
        tile = _tile(pixels, k, x.dtype)
        parallel_for(_unfold_part, pixels, nhwc, tile, ho, wo, *geometry, grain=32)
        gemm(tile, filters[0].T, out)
        if bias is not None:
            out += bias
        return y

    def tiles(start: int, stop: int) -> None:
        for first in range(start, stop, per_tile):
            last = min(first + per_tile, stop)
            tile = _tile(last - first, k, x.dtype)
            for i, matrix in enumerate(filters):
                _unfold(first, last, nhwc, tile, ho, wo, *geometry, i * c, c)
                part = out[first:last, i * len(matrix) : (i + 1) * len(matrix)]
                np.matmul(tile, matrix.T, out=part)
            if bias is not None:
                out[first:last] += bias

    with single_threaded_blas():
        parallel_for(tiles, pixels, grain=min(per_tile, -(-pixels // get_num_threads())))
    return y


def _unfold_part(
    start: int, stop: int, x: Array, tile: Array, ho: int, wo: int, *geometry: *Geometry
) -> None:
    _unfold(start, stop, x, tile[start:stop], ho, wo, *geometry, 0, x.shape[3])


def conv2d_input_gradient(
    g: Array,
    weight: Array,
    input_shape: tuple[int, int, int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Gradient of the input: each output's gradient goes back through its window."""
    g = channels_last(g)
    n, c, h, _ = input_shape
    o, cg, kh, kw = weight.shape
    ho, wo = g.shape[2:]
    gx = empty_channels_last(input_shape, g.dtype)
    g_flat, gx_nhwc = g.transpose(0, 2, 3, 1).reshape(-1, o), gx.transpose(0, 2, 3, 1)
    if _is_pointwise((kh, kw), stride, padding) and groups == 1:
        gemm(g_flat, _filters(weight, 1)[0], gx_nhwc.reshape(-1, c))
        return gx

    (top, bottom), (left, right) = padding
    reach = (dilation[0] * (kh - 1), dilation[1] * (kw - 1))
    fits = max(top, bottom) <= reach[0] and max(left, right) <= reach[1]
    if stride == (1, 1) and fits and n * ho * wo > o:
        # At stride 1 it is itself a convolution: filters turned by 180 degrees, C and O
        # exchanged.  (With fewer pixels than channels, turning the filters costs more than
        # folding does.)
        turned = weight.reshape(groups, o // groups, cg, kh, kw)[..., ::-1, ::-1]
        turned = turned.transpose(0, 2, 1, 3, 4).reshape(c, o // groups, kh, kw)
        back = ((reach[0] - top, reach[0] - bottom), (reach[1] - left, reach[1] - right))
        return conv2d(g, channels_last(turned), None, (1, 1), back, dilation, groups)

    gx[...] = 0
    filters = _filters(weight, groups)
    geometry: Geometry = ((kh, kw), stride, top, left, dilation)
    per_image = ho * wo

    def images(start: int, stop: int) -> None:
        for i in range(start, stop):
            rows = g_flat[i * per_image : (i + 1) * per_image]
            tile = _tile(per_image, kh * kw * cg, g.dtype)
            for j, matrix in enumerate(filters):
                gemm(rows[:, j * len(matrix) : (j + 1) * len(matrix)], matrix, tile)
                parallel_for(_fold, h, tile, gx_nhwc, i, ho, wo, *geometry, j * cg, cg)

    # Whole images are shared out; a batch too small for that is shared out inside an image
    # (a parallel_for within a parallel_for runs where it is).
    if n >= get_num_threads():
        with single_threaded_blas():
            parallel_for(images, n)
    else:
        images(0, n)
    return gx


def conv2d_weight_gradient(
    g: Array,
    x: Array,
    weight_shape: tuple[int, int, int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Gradient of the weight: products of windows and output gradients, summed over places."""
    g = channels_last(g)
    o, c, kh, kw = weight_shape
    n, _, ho, wo = g.shape
    gw = empty_channels_last(weight_shape, g.dtype)
    gw_flat = gw.transpose(0, 2, 3, 1).reshape(o, -1)
    g_flat, nhwc = g.transpose(0, 2, 3, 1).reshape(-1, o), nhwc_of(x)
    if _is_pointwise((kh, kw), stride, padding) and groups == 1:
        gemm(g_flat.T, nhwc.reshape(-1, c), gw_flat)
        return gw

    k = kh * kw * c
    geometry: Geometry = ((kh, kw), stride, padding[0][0], padding[1][0], dilation)
    pixels = n * ho * wo
    per_tile = max(_FEWEST_PIXELS, _TILE_BYTES // max(1, k * x.itemsize))
    og = o // groups
    if groups == 1 and pixels <= per_tile:
        tile = _tile(pixels, k, x.dtype)
        parallel_for(_unfold_part, pixels, nhwc, tile, ho, wo, *geometry, grain=32)
        gemm(g_flat.T, tile, gw_flat)
        return gw
    partial = np.zeros((_PARTS, o, k), g.dtype)

    def parts(start: int, stop: int) -> None:
        for p in range(start, stop):
            end = pixels * (p + 1) // _PARTS
            for first in range(pixels * p // _PARTS, end, per_tile):
                last = min(first + per_tile, end)
                tile = _tile(last - first, k, x.dtype)
                for i in range(groups):
                    _unfold(first, last, nhwc, tile, ho, wo, *geometry, i * c, c)
                    rows = g_flat[first:last, i * og : (i + 1) * og]
                    partial[p, i * og : (i + 1) * og] += rows.T @ tile

    with single_threaded_blas():
        parallel_for(parts, _PARTS)
    np.sum(partial, axis=0, out=gw_flat)
    return gw
