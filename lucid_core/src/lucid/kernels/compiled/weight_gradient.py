"""The weight gradient of a convolution, on the same micro-kernel.

``gw[o, i, j, c] = sum over places of g[place, o] * x[place shifted by tap (i, j), c]``:
a product in which places are what is summed over.  A thread takes some rows of the
images at a time and packs what it needs of them: ROWS output gradients of each place
side by side, as the rows of A, and NR numbers of each pixel, as B.  What has been
packed stays in its cache for all outputs, taps and channels.

Where there are many places and few weights, parts of the places are summed up by
themselves; how many parts depends on the shapes and not on the threads, so that the
result does not either.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import (
    ACCUMULATE,
    NR,
    ROWS,
    block_size,
    copy_runs,
    multiply_transposed,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

Pair = tuple[int, int]

# Bytes that are packed at a time: with the sums, they should stay in a core's own cache.
_BLOCK_BYTES = 3 << 18
# Numbers of a line of the cache.
_LINE = 16
# How much memory parts of the sum may take, and how many places are worth a part.
_PART_BYTES = 1 << 21
_MOST_PARTS = 8
_PART_PLACES = 512


@routine
def _pack_outputs(g: Array, first: int, last: int, o0: int, o1: int, packed: Array) -> None:
    """Rows first..last-1 of the images of ``g`` (rows, columns, O), as (bundle, row, place, ROWS).

    A bundle with fewer outputs repeats its first one.
    """
    columns, outputs = g.shape[1:]
    for row in range(first, last):
        for o in range(o0, o1, ROWS):
            target = packed[(o - o0) // ROWS, row - first]
            if o + ROWS <= o1:
                source = g[row, 0].ctypes.data + o * 4
                copy_runs(ROWS, target.ctypes.data, source, columns, ROWS * 4, outputs * 4)
            else:
                for u in range(columns):
                    for r in range(ROWS):
                        target[u, r] = g[row, u, o + r if o + r < o1 else o]


@routine
def _pack_pixels(row: Array, begin: int, step: int, length: int, packed: Array) -> None:
    """Runs of ``length`` numbers of a row of pixels, as (panel, run, NR); the rest is 0.

    The first starts at ``begin``, the others ``step`` numbers further each.
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
    """Pack every row of the images that a tap reaches from output rows first..last-1, once.

    ``where[row]`` is then its number in ``packed`` (panel, row, run, NR), or -1.
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
    first: int, last: int, ho: int, h: int, down: int, offset: int, places: tuple[int, int, int],
    pace: int, where: Array, a: Array, b: Array, a_table: Array, b_table: Array,
) -> Pair:  # fmt: skip
    """Where the rows of one tap are: the number of segments, and how long each is.

    ``places`` are the first and last place of a row whose tap lies inside of the image, and
    the first one's run; ``pace`` is how many runs further that of the next place is.
    """
    u0, u1, run = places
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
        # Rows that go on in memory where those before them end are one.
        joined &= a_table[s] - a_table[s - 1] == count * ROWS * 4
        joined &= b_table[s] - b_table[s - 1] == count * pace * NR * 4
    return (1, count * segments) if joined else (segments, count)


@routine
def _multiply(
    a: Array, b: Array, segments: Pair, a_table: Array, b_table: Array, bstep: int,
    o0: int, o1: int, total: Array, fresh: bool,
) -> None:  # fmt: skip
    """Products of one tap: what is packed for outputs o0..o1-1, times all panels.

    ``total`` is (O, padded length), of that tap.
    """
    a_shifted, b_shifted = np.empty_like(a_table), np.empty_like(b_table)
    targets = np.empty(ROWS, np.int64)
    zeros = np.zeros(NR, np.float32)
    for p in range(len(b)):
        for s in range(segments[0]):
            b_shifted[s] = b_table[s] + p * b[0].size * 4
        for o in range(o0, o1, ROWS):
            for s in range(segments[0]):
                a_shifted[s] = a_table[s] + (o - o0) // ROWS * a[0].size * 4
            filled = min(ROWS, o1 - o)
            for r in range(ROWS):
                targets[r] = (o + (r if r < filled else 0)) * total.strides[0]
            multiply_transposed(
                block_size(filled),
                a_shifted.ctypes.data,
                segments[0],
                segments[1],
                b_shifted.ctypes.data,
                bstep,
                targets.ctypes.data,
                total.ctypes.data + p * NR * 4,
                zeros.ctypes.data,
                0,
                0 if fresh else ACCUMULATE,
                ROWS * 4,
                0,
            )


@kernel
def _accumulate(
    start: int,
    stop: int,
    g: Array,
    x: Array,
    total: Array,
    row_offsets: Array,
    column_offsets: Array,
    stride: Pair,
    length: int,
    groups: int,
    bands: int,
    image_rows: int,
    most_rows: int,
) -> None:
    """Items start..stop-1: (part of the places, group, band of its output channels).

    ``total`` is (parts, O, kernel rows, kernel columns, padded length).
    """
    images, h, w, channels = x.shape
    _, ho, wo, outputs = g.shape
    parts, _, taps, columns, padded = total.shape
    each = outputs // groups
    bundles = -(-each // ROWS)
    # A row of pixels is packed as it is, or, for a single column of taps, place by place.
    single = columns == 1
    low, runs, begin, step, pace = 0, w, 0, channels, stride[1]
    if single:
        low = max(0, -(column_offsets[0] // stride[1]))
        reach = (w - column_offsets[0]) * channels - length
        runs = max(0, min(wo, reach // (stride[1] * channels) + 1) - low)
        begin = (low * stride[1] + column_offsets[0]) * channels
        step, pace = stride[1] * channels, 1
    a = np.empty((-(-bundles // bands), image_rows, wo, ROWS), np.float32)
    # On a line of the cache, so that vectors of B do not straddle two.
    room = np.empty(padded * most_rows * runs + _LINE, np.float32)
    aligned = -room.ctypes.data % (4 * _LINE) // 4
    b = room[aligned : aligned + padded * most_rows * runs].reshape(
        (padded // NR, most_rows, runs, NR)
    )
    where = np.empty(images * h, np.int64)
    a_table, b_table = np.empty(image_rows, np.int64), np.empty(image_rows, np.int64)
    for item in range(start, stop):
        part, group, band = item // (groups * bands), item // bands % groups, item % bands
        o0 = group * each + bundles * band // bands * ROWS
        o1 = min(group * each + bundles * (band + 1) // bands * ROWS, (group + 1) * each)
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
                    places = (low, low + runs, 0)
                    if not single:
                        u0 = max(0, -(column_offsets[j] // stride[1]))
                        u1 = min(wo, (w - 1 - column_offsets[j]) // stride[1] + 1)
                        places = (u0, u1, u0 * stride[1] + column_offsets[j])
                    segments = _segments(
                        first, last, ho, h, stride[0], row_offsets[i], places, pace,
                        where, a, b, a_table, b_table,
                    )  # fmt: skip
                    sums = total[part, :, i, j]
                    if segments[0]:
                        _multiply(
                            a, b, segments, a_table, b_table, pace * NR * 4, o0, o1, sums, fresh
                        )
                    elif fresh:
                        sums[o0:o1] = 0


@kernel
def add_up(start: int, stop: int, parts: Array) -> None:
    """Numbers start..stop-1 of all parts, added to those of the first."""
    total = parts[0, start:stop]
    for p in range(1, len(parts)):
        part = parts[p, start:stop]
        for i in range(len(total)):
            total[i] += part[i]


def _together(groups: int, length: int) -> int:
    """How many groups of ``length`` channels go side by side into a panel; a divisor of all."""
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
    """Gradient of the weights.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, O), contiguous float32.
    x : numpy.ndarray
        Input (N, H, W, channels), contiguous.
    row_offsets, column_offsets : numpy.ndarray
        Of each tap of the kernel: where it reads, relative to ``place * stride``.
    stride : (int, int)
    length : int
        Numbers that a tap reads: the channels of a group.
    groups : int

    Returns
    -------
    numpy.ndarray
        (O, kernel rows, kernel columns, length).
    """
    n, ho, wo, outputs = g.shape
    taps, columns = len(row_offsets), len(column_offsets)
    together = _together(groups, length)
    if together > 1:
        # Every output of some groups by all of their channels, of which few are wanted: what
        # would be multiplied by what fills up a panel is multiplied by other groups.
        wide = weight_gradient(
            g, x, row_offsets, column_offsets, stride, length * together, groups // together
        )
        blocks = wide.reshape(groups // together, together, -1, taps, columns, together, length)
        own = np.einsum("gpoijpc->gpoijc", blocks)
        return np.ascontiguousarray(own).reshape(outputs, taps, columns, length)
    padded = -(-length // NR) * NR
    places = n * ho * wo
    if not places or not outputs:
        return np.zeros((outputs, taps, columns, length), np.float32)
    size = outputs * taps * columns * padded
    parts = max(1, min(_PART_BYTES // (4 * size), places // _PART_PLACES, _MOST_PARTS, n * ho))
    bundles = -(-(outputs // groups) // ROWS)
    bands = max(1, min(bundles, -(-4 * get_num_threads() // (parts * groups))))
    per_row = x.shape[2] * padded * stride[0] + wo * (outputs // groups // bands + ROWS)
    image_rows = max(1, min(_BLOCK_BYTES // (4 * per_row), -(-n * ho // parts)))
    # Each run of rows within an image reaches past its ends by the height of the kernel.
    runs = image_rows // ho + 2
    reach = int(row_offsets[-1] - row_offsets[0])
    most_rows = min(image_rows * taps, image_rows * stride[0] + runs * (reach + stride[0]))
    total = empty((parts, outputs, taps, columns, padded), np.float32)
    parallel_for(
        _accumulate,
        parts * groups * bands,
        g,
        x,
        total,
        row_offsets,
        column_offsets,
        stride,
        length,
        groups,
        bands,
        image_rows,
        most_rows,
    )
    if parts > 1:
        parallel_for(add_up, size, total.reshape(parts, size), grain=1 << 16)
    result = total[0]
    return result if padded == length else np.ascontiguousarray(result[..., :length])
