"""Weight gradient of a convolution on AMX tiles.

As in :mod:`.weight_gradient`, the product sums over positions, which lie in the planes of
:mod:`.amx_conv`.  Rows of A are output channels: gradients of 32 consecutive positions, packed as
pairs of positions and transposed.  Rows of B are pairs of adjacent pixels, shared by all taps; a
tap with an odd pixel offset needs pairs that begin at odd pixels, so there may be two layouts.
Positions between two lines have the gradient 0.

The order of summation depends on the shapes and not on the threads, so results are bitwise equal
for any number of threads.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.amx import (
    BLOCK,
    BLOCK_BYTES,
    SIDE,
    configure_tiles,
    multiply_tiles,
    release_tiles,
    split_pairs,
)
from lucid.kernels.compiled.amx_conv import WIDTH, aligned_empty
from lucid.kernels.compiled.amx_planes import planes_of
from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.weight_gradient import sum_partials
from lucid.kernels.compiled.winograd_transform import transpose_squares
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["amx_weight_gradient", "fills_tiles"]

Pair = tuple[int, int]

_LINE = 64
_TILE = SIDE * _LINE
# Bytes of 16 channels of a pair of pixels in their three parts.
_PAIRS = 3 * _LINE
# Outputs, channels and positions per block: split, they fit the second-level cache.
_MAX_OUTPUTS, _MAX_CHANNELS, _MAX_POSITIONS = 256, 128, 448
# Fraction of the rows of the tiles that must be positions, for AMX to be faster.
_FILLED = 0.6
# Memory of partial sums, their number, and positions that are worth one.
_PART_BYTES, _MAX_PARTS, _POSITIONS_PER_PART = 1 << 21, 8, 512


@routine
def _split_outputs(
    g: Array, line0: int, line1: int, pitch: int, blocks: int, o0: int, o1: int, zeros: Array,
    table: Array, a: Array,
) -> None:  # fmt: skip
    """Split output gradients o0..o1-1 of lines of ``g`` (lines, columns, O) into tiles of A."""
    columns, outputs = g.shape[1:]
    table[: blocks * BLOCK] = zeros.ctypes.data
    for t in range(line1 - line0):
        at = g[line0 + t, 0].ctypes.data + o0 * 4
        for u in range(columns):
            table[t * pitch + u] = at + u * outputs * 4
    tiles = -(-(o1 - o0) // SIDE)
    for n in range(blocks):
        split_pairs(
            table.ctypes.data + n * BLOCK * 8, SIDE, o1 - o0, a.ctypes.data + n * BLOCK_BYTES,
            _LINE, blocks * BLOCK_BYTES, _TILE,
        )  # fmt: skip
    at = a.ctypes.data
    transpose_squares(at, _LINE, _TILE, at, _TILE, tiles * blocks * 3)


@routine
def _find_pixels(
    x: Array, image: int, first: Pair, count: int, pitch: int, phases: Pair, step: Pair,
    channel: int, length: int, zeros: Array, table: Array,
) -> None:  # fmt: skip
    """Tabulate pixel addresses of ``count`` lines of a plane; zeros outside of the image."""
    _, h, w, channels = x.shape
    table[:] = zeros.ctypes.data
    for t in range(count):
        sy = (first[0] + t) * step[0] + phases[0]
        if not 0 <= sy < h:
            continue
        at = x[image, sy, 0].ctypes.data + channel * 4
        for u in range(pitch):
            sx = (first[1] + u) * step[1] + phases[1]
            # A tap may read several pixels, but not past the line.
            if sx >= 0 and sx * channels + length <= w * channels:
                table[t * pitch + u] = at + sx * channels * 4


@kernel
def _accumulate(
    start: int, stop: int, g: Array, x: Array, total: Array, stride: Pair, phases: Array,
    taps: Array, origin: Pair, extra_rows: int, pitch: int, length: int, groups: int, bands: int,
    height: int, units_at_once: int,
) -> None:  # fmt: skip
    """Items start..stop-1: (partial sum, group, band of its output channels).

    ``total`` is (parts, groups, padded outputs, taps, padded length); a unit is ``height`` lines
    of an image, and ``units_at_once`` units are packed at a time.
    """
    parts, _, padded, segments, wide = total.shape
    images, ho, wo, outputs = g.shape
    per_group = outputs // groups
    tiles = padded // WIDTH
    per_image = -(-ho // height)
    units = images * per_image
    blocks = -(-(height * pitch) // BLOCK)
    channels = min(wide, _MAX_CHANNELS)
    row = channels // SIDE * _PAIRS + _LINE
    pairs = (height + extra_rows) * pitch // 2 + blocks * SIDE - height * pitch // 2 + 2 * SIDE
    plane = pairs * row
    odd = 0
    for s in range(segments):
        odd |= (taps[s, 1] * pitch + taps[s, 2]) % 2
    parities = 1 + odd
    zeros = np.zeros(max(length, per_group) + SIDE, np.float32)
    table = np.empty(2 * pairs + 2, np.int64)
    own = -(-tiles // bands) * 2 * blocks * BLOCK_BYTES // 4
    a = aligned_empty(units_at_once * own)
    b = aligned_empty(units_at_once * len(phases) * parities * plane // 4)
    reads = np.empty((2, units_at_once), np.int64)
    lines = g.reshape(images * ho, wo, outputs)
    configure_tiles(SIDE)
    for item in range(start, stop):
        part, group, band = item // (groups * bands), item // bands % groups, item % bands
        tile0, tile1 = tiles * band // bands, tiles * (band + 1) // bands
        o0, o1 = (
            group * per_group + tile0 * WIDTH,
            group * per_group + min(per_group, tile1 * WIDTH),
        )
        unit0, unit1 = units * part // parts, units * (part + 1) // parts
        for unit in range(unit0, unit1, units_at_once):
            count = min(units_at_once, unit1 - unit)
            for n in range(count):
                image, t0 = (unit + n) // per_image, (unit + n) % per_image * height
                t1 = min(ho, t0 + height)
                _split_outputs(
                    lines, image * ho + t0, image * ho + t1, pitch, blocks, o0, o1, zeros,
                    table, a[n * own :],
                )  # fmt: skip
            for c0 in range(0, wide, channels):
                depth = min(channels, wide - c0)
                for n in range(count):
                    image, t0 = (unit + n) // per_image, (unit + n) % per_image * height
                    top = (t0 + origin[0], origin[1])
                    for q in range(len(phases)):
                        _find_pixels(
                            x, image, top, height + extra_rows, pitch, (phases[q, 0], phases[q, 1]),
                            stride, group * length + c0, min(depth, length - c0), zeros, table,
                        )  # fmt: skip
                        for parity in range(parities):
                            at = ((n * len(phases) + q) * parities + parity) * plane
                            split_pairs(
                                table.ctypes.data + parity * 8, pairs, min(depth, length - c0),
                                b.ctypes.data + at, row, _PAIRS, _LINE,
                            )  # fmt: skip
                for s in range(segments):
                    shift = taps[s, 1] * pitch + taps[s, 2]
                    for n in range(count):
                        at = (n * len(phases) + taps[s, 0]) * parities + shift % 2
                        reads[1, n] = b.ctypes.data + at * plane + shift // 2 * row
                    for c in range(0, depth, WIDTH):
                        for tile in range(tile0, tile1):
                            for n in range(count):
                                at = (tile - tile0) * 2 * blocks * BLOCK_BYTES
                                reads[0, n] = a.ctypes.data + n * own * 4 + at
                            multiply_tiles(
                                reads[0].ctypes.data, blocks * BLOCK_BYTES, _LINE, BLOCK_BYTES,
                                _TILE, reads[1].ctypes.data, _PAIRS, row, SIDE * row, _LINE,
                                count, blocks,
                                total[part, group, tile * WIDTH, s].ctypes.data + (c0 + c) * 4,
                                segments * wide * 4, unit > unit0, 0,
                            )  # fmt: skip
                        for n in range(count):
                            reads[1, n] += 2 * _PAIRS
    release_tiles()


def _lines_at_once(lines: int, pitch: int) -> int:
    """Return the number of lines of an image that are summed together."""
    most = min(lines, max(1, _MAX_POSITIONS // pitch))
    return -(-lines // -(-lines // most))  # evenly


def fills_tiles(
    shape: tuple[int, ...], row_offsets: Array, column_offsets: Array, stride: Pair, width: int
) -> bool:
    """Return whether gradients of ``shape`` (N, Ho, Wo, O), of images so wide, suit AMX.

    Each image has tiles of its own, and small images leave most rows of their tiles empty.
    """
    offsets = tuple(row_offsets.tolist()), tuple(column_offsets.tolist())
    pitch = planes_of(*offsets, stride, shape[2], width).pitch
    height = _lines_at_once(shape[1], pitch)
    return height * shape[2] >= _FILLED * -(-(height * pitch) // BLOCK) * BLOCK


def amx_weight_gradient(
    g: Array,
    x: Array,
    row_offsets: Array,
    column_offsets: Array,
    stride: Pair,
    length: int,
    groups: int,
) -> Array:
    """Compute the gradient of the weights; see :func:`.weight_gradient.weight_gradient`."""
    n, ho, wo, outputs = g.shape
    rows, columns = len(row_offsets), len(column_offsets)
    per_group = outputs // groups
    offsets = tuple(row_offsets.tolist()), tuple(column_offsets.tolist())
    planes = planes_of(*offsets, stride, wo, x.shape[2])
    padded, wide = -(-per_group // WIDTH) * WIDTH, -(-length // WIDTH) * WIDTH
    size = groups * padded * rows * columns * wide
    positions = n * ho * wo
    height = _lines_at_once(ho, planes.pitch)
    units = n * -(-ho // height)
    parts = max(
        1, min(_PART_BYTES // (4 * size), positions // _POSITIONS_PER_PART, _MAX_PARTS, units)
    )
    parts = 1 << (parts.bit_length() - 1)
    bands = -(-padded // _MAX_OUTPUTS)
    wanted = -(-get_num_threads() // (parts * groups))
    bands = max(1, min(padded // WIDTH, -(-bands // wanted) * wanted))
    total = empty((parts, groups, padded, rows * columns, wide), np.float32)
    parallel_for(
        _accumulate, parts * groups * bands, g, x, total, stride, *planes, length, groups, bands,
        height, max(1, _MAX_POSITIONS // (-(-(height * planes.pitch) // BLOCK) * BLOCK)),
    )  # fmt: skip
    if parts > 1:
        parallel_for(sum_partials, size, total.reshape(parts, size), grain=1 << 16)
    result = total[0, :, :per_group, :, :length]
    return np.ascontiguousarray(result).reshape(outputs, rows, columns, length)
