"""The weight gradient of a convolution on the matrix unit.

As in :mod:`.weight_gradient`, places are what is summed over; they lie in planes, as in
:mod:`.amx_conv`.  Rows of A are output channels; their numbers, output gradients of 32 places in a
row, come from pairs of places, transposed.  Rows of B are pairs of pixels side by side, whichever
tap reads them: one that reads an odd number of pixels further on needs pairs
that begin at odd pixels, so there may be two sorts.  Places between two lines have gradients of 0.

Which places are added up together depends on the shapes and not on the threads,
so that the result does not either.
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
from lucid.kernels.compiled.amx_conv import WIDTH, aligned, planes_of
from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.weight_gradient import add_up
from lucid.kernels.compiled.winograd_transform import transpose_squares
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["amx_weight_gradient", "fills_tiles"]

Pair = tuple[int, int]

_LINE = 64
_TILE = SIDE * _LINE
# Bytes of 16 columns of a pair of pixels, in their parts.
_PAIRS = 3 * _LINE
# Outputs and channels that a thread works on at a time, and places: together, in their parts,
# they should stay in a core's own cache.
_MOST_OUTPUTS, _MOST_CHANNELS, _MOST_PLACES = 256, 128, 448
# The share of a tile's rows that should be places, for the unit to be the faster one.
_FILLED = 0.6
# How much memory parts of the sum may take, and how many places are worth a part.
_PART_BYTES, _MOST_PARTS, _PART_PLACES = 1 << 21, 8, 512


@routine
def _split_outputs(
    g: Array, line0: int, line1: int, pitch: int, blocks: int, o0: int, o1: int, zeros: Array,
    table: Array, a: Array,
) -> None:  # fmt: skip
    """Output gradients o0..o1-1 of some lines of ``g`` (lines, columns, O) as tiles of A."""
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
    x: Array, image: int, first: Pair, count: int, pitch: int, rests: Pair, step: Pair,
    channel: int, length: int, zeros: Array, table: Array,
) -> None:  # fmt: skip
    """Where the pixels of ``count`` lines of a plane are; zeros outside of the image."""
    _, h, w, channels = x.shape
    table[:] = zeros.ctypes.data
    for t in range(count):
        sy = (first[0] + t) * step[0] + rests[0]
        if not 0 <= sy < h:
            continue
        at = x[image, sy, 0].ctypes.data + channel * 4
        for u in range(pitch):
            sx = (first[1] + u) * step[1] + rests[1]
            # A tap may read on over several pixels, but not past the line.
            if sx >= 0 and sx * channels + length <= w * channels:
                table[t * pitch + u] = at + sx * channels * 4


@kernel
def _accumulate(
    start: int,
    stop: int,
    g: Array,
    x: Array,
    total: Array,
    stride: Pair,
    rests: Array,
    taps: Array,
    origin: Pair,
    more: int,
    pitch: int,
    length: int,
    groups: int,
    bands: int,
    height: int,
    together: int,
) -> None:
    """Items start..stop-1: (part of the places, group, band of its output channels).

    ``total`` is (parts, groups, padded outputs, taps, padded length); ``height`` lines of
    an image are a unit, and ``together`` units are worked on at a time.
    """
    parts, _, padded, segments, wide = total.shape
    images, ho, wo, outputs = g.shape
    each = outputs // groups
    tiles = padded // WIDTH
    per_image = -(-ho // height)
    units = images * per_image
    blocks = -(-(height * pitch) // BLOCK)
    channels = min(wide, _MOST_CHANNELS)
    row = channels // SIDE * _PAIRS + _LINE
    pairs = (height + more) * pitch // 2 + blocks * SIDE - height * pitch // 2 + 2 * SIDE
    plane = pairs * row
    odd = 0
    for s in range(segments):
        odd |= (taps[s, 1] * pitch + taps[s, 2]) % 2
    sorts = 1 + odd
    zeros = np.zeros(max(length, each) + SIDE, np.float32)
    table = np.empty(2 * pairs + 2, np.int64)
    own = -(-tiles // bands) * 2 * blocks * BLOCK_BYTES // 4
    a = aligned(together * own)
    b = aligned(together * len(rests) * sorts * plane // 4)
    reads = np.empty((2, together), np.int64)
    lines = g.reshape(images * ho, wo, outputs)
    configure_tiles(SIDE)
    for item in range(start, stop):
        part, group, band = item // (groups * bands), item // bands % groups, item % bands
        tile0, tile1 = tiles * band // bands, tiles * (band + 1) // bands
        o0, o1 = group * each + tile0 * WIDTH, group * each + min(each, tile1 * WIDTH)
        unit0, unit1 = units * part // parts, units * (part + 1) // parts
        for unit in range(unit0, unit1, together):
            count = min(together, unit1 - unit)
            for n in range(count):
                image, t0 = (unit + n) // per_image, (unit + n) % per_image * height
                t1 = min(ho, t0 + height)
                _split_outputs(
                    lines, image * ho + t0, image * ho + t1, pitch, blocks, o0, o1, zeros,
                    table, a[n * own :],
                )  # fmt: skip
            for c0 in range(0, wide, channels):
                numbers = min(channels, wide - c0)
                for n in range(count):
                    image, t0 = (unit + n) // per_image, (unit + n) % per_image * height
                    top = (t0 + origin[0], origin[1])
                    for q in range(len(rests)):
                        _find_pixels(
                            x, image, top, height + more, pitch, (rests[q, 0], rests[q, 1]),
                            stride, group * length + c0, min(numbers, length - c0), zeros, table,
                        )  # fmt: skip
                        for sort in range(sorts):
                            at = ((n * len(rests) + q) * sorts + sort) * plane
                            split_pairs(
                                table.ctypes.data + sort * 8, pairs, min(numbers, length - c0),
                                b.ctypes.data + at, row, _PAIRS, _LINE,
                            )  # fmt: skip
                for s in range(segments):
                    shift = taps[s, 1] * pitch + taps[s, 2]
                    for n in range(count):
                        at = (n * len(rests) + taps[s, 0]) * sorts + shift % 2
                        reads[1, n] = b.ctypes.data + at * plane + shift // 2 * row
                    for c in range(0, numbers, WIDTH):
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
    """Of how many lines of an image places are summed up together."""
    most = min(lines, max(1, _MOST_PLACES // pitch))
    return -(-lines // -(-lines // most))  # evenly


def fills_tiles(
    shape: tuple[int, ...], row_offsets: Array, column_offsets: Array, stride: Pair, width: int
) -> bool:
    """Whether gradients of a ``shape`` (N, Ho, Wo, O), of images so wide, suit the unit.

    An image has tiles of its own, and small ones leave most of their rows empty.
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
    """Gradient of the weights; see :func:`.weight_gradient.weight_gradient`."""
    n, ho, wo, outputs = g.shape
    rows, columns = len(row_offsets), len(column_offsets)
    each = outputs // groups
    offsets = tuple(row_offsets.tolist()), tuple(column_offsets.tolist())
    planes = planes_of(*offsets, stride, wo, x.shape[2])
    padded, wide = -(-each // WIDTH) * WIDTH, -(-length // WIDTH) * WIDTH
    size = groups * padded * rows * columns * wide
    places = n * ho * wo
    height = _lines_at_once(ho, planes.pitch)
    units = n * -(-ho // height)
    parts = max(1, min(_PART_BYTES // (4 * size), places // _PART_PLACES, _MOST_PARTS, units))
    parts = 1 << (parts.bit_length() - 1)
    bands = -(-padded // _MOST_OUTPUTS)
    wanted = -(-get_num_threads() // (parts * groups))
    bands = max(1, min(padded // WIDTH, -(-bands // wanted) * wanted))
    total = empty((parts, groups, padded, rows * columns, wide), np.float32)
    parallel_for(
        _accumulate,
        parts * groups * bands,
        g,
        x,
        total,
        stride,
        *planes,
        length,
        groups,
        bands,
        height,
        max(1, _MOST_PLACES // (-(-(height * planes.pitch) // BLOCK) * BLOCK)),
    )
    if parts > 1:
        parallel_for(add_up, size, total.reshape(parts, size), grain=1 << 16)
    result = total[0, :, :each, :, :length]
    return np.ascontiguousarray(result).reshape(outputs, rows, columns, length)
