"""Weight gradient of a convolution, on the micro-kernel.

``gw[o, i, j, c] = sum over positions p of g[p, o] * x[p shifted by tap (i, j), c]`` is a matrix
product summed over positions.  A thread packs some rows of the images at a time: MR output
gradients of each position as a column of A, NR channels of each pixel as a row of B.  All
outputs, taps and channels reuse what is packed, while it is in the cache.

With many positions and few weights, partial sums run in parallel.  Their number depends on the
shapes and not on the threads, so results are bitwise equal for any number of threads.
"""

from __future__ import annotations

import functools

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import (
    ACCUMULATE,
    MR,
    NR,
    block_size,
    copy_runs,
    multiply_transposed,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

Pair = tuple[int, int]

# Bytes packed at a time: with the sums they fit the second-level cache.
_BLOCK_BYTES = 3 << 18
# Number of float32 in a cache line.
_LINE = 16
# Positions of a line of a 1x1 convolution, long enough to pack them in few calls.
_LINE_POSITIONS = 256
# Memory of partial sums, their number, and positions that are worth one.
_PART_BYTES = 1 << 21
_MAX_PARTS = 8
_POSITIONS_PER_PART = 512


@routine
def _pack_outputs(g: Array, first: int, last: int, o0: int, o1: int, packed: Array) -> None:
    """Pack rows first..last-1 of ``g`` (rows, columns, O) as (row block, row, position, MR).

    A block with fewer outputs repeats its first one.
    """
    columns, outputs = g.shape[1:]
    for row in range(first, last):
        for o in range(o0, o1, MR):
            target = packed[(o - o0) // MR, row - first]
            if o + MR <= o1:
                source = g.ctypes.data + (row * columns * outputs + o) * 4
                copy_runs(MR, target.ctypes.data, source, columns, MR * 4, outputs * 4)
            else:
                for u in range(columns):
                    for r in range(MR):
                        target[u, r] = g[row, u, o + r if o + r < o1 else o]


@routine
def _pack_pixels(row: Array, begin: int, step: int, length: int, packed: Array) -> None:
    """Pack runs of ``length`` elements of a row of pixels as (panel, run, NR), padded with 0.

    The first run starts at ``begin``, the others ``step`` elements further each.
    """
    panels, runs, _ = packed.shape
    for p in range(panels):
        at, width = begin + p * NR, min(NR, length - p * NR)
        if width == NR:
            source = row.ctypes.data + at * 4
            copy_runs(NR, packed[p].ctypes.data, source, runs, NR * 4, step * 4)
        else:
            for q in range(runs):
                for c in range(NR):
                    packed[p, q, c] = row[at + q * step + c] if c < width else np.float32(0)


@routine
def _pack_inputs(
    x: Array, first: int, last: int, ho: int, row_offsets: Array, down: int,
    begin: int, step: int, length: int, where: Array, packed: Array,
) -> None:  # fmt: skip
    """Pack, once, every image row that a tap reads for the output rows first..last-1.

    ``where[row]`` is its index in ``packed`` (panel, row, run, NR), or -1.
    """
    images, h, _, _ = x.shape
    rows = x.reshape(images * h, -1)
    where[:] = -1
    count = 0
    for row in range(first, last):
        for offset in row_offsets:
            sy = row % ho * down + offset
            source = row // ho * h + sy
            if 0 <= sy < h and where[source] < 0:
                _pack_pixels(rows[source], begin, step, length, packed[:, count])
                where[source] = count
                count += 1


@routine
def _segments(
    first: int, last: int, ho: int, h: int, down: int, offset: int, positions: tuple[int, int, int],
    pixel_step: int, where: Array, a: Array, b: Array, a_table: Array, b_table: Array,
) -> Pair:  # fmt: skip
    """Fill the address tables of one tap; return the number of segments and their length.

    ``positions`` are the first and last position of a row whose tap is inside of the image, and the
    first one's run; ``pixel_step`` is the number of runs between positions.
    """
    u0, u1, run = positions
    segments, count = 0, max(0, u1 - u0)
    if count:
        for row in range(first, last):
            sy = row % ho * down + offset
            if 0 <= sy < h:
                a_table[segments] = a[0, row - first, u0].ctypes.data
                b_table[segments] = b[0, where[row // ho * h + sy], run].ctypes.data
                segments += 1
    joined = segments > 1
    for s in range(1, segments):
        # Merge rows that are contiguous in memory.
        joined &= a_table[s] - a_table[s - 1] == count * MR * 4
        joined &= b_table[s] - b_table[s - 1] == count * pixel_step * NR * 4
    return (1, count * segments) if joined else (segments, count)


@routine
def _multiply(
    a: Array, b: Array, segments: Pair, a_table: Array, b_table: Array, bstep: int,
    o0: int, o1: int, total: Array, fresh: bool,
) -> None:  # fmt: skip
    """Multiply the packed outputs o0..o1-1 of one tap by all panels.

    ``total`` is (O, padded length), of that tap.
    """
    a_shifted, b_shifted = np.empty_like(a_table), np.empty_like(b_table)
    targets = np.empty(MR, np.int64)
    zeros = np.zeros(NR, np.float32)
    for p in range(len(b)):
        for s in range(segments[0]):
            b_shifted[s] = b_table[s] + p * b[0].size * 4
        for o in range(o0, o1, MR):
            for s in range(segments[0]):
                a_shifted[s] = a_table[s] + (o - o0) // MR * a[0].size * 4
            filled = min(MR, o1 - o)
            for r in range(MR):
                targets[r] = (o + (r if r < filled else 0)) * total.strides[0]
            multiply_transposed(
                block_size(filled), a_shifted.ctypes.data, segments[0], segments[1],
                b_shifted.ctypes.data, bstep, targets.ctypes.data, total.ctypes.data + p * NR * 4,
                zeros.ctypes.data, 0, 0 if fresh else ACCUMULATE, MR * 4, 0,
            )  # fmt: skip


@kernel
def _accumulate(
    start: int, stop: int, g: Array, x: Array, total: Array, row_offsets: Array,
    column_offsets: Array, stride: Pair, length: int, groups: int, bands: int, image_rows: int,
    most_rows: int,
) -> None:  # fmt: skip
    """Items start..stop-1: (partial sum, group, band of its output channels).

    ``total`` is (parts, O, kernel rows, kernel columns, padded length).
    """
    images, h, w, channels = x.shape
    _, ho, wo, outputs = g.shape
    parts, _, taps, columns, padded = total.shape
    per_group = outputs // groups
    row_blocks = -(-per_group // MR)
    # Rows of pixels are packed whole; for a single column of taps, by position.
    single = columns == 1
    low, runs, begin, step, pixel_step = 0, w, 0, channels, stride[1]
    if single:
        low = max(0, -(column_offsets[0] // stride[1]))
        reach = (w - column_offsets[0]) * channels - length
        runs = max(0, min(wo, reach // (stride[1] * channels) + 1) - low)
        begin = (low * stride[1] + column_offsets[0]) * channels
        step, pixel_step = stride[1] * channels, 1
    a = np.empty((-(-row_blocks // bands), image_rows, wo, MR), np.float32)
    # Cache-line aligned, so that vectors of B do not straddle two lines.
    buffer = np.empty(padded * most_rows * runs + _LINE, np.float32)
    aligned = -buffer.ctypes.data % (4 * _LINE) // 4
    b = buffer[aligned : aligned + padded * most_rows * runs].reshape(
        (padded // NR, most_rows, runs, NR)
    )
    where = np.empty(images * h, np.int64)
    a_table, b_table = np.empty(image_rows, np.int64), np.empty(image_rows, np.int64)
    for item in range(start, stop):
        part, group, band = item // (groups * bands), item // bands % groups, item % bands
        o0 = group * per_group + row_blocks * band // bands * MR
        o1 = min(group * per_group + row_blocks * (band + 1) // bands * MR, (group + 1) * per_group)
        begin_rows = images * ho * part // parts
        end_rows = images * ho * (part + 1) // parts
        for first in range(begin_rows, end_rows, image_rows):
            last = min(first + image_rows, end_rows)
            fresh = first == begin_rows
            _pack_outputs(g.reshape(images * ho, wo, outputs), first, last, o0, o1, a)
            at = begin + group * length
            _pack_inputs(
                x, first, last, ho, row_offsets, stride[0], at, step, length, where, b
            )  # fmt: skip
            for i in range(taps):
                for j in range(columns):
                    positions = (low, low + runs, 0)
                    if not single:
                        u0 = max(0, -(column_offsets[j] // stride[1]))
                        u1 = min(wo, (w - 1 - column_offsets[j]) // stride[1] + 1)
                        positions = (u0, u1, u0 * stride[1] + column_offsets[j])
                    segments = _segments(
                        first, last, ho, h, stride[0], row_offsets[i], positions, pixel_step,
                        where, a, b, a_table, b_table,
                    )  # fmt: skip
                    sums = total[part, :, i, j]
                    if segments[0]:
                        _multiply(
                            a, b, segments, a_table, b_table, pixel_step * NR * 4, o0, o1, sums,
                            fresh,
                        )  # fmt: skip
                    elif fresh:
                        sums[o0:o1] = 0


@kernel
def sum_partials(start: int, stop: int, parts: Array) -> None:
    """Add elements start..stop-1 of all parts to the first part."""
    total = parts[0, start:stop]
    for p in range(1, len(parts)):
        part = parts[p, start:stop]
        for i in range(len(total)):
            total[i] += part[i]


def _groups_per_panel(groups: int, length: int) -> int:
    """Return how many groups of ``length`` channels fit a panel; a divisor of ``groups``."""
    most = max(1, min(groups, NR // length))
    return max(count for count in range(1, most + 1) if groups % count == 0)


def weight_gradient(
    g: Array,
    x: Array,
    row_offsets: Array,
    column_offsets: Array,
    stride: Pair,
    length: int,
    groups: int,
) -> Array:
    """Compute the gradient of the weights.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, O), contiguous float32.
    x : numpy.ndarray
        Input (N, H, W, channels), contiguous.
    row_offsets, column_offsets : numpy.ndarray
        Offsets at which the taps read, relative to ``position * stride``.
    stride : (int, int)
    length : int
        Number of elements that a tap reads: the channels of a group.
    groups : int

    Returns
    -------
    numpy.ndarray
        (O, kernel rows, kernel columns, length).
    """
    n, ho, wo, outputs = g.shape
    taps, columns = len(row_offsets), len(column_offsets)
    groups_at_once = _groups_per_panel(groups, length)
    if groups_at_once > 1:
        # Fill a panel with the channels of several groups, and drop the products between groups.
        wide = weight_gradient(
            g,
            x,
            row_offsets,
            column_offsets,
            stride,
            length * groups_at_once,
            groups // groups_at_once,
        )
        blocks = wide.reshape(
            groups // groups_at_once, groups_at_once, -1, taps, columns, groups_at_once, length
        )
        own = np.einsum("gpoijpc->gpoijc", blocks)
        return np.ascontiguousarray(own).reshape(outputs, taps, columns, length)
    padded = -(-length // NR) * NR
    positions = n * ho * wo
    if not positions or not outputs:
        return np.zeros((outputs, taps, columns, length), np.float32)
    size = outputs * taps * columns * padded
    parts = max(
        1, min(_PART_BYTES // (4 * size), positions // _POSITIONS_PER_PART, _MAX_PARTS, n * ho)
    )
    row_blocks = -(-(outputs // groups) // MR)
    bands = max(1, min(row_blocks, -(-4 * get_num_threads() // (parts * groups))))
    per_row = x.shape[2] * padded * stride[0] + wo * (outputs // groups // bands + MR)
    image_rows = max(1, min(_BLOCK_BYTES // (4 * per_row), -(-n * ho // parts)))
    # Each run of rows within an image also needs the rows that the window reaches beyond it.
    runs = image_rows // ho + 2
    reach = int(row_offsets[-1] - row_offsets[0])
    most_rows = min(image_rows * taps, image_rows * stride[0] + runs * (reach + stride[0]))
    total = empty((parts, outputs, taps, columns, padded), np.float32)
    parallel_for(
        _accumulate, parts * groups * bands, g, x, total, row_offsets, column_offsets, stride,
        length, groups, bands, image_rows, most_rows,
    )  # fmt: skip
    if parts > 1:
        parallel_for(sum_partials, size, total.reshape(parts, size), grain=1 << 16)
    result = total[0]
    return result if padded == length else np.ascontiguousarray(result[..., :length])


def pointwise_weight_gradient(g: Array, x: Array) -> Array:
    """Compute the gradient of the weight of a 1x1 convolution, ``g.T @ x``.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (P, O), contiguous float32.
    x : numpy.ndarray
        Input (P, C), contiguous.

    Returns
    -------
    numpy.ndarray
        (O, C).
    """
    positions, outputs = g.shape
    channels = x.shape[1]
    if 10 * _block_sums(channels, outputs) < 9 * _block_sums(outputs, channels):
        return np.ascontiguousarray(pointwise_weight_gradient(x, g).T)
    lines, only = (1, -1, _line_length(positions)), np.zeros(1, np.int64)
    gw = weight_gradient(
        g.reshape(*lines, outputs), x.reshape(*lines, channels), only, only, (1, 1), channels, 1
    )
    return gw.reshape(outputs, channels)


def _block_sums(outputs: int, channels: int) -> int:
    """Return the number of sums that the blocks compute, with their padding."""
    return -(-outputs // MR) * MR * -(-channels // NR) * NR


@functools.lru_cache(maxsize=1024)
def _line_length(positions: int) -> int:
    """Return the largest suitable divisor of a number of positions."""
    most = min(positions, _LINE_POSITIONS)
    return max(length for length in range(1, most + 1) if positions % length == 0)
