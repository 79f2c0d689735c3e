"""Implicit GEMM convolution on AMX tiles.

Grid, taps and phases are those of :mod:`.implicit_gemm`.  A thread takes a strip of the grid's
lines and splits every pixel that they read, once, into the three bfloat16 parts of its elements
(:mod:`.amx`).  Split pixels are laid out in *planes*, one for each phase of the stride: in a plane,
adjacent positions read adjacent pixels for every tap.  Lines of a plane follow each other without
a gap, so the 16 rows of a tile are any 16 consecutive positions; the few between two lines are
computed and dropped.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from lucid.kernels.compiled.activation import RELU, activate
from lucid.kernels.compiled.amx import (
    BLOCK,
    BLOCK_BYTES,
    SIDE,
    configure_tiles,
    multiply_tiles,
    release_tiles,
    split_pairs,
    split_rows,
    store_sums,
)
from lucid.kernels.compiled.amx_planes import Planes, planes_of
from lucid.kernels.compiled.implicit_gemm import Grid
from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ADD
from lucid.kernels.layout import Array
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["Plan", "aligned_empty", "convolve_amx", "plan_amx", "run_amx"]

Pair = tuple[int, int]

#: Columns of two tiles, and of a panel from :func:`.implicit_gemm.pack`: AMX implies AVX-512, and
#: NR is two of its vectors.
WIDTH = 2 * SIDE
# Size of a block of tiles in its three parts, in float32.
_BLOCK_FLOATS = BLOCK_BYTES // 4
_LINE = 64
_TILE = SIDE * _LINE
# Bytes of 32 channels of a pixel in their three parts.
_PIXEL = 3 * _LINE
# Bytes of split pixels per strip: with two panels of weights they fit the second-level cache.
_STRIP_BYTES = 3 << 18
# Positions of a strip: with fewer, weights are read too often; more do not help.
_MIN_STRIP, _MAX_STRIP = 256, 512
# Smallest number of strips, on one thread too: fewer channels of larger strips fit at a time.
_MIN_STRIPS = 4
# Bytes of split weights that may be read again for every row block.
_FEW_WEIGHTS = 1 << 18
# Cost of reading a weight relative to splitting an element of a pixel.
_SPLIT_COST_RATIO = 0.6


@routine
def aligned_empty(size: int) -> Array:
    """Return an uninitialized, cache-line aligned float32 array."""
    buffer = np.empty(size + _LINE // 4, np.float32)
    begin = -buffer.ctypes.data % _LINE // 4
    return buffer[begin : begin + size]


@routine
def _split_lines(
    x: Array, image: int, first: Pair, count: int, pitch: int, phases: Pair, in_stride: Pair,
    channel: int, length: int, pixel: int, padded: Array, margin: int, target: Array,
) -> None:  # fmt: skip
    """Split ``count`` lines of a plane, from a row and column on, for channels from ``channel`` on.

    If ``padded`` is not empty, each line is copied there first, ``margin`` pixels to the right.
    """
    _, h, w, channels = x.shape
    if len(padded):
        w = len(padded) // channels
    left = min(pitch, max(0, -first[1]))
    # Columns of the plane inside of the image.
    begin = max(0, first[1])
    end = min(first[1] + pitch, -(-(w - phases[1]) // in_stride[1]))
    inside = max(0, end - begin)
    line = pitch * pixel // 4
    for i in range(count):
        row = target[i * line : (i + 1) * line]
        sy = (first[0] + i) * in_stride[0] + phases[0]
        if not 0 <= sy < h or not inside:
            row[:] = 0
            continue
        row[: left * pixel // 4] = 0
        source = x[image, sy, 0].ctypes.data
        if len(padded):
            depth = x.shape[2] * channels
            padded[margin * channels :][:depth] = x[image, sy].reshape(depth)
            source = padded.ctypes.data
        source += ((begin * in_stride[1] + phases[1]) * channels + channel) * 4
        split_rows(
            source, in_stride[1] * channels * 4, inside, length,
            row.ctypes.data + left * pixel, pixel, _PIXEL, _LINE,
        )  # fmt: skip
        row[(left + inside) * pixel // 4 :] = 0


@routine
def _find_targets(
    line0: int, line1: int, grid: Pair, pitch: int, rows: int, y: Array, first: Pair,
    out_stride: Pair, column: int, targets: Array,
) -> int:  # fmt: skip
    """Find the output offsets of lines line0..line1-1 of an image; return the number of row blocks.

    ``targets`` (row blocks, 16) are offsets in bytes, -1 for dropped positions.
    """
    positions = (line1 - line0) * pitch - (pitch - grid[1])
    row_blocks = -(-positions // rows)
    image = line0 // grid[0]
    for n in range(row_blocks * rows):
        t, u = line0 % grid[0] + n // pitch, n % pitch
        if u >= grid[1] or n >= positions:
            targets[n // rows, n % rows] = -1
            continue
        pixel = (image * y.shape[1] + first[0] + t * out_stride[0]) * y.shape[2]
        at = (pixel + first[1] + u * out_stride[1]) * y.shape[3] + column
        targets[n // rows, n % rows] = at * 4
    return row_blocks


@routine
def _split_panel(
    panel: Array, segments: int, length: int, c0: int, depth: int, target: Array
) -> None:
    """Split a panel (K, 32) into two panels of tiles, for channels from ``c0`` on."""
    zeros = np.zeros(WIDTH, np.float32)
    table = np.empty(BLOCK, np.int64)
    fill = -(-depth // BLOCK)
    for n in range(segments * fill):
        first = n % fill * BLOCK
        at = panel[n // fill * length + c0 + first].ctypes.data
        for k in range(BLOCK):
            table[k] = at + k * WIDTH * 4 if first + k < depth else zeros.ctypes.data
        split_pairs(
            table.ctypes.data, SIDE, WIDTH, target.ctypes.data + n * BLOCK_BYTES, _LINE,
            segments * fill * BLOCK_BYTES, _TILE,
        )  # fmt: skip


@kernel
def _convolve(
    start: int, stop: int, x: Array, panels: Array, bias: Array, residual: Array, y: Array,
    grid: Pair, in_stride: Pair, phases: Array, taps: Array, origin: Pair, extra_rows: int,
    pitch: int, first: Pair, out_stride: Pair, tasks: Pair, groups: int, length: int, chunk: int,
    margins: Pair, flags: int,
) -> None:  # fmt: skip
    """Items start..stop-1: groups x ``tasks``, which are strips of lines x bands of panels.

    Each tap reads ``length`` elements from a group's first channel on, ``chunk`` at a time.  With
    ``margins``, lines have as many zero pixels to their left and right.
    """
    strips, bands = tasks
    lines = len(x) * grid[0]
    inputs, outputs = x.shape[3] // groups, y.shape[3] // groups
    segments, pairs = len(taps), len(panels) // groups
    blocks = segments * -(-length // BLOCK)
    max_pairs = -(-pairs // bands)
    # Few split weights stay in the cache, and all panels of a row block are computed in turn; of
    # many, one panel stays there for all row blocks.
    rows_outer = max_pairs * 2 * blocks * BLOCK_BYTES <= _FEW_WEIGHTS
    split = aligned_empty((max_pairs if rows_outer else 1) * 2 * blocks * _BLOCK_FLOATS)
    split_here = (-1, -1)
    # An odd number of cache lines, so that pixels do not map to the same cache sets.
    pixel = -(-min(chunk, length) // BLOCK) * _PIXEL
    pixel += _LINE if pixel // _LINE % 2 == 0 else 0
    largest = -(-lines // strips)
    images = min(len(x), (largest - 1) // grid[0] + 2)
    size = (largest + images * extra_rows) * pitch + SIDE
    plane = size * pixel
    a = aligned_empty(len(phases) * plane // 4)
    max_row_blocks = -(-largest * pitch // SIDE) + images + largest * pitch // SIDE
    row_addresses = np.empty(max_row_blocks, np.int64)
    targets = np.empty((max_row_blocks, SIDE), np.int64)
    offsets, reads = np.empty(segments, np.int64), np.empty((3, segments), np.int64)
    for s in range(segments):
        offsets[s] = taps[s, 0] * plane + (taps[s, 1] * pitch + taps[s, 2]) * pixel
    padded = np.zeros(
        ((margins[0] + margins[1]) + x.shape[2]) * x.shape[3] if (margins[0] + margins[1]) else 0,
        np.float32,
    )
    chunked = length > chunk
    sums_floats = 2 * SIDE * WIDTH
    sums = aligned_empty(
        sums_floats * ((max_row_blocks + 1) // 2 * -(-pairs // bands) if chunked else 1)
    )
    for item in range(start, stop):
        group, strip, band = item // (strips * bands), item // bands % strips, item % bands
        line0, line1 = lines * strip // strips, lines * (strip + 1) // strips
        pair0, pair1 = pairs * band // bands, pairs * (band + 1) // bands
        # The time of AMX is proportional to rows: use as few as possible per row block.
        run = min(line1 - line0, grid[0]) * pitch
        rows = -(-run // -(-run // SIDE))
        configure_tiles(rows)
        row_blocks = 0
        for c0 in range(0, length, chunk):
            depth = min(chunk, length - c0)
            # Runs of lines within an image.
            at, begin = 0, line0
            while begin < line1:
                image = begin // grid[0]
                end = min(line1, (image + 1) * grid[0])
                top = begin % grid[0] + origin[0]
                for q in range(len(phases)):
                    destination = a[(q * plane + at) // 4 :]
                    _split_lines(
                        x, image, (top, origin[1]), end - begin + extra_rows, pitch,
                        (phases[q, 0], phases[q, 1]), in_stride, group * inputs + c0, depth,
                        pixel, padded, margins[0], destination,
                    )  # fmt: skip
                if c0 == 0:
                    count = _find_targets(
                        begin, end, grid, pitch, rows, y, first, out_stride, group * outputs,
                        targets[row_blocks:],
                    )  # fmt: skip
                    for n in range(count):
                        row_addresses[row_blocks + n] = a.ctypes.data + at + n * rows * pixel
                    row_blocks += count
                at += (end - begin + extra_rows) * pitch * pixel
                begin = end
            last = c0 + depth == length
            wide, halves = pair1 - pair0, (row_blocks + 1) // 2
            fill = -(-depth // BLOCK)
            for i in range(wide * halves):
                pair = pair0 + (i % wide if rows_outer else i // halves)
                row_block = 2 * (i // wide if rows_outer else i % halves)
                column = pair * WIDTH
                second = min(row_block + 1, row_blocks - 1)
                slot = (pair - pair0 if rows_outer else 0) * 2 * blocks
                columns, unsplit = split.ctypes.data + slot * BLOCK_BYTES, 0
                if row_block == 0 and split_here != (group, band):
                    panel = panels[group * pairs + pair]
                    if depth % BLOCK:
                        target = split[slot * _BLOCK_FLOATS :]
                        _split_panel(panel, segments, length, c0, depth, target)
                    else:
                        for s in range(segments):
                            reads[2, s] = panel[s * length + c0].ctypes.data
                        unsplit = reads[2].ctypes.data
                for s in range(segments):
                    reads[0, s] = row_addresses[row_block] + offsets[s]
                    reads[1, s] = columns + s * fill * BLOCK_BYTES
                n = (
                    ((pair - pair0) * ((max_row_blocks + 1) // 2) + row_block // 2)
                    if chunked
                    else 0
                )
                sums_at = sums.ctypes.data + n * sums_floats * 4
                multiply_tiles(
                    reads[0].ctypes.data, row_addresses[second] - row_addresses[row_block], pixel,
                    _PIXEL, _LINE, reads[1].ctypes.data, segments * fill * BLOCK_BYTES, _LINE,
                    BLOCK_BYTES, _TILE, segments, fill, sums_at, WIDTH * 4, c0, unsplit,
                )  # fmt: skip
                for half in range(second - row_block + 1 if last else 0):
                    store_sums(
                        sums_at + half * SIDE * WIDTH * 4, rows,
                        targets[row_block + half].ctypes.data, y.ctypes.data + column * 4,
                        bias.ctypes.data + (group * pairs + pair) * WIDTH * 4,
                        residual.ctypes.data + column * 4, min(WIDTH, outputs - column),
                        flags,
                    )  # fmt: skip
        if rows_outer and not chunked:
            split_here = (group, band)
    release_tiles()


def convolve_amx(
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    grid: Grid,
    groups: int,
    length: int,
    margins: Pair = (0, 0),
) -> None:
    """Convolve over the positions of ``grid`` and write to ``y``.

    Parameters are those of :func:`lucid.kernels.compiled.implicit_gemm.convolve`, and ``length``,
    the number of elements that a tap reads, and ``margins``, the zero pixels left and right of
    each line for taps that read several pixels.
    """
    plan = plan_amx(x.shape, panels, grid, groups, length, margins)
    run_amx(plan, x, panels, bias, residual, activation, y)


class Plan(NamedTuple):
    """All that the shapes of a convolution determine.

    Attributes
    ----------
    items : int
        Number of work items.
    groups, columns : int
        Shape to which a bias is padded.
    settings : tuple
        Arguments of the kernel.
    """

    items: int
    groups: int
    columns: int
    settings: tuple[Any, ...]


def plan_amx(
    shape: tuple[int, ...], panels: Array, grid: Grid, groups: int, length: int, margins: Pair
) -> Plan:
    """Plan the convolution of images of a shape (N, H, W, channels); see :func:`convolve_amx`."""
    pairs = len(panels) // groups
    if not shape[0] or not grid.rows or not grid.columns:
        return Plan(0, groups, pairs * WIDTH, ())
    offsets = tuple(grid.row_offsets.tolist()), tuple(grid.column_offsets.tolist())
    planes, strips, bands, chunk = _partition(
        shape, grid.rows, grid.columns, *offsets, grid.in_stride, sum(margins), pairs, groups,
        length, get_num_threads(),
    )  # fmt: skip
    size = (grid.rows, grid.columns)
    where = (size, grid.in_stride, *planes, grid.out_start, grid.out_stride, (strips, bands))
    settings = (*where, groups, length, chunk, margins)
    return Plan(groups * strips * bands, groups, pairs * WIDTH, settings)


def run_amx(
    plan: Plan,
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
) -> None:
    """Convolve images of the planned shape; see :func:`convolve_amx`."""
    start = bias
    if bias is None or len(bias) < plan.groups * plan.columns:
        filled = np.zeros((plan.groups, plan.columns), np.float32)
        if bias is not None:
            filled[:, : len(bias) // plan.groups] = bias.reshape(plan.groups, -1)
        start = filled.reshape(-1)
    fused = activation == RELU
    flags = (0 if residual is None else ADD) | (RELU if fused else 0)
    added = y if residual is None else residual
    parallel_for(_convolve, plan.items, x, panels, start, added, y, *plan.settings, flags)
    if not fused:
        activate(y, activation)


@functools.lru_cache(maxsize=1024)
def _partition(
    shape: tuple[int, int, int, int], height: int, count: int, rows: tuple[int, ...],
    columns: tuple[int, ...], in_stride: Pair, margin: int, pairs: int, groups: int, length: int,
    threads: int,
) -> tuple[Planes, int, int, int]:  # fmt: skip
    """Return the planes, the strips of lines and bands of panels of each group, and the chunk.

    With strips, every thread reads all weights; with bands, every thread splits all pixels.  The
    chunk, in channels, determines the order of summation, so it is that of the largest strips that
    any number of threads would have.
    """
    planes = planes_of(rows, columns, in_stride, count, shape[2] + margin)
    lines = shape[0] * height
    line = len(planes.phases) * planes.pitch
    max_row_blocks = max(1, _STRIP_BYTES // (line * -(-length // BLOCK) * _PIXEL))
    max_row_blocks = min(
        max(max_row_blocks, -(-_MIN_STRIP // planes.pitch)), -(-_MAX_STRIP // planes.pitch)
    )
    few = lines * planes.pitch < _SPLIT_COST_RATIO * len(planes.taps) * pairs * WIDTH
    at_least = -(-lines // max_row_blocks)
    if groups == 1 and not few:  # an even number, as two threads want it
        at_least = min(lines, max(_MIN_STRIPS, at_least + at_least % 2))
    strips, bands = at_least, 1
    if few and threads > 1 and pairs * groups >= threads:
        bands = -(-threads // groups)
    elif groups == 1:  # the same number for each
        strips = max(strips, min(threads * 2, lines))
        strips = min(lines, strips + -strips % threads)
    each = -(-lines // at_least)
    each += planes.extra_rows * (1 + each // height)
    return planes, strips, bands, max(1, _STRIP_BYTES // (each * line * _PIXEL)) * BLOCK
