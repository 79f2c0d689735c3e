"""Weight gradient of a 3x3 convolution at stride 1, in the Winograd domain.

It is the adjoint of :mod:`.winograd` with respect to the filters: for a tile with inputs ``d`` and
output gradients ``g`` it is ``G' [(B' d B) * (A g A')] G``.  G is the same for all tiles, so it is
applied to their sum.  So each of the 36 points is one matrix product summed over tiles: again a
quarter of the multiplications.  The error is below 1e-5 of the largest gradient, that of the
direct sum 2e-6.

A thread computes a band of outputs and channels over all tiles; their sums at all points and a
block of transformed tiles fit its cache.  Tiles are transformed again for every band, which costs
less than reading them from memory.  With few bands, partial sums over tiles run in parallel; their
number does not depend on the threads, so results are bitwise equal for any number of threads.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ACCUMULATE, MR, NR, block_size, multiply_transposed
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.weight_gradient import sum_partials
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
# Largest number of outputs and channels of a band: sums at 36 points take 576 KiB.
_BAND = 64
# Bytes of transformed tiles beside them.
_BLOCK_BYTES = 1 << 19
# Bytes of padding of rows and planes, so that they do not map to the same cache sets; a row block
# may also read as far past the last output.
_PADDING = 64
# Number of work items to aim for, and tiles that are worth a partial sum.
_ITEMS, _PART_TILES = 8, 48
# Tiles, and positions per tile, below which Winograd does not pay.
_MIN_TILES, _MIN_POSITIONS_PER_TILE = 12, 9


def is_profitable(images: int, grid: Pair, channels: int, outputs: int) -> bool:
    """Return whether Winograd is faster for ``images`` with a ``grid`` of output pixels each."""
    tiles = _tiles(images, grid)
    fits = channels % NR == 0 and outputs % VL == 0 and min(channels, outputs) >= 32
    saves = tiles >= _MIN_TILES and images * grid[0] * grid[1] >= _MIN_POSITIONS_PER_TILE * tiles
    return enabled() and fits and saves


def _tiles(images: int, grid: Pair) -> int:
    return images * -(-grid[0] // OUTPUT) * -(-grid[1] // OUTPUT)


@routine
def _transform(
    x: Array, g: Array, tiles: Pair, c0: int, o0: int, padding: Pair,
    v: int, v_step: int, v_bytes: int, d: int, d_step: int, d_bytes: int,
) -> None:  # fmt: skip
    """Transform inputs and output gradients of some tiles, from channel ``c0`` and output ``o0``.

    They go to ``v`` and ``d``: planes ``step`` bytes apart, of rows of ``bytes`` and padding.
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
        target = v + (tile - tiles[0]) * (v_bytes + _PADDING)
        transform_input(pixels.ctypes.data, target, v_step, v_bytes)
        for i in range(OUTPUT):
            for j in range(OUTPUT):
                yy, xx = y0 + i, x0 + j
                at = ((image * ho + yy) * wo + xx) * outputs + o0
                inside = yy < ho and xx < wo
                pixels[OUTPUT * i + j] = g.ctypes.data + at * 4 if inside else zeros.ctypes.data
        target = d + (tile - tiles[0]) * (d_bytes + _PADDING)
        transform_output_gradient(pixels.ctypes.data, target, d_step, d_bytes)


@routine
def _accumulate(
    count: int, v: int, v_step: int, v_bytes: int, d: int, d_step: int, d_bytes: int,
    s: int, s_step: int, flags: int,
) -> None:  # fmt: skip
    """Add the products of ``count`` tiles to the sums ``s``, 36 planes of (outputs, channels)."""
    a_table, b_table = np.empty(1, np.int64), np.empty(1, np.int64)
    targets = np.empty(MR, np.int64)
    zeros = np.zeros(NR, np.float32)
    outputs = d_bytes // 4
    for e in range(_POINTS):
        for c in range(0, v_bytes, NR * 4):
            b_table[0] = v + e * v_step + c
            for o in range(0, outputs, MR):
                # The buffer has space for the excess rows of the last row block.
                for r in range(MR):
                    targets[r] = (o + r) * v_bytes
                a_table[0] = d + e * d_step + o * 4
                multiply_transposed(
                    block_size(min(MR, outputs - o)), a_table.ctypes.data, 1, count,
                    b_table.ctypes.data, v_bytes + _PADDING, targets.ctypes.data,
                    s + e * s_step + c, zeros.ctypes.data, 0, flags, d_bytes + _PADDING, 0,
                )  # fmt: skip


@kernel
def _sum_tiles(
    start: int, stop: int, x: Array, g: Array, total: Array, padding: Pair, bands: Pair,
    max_tiles: int,
) -> None:  # fmt: skip
    """Items start..stop-1: (partial sum over tiles, band of outputs, band of channels).

    ``total`` is (parts, O, 3, 3, C).
    """
    parts, outputs, _, _, channels = total.shape
    tiles = len(g) * -(-g.shape[1] // OUTPUT) * -(-g.shape[2] // OUTPUT)
    o_units, c_units = outputs // VL, channels // NR
    c_most, o_most = -(-c_units // bands[1]) * NR, -(-o_units // bands[0]) * VL
    v_step, d_step = max_tiles * (c_most * 4 + _PADDING), max_tiles * (o_most * 4 + _PADDING)
    s_step = -(-o_most // MR) * MR * c_most * 4 + _PADDING
    buffer = np.empty((_POINTS * (v_step + d_step + s_step) + 2 * _PADDING) // 4, np.float32)
    for item in range(start, stop):
        # Cache-line aligned.  Inside of the loop: Numba frees an array after its last use.
        v = -(-buffer.ctypes.data // _PADDING) * _PADDING
        d = v + _POINTS * v_step
        s = d + _POINTS * d_step
        part, band = item // (bands[0] * bands[1]), item % (bands[0] * bands[1])
        o_band, c_band = band // bands[1], band % bands[1]
        o0, o1 = o_units * o_band // bands[0] * VL, o_units * (o_band + 1) // bands[0] * VL
        c0, c1 = c_units * c_band // bands[1] * NR, c_units * (c_band + 1) // bands[1] * NR
        v_bytes, d_bytes = (c1 - c0) * 4, (o1 - o0) * 4
        begin, end = tiles * part // parts, tiles * (part + 1) // parts
        for first in range(begin, end, max_tiles):
            some = (first, min(first + max_tiles, end))
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
    """Compute the gradient of the weights.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, O), contiguous float32; O a multiple of VL.
    x : numpy.ndarray
        Input (N, H, W, C), contiguous; C a multiple of NR.
    top, left : int
        Rows and columns of zero padding.

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
    max_tiles = min(max(MR, _BLOCK_BYTES // per_tile), -(-tiles // parts))
    total = empty((parts, outputs, 3, 3, channels), np.float32)
    items = parts * bands[0] * bands[1]
    parallel_for(_sum_tiles, items, x, g, total, (top, left), bands, max_tiles)
    if parts > 1:
        parallel_for(sum_partials, total[0].size, total.reshape(parts, -1), grain=1 << 16)
    result: Array = total[0]
    return result
