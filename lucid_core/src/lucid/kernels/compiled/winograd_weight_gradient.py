"""The weight gradient of a 3x3 convolution at stride 1, in Winograd's domain.

The filters' gradient is the transpose of what :mod:`.winograd` does with them: of a tile
with inputs ``d`` and output gradients ``g`` it is ``G' [(B' d B) * (A g A')] G``, and
as G is the same for all tiles, it is applied to their sum.  So each of the 36 points is one matrix
product, summed over tiles: a quarter of the multiplications again.  The error stays below
1e-5 of the largest gradient, where the direct sum has 2e-6.

A thread takes some outputs and some channels through all tiles, few enough that their sums
at all points stay in its own cache, beside a block of transformed tiles.  The tiles are
transformed again for each such pair of bands, which costs less than to read them from
memory.  Where there are few bands, parts of the tiles are summed up by themselves; how
many does not depend on the number of threads, so that the result does not either.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ACCUMULATE, NR, ROWS, block_size, multiply_transposed
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.weight_gradient import add_up
from lucid.kernels.compiled.winograd import enabled
from lucid.kernels.compiled.winograd_transform import (
    INPUT,
    OUTPUT,
    transform_input,
    transform_output_gradient,
    transform_weight_gradient,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

__all__ = ["is_profitable", "winograd_weight_gradient"]

Pair = tuple[int, int]

_POINTS = INPUT * INPUT
# Outputs and channels of a band at most: sums at 36 points take 576 KiB.
_BAND = 64
# Bytes of transformed tiles beside them.
_BLOCK_BYTES = 1 << 19
# Rows and planes are set apart by this many bytes more than they need, lest they compete for
# the same lines of the cache; a bundle may also read so far past the last output.
_APART = 64
# Items to be had if there are enough tiles, and how many tiles are worth a part.
_ITEMS, _PART_TILES = 8, 48
# Tiles, and places in each, below which there is too little to be saved.
_FEWEST_TILES, _FEWEST_PLACES = 12, 9


def is_profitable(images: int, grid: Pair, channels: int, outputs: int) -> bool:
    """Whether to go this way for so many images and a ``grid`` of output pixels in each."""
    tiles = _tiles(images, grid)
    fits = channels % NR == 0 and outputs % VL == 0 and min(channels, outputs) >= 32
    saves = tiles >= _FEWEST_TILES and images * grid[0] * grid[1] >= _FEWEST_PLACES * tiles
    return enabled() and fits and saves


def _tiles(images: int, grid: Pair) -> int:
    return images * -(-grid[0] // OUTPUT) * -(-grid[1] // OUTPUT)


@routine
def _transform(
    x: Array, g: Array, tiles: Pair, c0: int, o0: int, padding: Pair,
    v: int, v_step: int, v_bytes: int, d: int, d_step: int, d_bytes: int,
) -> None:  # fmt: skip
    """Inputs and output gradients of some tiles, from channel ``c0`` and output ``o0`` on.

    They go to ``v`` and ``d``: planes ``step`` bytes apart, of rows of ``bytes`` and what
    sets them apart.
    """
    _, h, w, channels = x.shape
    _, ho, wo, outputs = g.shape
    rows, columns = -(-ho // OUTPUT), -(-wo // OUTPUT)
    zeros = np.zeros(max(v_bytes, d_bytes) // 4, np.float32)
    pixels = np.empty(_POINTS, np.int64)
    for tile in range(tiles[0], tiles[1]):
        image = tile // (rows * columns)
        y0, x0 = tile // columns % rows * OUTPUT, tile % columns * OUTPUT
        for i in range(INPUT):
            for j in range(INPUT):
                yy, xx = y0 + i - padding[0], x0 + j - padding[1]
                at = ((image * h + yy) * w + xx) * channels + c0
                inside = 0 <= yy < h and 0 <= xx < w
                pixels[INPUT * i + j] = x.ctypes.data + at * 4 if inside else zeros.ctypes.data
        target = v + (tile - tiles[0]) * (v_bytes + _APART)
        transform_input(pixels.ctypes.data, target, v_step, v_bytes)
        for i in range(OUTPUT):
            for j in range(OUTPUT):
                yy, xx = y0 + i, x0 + j
                at = ((image * ho + yy) * wo + xx) * outputs + o0
                inside = yy < ho and xx < wo
                pixels[OUTPUT * i + j] = g.ctypes.data + at * 4 if inside else zeros.ctypes.data
        target = d + (tile - tiles[0]) * (d_bytes + _APART)
        transform_output_gradient(pixels.ctypes.data, target, d_step, d_bytes)


@routine
def _accumulate(
    count: int, v: int, v_step: int, v_bytes: int, d: int, d_step: int, d_bytes: int,
    s: int, s_step: int, flags: int,
) -> None:  # fmt: skip
    """Add the products of ``count`` tiles to the sums ``s``: 36 planes of (outputs, channels)."""
    a_table, b_table = np.empty(1, np.int64), np.empty(1, np.int64)
    targets = np.empty(ROWS, np.int64)
    zeros = np.zeros(NR, np.float32)
    outputs = d_bytes // 4
    for e in range(_POINTS):
        for c in range(0, v_bytes, NR * 4):
            b_table[0] = v + e * v_step + c
            for o in range(0, outputs, ROWS):
                # There is room after the last output for what a bundle has too many.
                for r in range(ROWS):
                    targets[r] = (o + r) * v_bytes
                a_table[0] = d + e * d_step + o * 4
                multiply_transposed(
                    block_size(min(ROWS, outputs - o)),
                    a_table.ctypes.data,
                    1,
                    count,
                    b_table.ctypes.data,
                    v_bytes + _APART,
                    targets.ctypes.data,
                    s + e * s_step + c,
                    zeros.ctypes.data,
                    0,
                    flags,
                    d_bytes + _APART,
                    0,
                )


@kernel
def _sum_tiles(
    start: int, stop: int, x: Array, g: Array, total: Array, padding: Pair, bands: Pair, most: int
) -> None:
    """Items start..stop-1: (part of the tiles, band of outputs, band of channels).

    ``total`` is (parts, O, 3, 3, C).
    """
    parts, outputs, _, _, channels = total.shape
    tiles = len(g) * -(-g.shape[1] // OUTPUT) * -(-g.shape[2] // OUTPUT)
    o_units, c_units = outputs // VL, channels // NR
    c_most, o_most = -(-c_units // bands[1]) * NR, -(-o_units // bands[0]) * VL
    v_step, d_step = most * (c_most * 4 + _APART), most * (o_most * 4 + _APART)
    s_step = -(-o_most // ROWS) * ROWS * c_most * 4 + _APART
    buffer = np.empty((_POINTS * (v_step + d_step + s_step) + 2 * _APART) // 4, np.float32)
    for item in range(start, stop):
        # On a line of the cache, so that no vector straddles two.  Numba frees an array after
        # its last mention, which therefore stands inside of the loop.
        v = -(-buffer.ctypes.data // _APART) * _APART
        d = v + _POINTS * v_step
        s = d + _POINTS * d_step
        part, band = item // (bands[0] * bands[1]), item % (bands[0] * bands[1])
        o_band, c_band = band // bands[1], band % bands[1]
        o0, o1 = o_units * o_band // bands[0] * VL, o_units * (o_band + 1) // bands[0] * VL
        c0, c1 = c_units * c_band // bands[1] * NR, c_units * (c_band + 1) // bands[1] * NR
        v_bytes, d_bytes = (c1 - c0) * 4, (o1 - o0) * 4
        begin, end = tiles * part // parts, tiles * (part + 1) // parts
        for first in range(begin, end, most):
            some = (first, min(first + most, end))
            _transform(
                x, g, some, c0, o0, padding, v, v_step, v_bytes, d, d_step, d_bytes
            )  # fmt: skip
            flags = ACCUMULATE if first > begin else 0
            _accumulate(
                some[1] - first, v, v_step, v_bytes, d, d_step, d_bytes, s, s_step, flags
            )  # fmt: skip
        for o in range(o0, o1):
            target = total[part, o].ctypes.data + c0 * 4
            transform_weight_gradient(s + (o - o0) * v_bytes, s_step, target, channels * 4, v_bytes)


def winograd_weight_gradient(g: Array, x: Array, top: int, left: int) -> Array:
    """Gradient of the weights of a 3x3 convolution at stride 1.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, O), contiguous float32; O a multiple of VL.
    x : numpy.ndarray
        Input (N, H, W, C), contiguous; C a multiple of NR.
    top, left : int
        Rows and columns of zeros before the first ones of ``x``.

    Returns
    -------
    numpy.ndarray
        (O, 3, 3, C).
    """
    outputs, channels = g.shape[3], x.shape[3]
    tiles = _tiles(len(g), g.shape[1:3])
    bands = (-(-outputs // _BAND), -(-channels // _BAND))
    parts = max(1, min(-(-_ITEMS // (bands[0] * bands[1])), tiles // _PART_TILES))
    per_tile = _POINTS * 4 * (min(outputs, _BAND) + min(channels, _BAND))
    most = min(max(ROWS, _BLOCK_BYTES // per_tile), -(-tiles // parts))
    total = empty((parts, outputs, 3, 3, channels), np.float32)
    items = parts * bands[0] * bands[1]
    parallel_for(_sum_tiles, items, x, g, total, (top, left), bands, most)
    if parts > 1:
        parallel_for(add_up, total[0].size, total.reshape(parts, -1), grain=1 << 16)
    result: Array = total[0]
    return result
