"""3x3 convolution at stride 1 by Winograd's minimal filtering, F(4x4, 3x3).

A quarter of the multiplications, for an error of about 1e-5 relative where the direct
sum has 1e-6 (the transforms add and subtract numbers up to 8 times as large).
``LUCID_WINOGRAD=0`` in the environment turns it off.

Tiles of 6x6 inputs overlap by two and give 4x4 outputs.  A thread takes some tiles through
all three steps while they are in its cache: transform the inputs, multiply by the transformed
weights (36 matrix products on the micro-kernel), transform the sums back.
"""

from __future__ import annotations

import os

import numpy as np

from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.microkernel import ADD, NR, RELU, ROWS, block_size, multiply_block
from lucid.kernels.compiled.simd import VL
from lucid.kernels.compiled.winograd_tiles import (
    INPUT,
    OUTPUT,
    filters_to_domain,
    from_domain,
    to_domain,
    turn_squares,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["enabled", "pays", "transform_weights", "winograd"]

_POINTS = INPUT * INPUT
# Bytes of transformed inputs and sums that a thread works on at a time.
_BLOCK_BYTES = 1 << 20
# Planes of the transformed tiles are set apart by this many bytes more than they
# need: at a distance of a power of two they would compete for the same lines of the cache.
_APART = 64
# Output pixels below which transforming the weights costs more than it saves: once for
# this call, or once for many.
_FEWEST_PLACES, _FEWEST_KEPT = 300, 150


def enabled() -> bool:
    """Whether the environment leaves it turned on."""
    return os.environ.get("LUCID_WINOGRAD", "1") != "0"


def pays(places: int, channels: int, outputs: int, kept: bool) -> bool:
    """Whether to go this way for so many output pixels, with weights that are ``kept`` or not."""
    fits = channels % VL == 0 and outputs % NR == 0
    return (
        enabled()
        and fits
        and channels >= 32
        and places >= (_FEWEST_KEPT if kept else _FEWEST_PLACES)
    )


@kernel
def _transform(start: int, stop: int, w: Array, turned: bool, u: Array) -> None:
    """Panels start..stop-1 of ``u`` (36, P, K, NR) from filters ``w`` (O, 3, 3, C)."""
    _, panels, k, width = u.shape
    tap = w.shape[3] * 4
    plane, square = panels * k * width * 4, VL * VL * 4
    taps = np.empty(9 * VL * VL, np.float32)
    for p in range(start, stop):
        # In squares of filters and channels, since reading may run across writing.
        for k0 in range(0, k, VL):
            for j0 in range(0, width, VL):
                target = u.ctypes.data + ((p * k + k0) * width + j0) * 4
                j = p * width + j0
                if turned:
                    source = w.ctypes.data + (k0 * 9 + 8) * tap + j * 4
                    filters_to_domain(source, -tap, 9 * tap, target, plane, width * 4, VL)
                else:
                    source = w.ctypes.data + j * 9 * tap + k0 * 4
                    turn_squares(source, 9 * tap, tap, taps.ctypes.data, square, 9)
                    source = taps.ctypes.data
                    filters_to_domain(source, square, VL * 4, target, plane, width * 4, VL)


def transform_weights(w: Array, turned: bool = False) -> Array:
    """Filters (O, 3, 3, C) in the domain, as panels (36, P, K, NR).

    ``turned`` as in :func:`lucid.kernels.compiled.implicit.pack`: filters by 180 degrees,
    outputs and channels exchanged.
    """
    summed, wide = (w.shape[0], w.shape[3]) if turned else (w.shape[3], w.shape[0])
    u = empty((_POINTS, wide // NR, summed, NR), np.float32)
    parallel_for(_transform, wide // NR, w, turned, u)
    return u


@kernel
def _run(
    start: int,
    stop: int,
    x: Array,
    u: Array,
    bias: Array,
    residual: Array,
    y: Array,
    top: int,
    left: int,
    blocks: int,
    apart: int,
    flags: int,
) -> None:
    """Blocks start..stop-1 of all tiles."""
    images, h, w, channels = x.shape
    _, ho, wo, outputs = y.shape
    rows, columns = -(-ho // 4), -(-wo // 4)
    tiles = images * rows * columns
    most = -(-tiles // blocks)
    v_step, m_step = most * channels * 4 + apart, most * outputs * 4 + apart
    v = np.empty(36 * v_step // 4, np.float32)
    m = np.empty(36 * m_step // 4, np.float32)
    zeros = np.zeros(max(channels, NR), np.float32)
    pixels = np.empty(36, np.int64)
    targets = np.empty(16, np.int64)
    sources = np.empty(ROWS, np.int64)
    sums = np.empty(ROWS, np.int64)
    b_table = np.empty(1, np.int64)
    n_panels, width = u.shape[1], u.shape[3]
    for block in range(start, stop):
        first, last = tiles * block // blocks, tiles * (block + 1) // blocks
        for tile in range(first, last):
            image = tile // (rows * columns)
            y0, x0 = tile // columns % rows * 4 - top, tile % columns * 4 - left
            for i in range(6):
                for j in range(6):
                    yy, xx = y0 + i, x0 + j
                    if 0 <= yy < h and 0 <= xx < w:
                        at = ((image * h + yy) * w + xx) * channels
                        pixels[6 * i + j] = x.ctypes.data + at * 4
                    else:
                        pixels[6 * i + j] = zeros.ctypes.data
            at = v.ctypes.data + (tile - first) * channels * 4
            to_domain(pixels.ctypes.data, at, v_step, channels * 4)

        count = last - first
        for e in range(36):
            for p in range(n_panels):
                b_table[0] = u.ctypes.data + (e * n_panels + p) * channels * width * 4
                for q in range(0, count, ROWS):
                    filled = min(ROWS, count - q)
                    for r in range(ROWS):
                        row = q + r if r < filled else q
                        sources[r] = v.ctypes.data + e * v_step + row * channels * 4
                        sums[r] = row * outputs * 4
                    multiply_block(
                        block_size(filled),
                        sources.ctypes.data,
                        1,
                        channels,
                        b_table.ctypes.data,
                        width * 4,
                        sums.ctypes.data,
                        m.ctypes.data + e * m_step + p * width * 4,
                        zeros.ctypes.data,
                        0,
                        0,
                        ROWS,
                        0,
                    )

        for tile in range(first, last):
            image = tile // (rows * columns)
            y0, x0 = tile // columns % rows * 4, tile % columns * 4
            # Outputs past the edge go where the last one inside goes after them.
            for i in range(4):
                for j in range(4):
                    yy, xx = min(y0 + i, ho - 1), min(x0 + j, wo - 1)
                    targets[4 * i + j] = ((image * ho + yy) * wo + xx) * outputs * 4
            at = m.ctypes.data + (tile - first) * outputs * 4
            from_domain(
                at, m_step, bias.ctypes.data, targets.ctypes.data, y.ctypes.data,
                residual.ctypes.data, flags, outputs * 4,
            )  # fmt: skip


def winograd(
    x: Array,
    u: Array,
    bias: Array | None,
    residual: Array | None,
    relu: bool,
    y: Array,
    top: int,
    left: int,
) -> None:
    """Convolve ``x`` into ``y``.

    Parameters
    ----------
    x, y : numpy.ndarray
        (N, H, W, C) and (N, Ho, Wo, O), contiguous float32.
    u : numpy.ndarray
        Weights of :func:`transform_weights`.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Added to the sums; the shape of ``y``.
    relu : bool
        Whether negative results become 0, at the very end.
    top, left : int
        Rows and columns of zeros before the first ones of ``x``.
    """
    n, ho, wo, outputs = y.shape
    channels = x.shape[3]
    tiles = n * -(-ho // OUTPUT) * -(-wo // OUTPUT)
    if not tiles:
        return
    most = max(2 * ROWS, _BLOCK_BYTES // (_POINTS * 4 * (channels + outputs)) // ROWS * ROWS)
    blocks = -(-tiles // min(most, -(-tiles // get_num_threads())))
    start = np.zeros(outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    flags = (0 if residual is None else ADD) | (RELU if relu else 0)
    added = y if residual is None else residual
    parallel_for(_run, blocks, x, u, start, added, y, top, left, blocks, _APART, flags)
