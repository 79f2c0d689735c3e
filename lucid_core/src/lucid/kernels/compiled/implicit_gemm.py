"""Implicit GEMM convolution: the micro-kernel reads windows in place, by tables of addresses.

One description serves forward passes and input gradients.  The output grid has
``rows x columns`` positions per image.  Position (t, u) sums over taps (i, j) of the source pixel
(t * in_stride + row_offsets[i], u * in_stride + column_offsets[j]), zero outside of the image, and
is written to (out_start + t * out_stride, ...) of the result.  A forward pass has the offsets
``i * dilation - padding``; an input gradient has ``padding - i * dilation``, and one grid for each
phase of the stride.

Weights are packed into panels of NR outputs: K = taps * channels rows of NR elements.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lucid.kernels.compiled.activation import apply_activation
from lucid.kernels.compiled.jit import grain_of, kernel, routine
from lucid.kernels.compiled.microkernel import ADD, MR, NR, block_size, multiply_block
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

Pair = tuple[int, int]

# Bytes of source pixels of a block: with a panel of weights they fit the second-level cache.
_BLOCK_BYTES = 1 << 18
# Bytes of weights that may be read again for every block of MR rows.
_FEW_WEIGHTS = 1 << 18


class Grid(NamedTuple):
    """Output grid of a convolution, and where it reads and writes; see the module."""

    rows: int
    columns: int
    in_stride: Pair
    row_offsets: Array
    column_offsets: Array
    out_start: Pair
    out_stride: Pair


@kernel
def _pack(
    start: int, stop: int, w: Array, groups: int, rows: Array, columns: Array, panels: Array
) -> None:
    """Pack panels start..stop-1 of weights (O, kH, kW, C) for sums over channels."""
    channels = w.shape[3]
    per_group, wide, width = len(w) // groups, len(panels) // groups, panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        o0 = p // wide * per_group + p % wide * width
        count = min(width, per_group - p % wide * width)
        if count < width:
            panel[:, count:] = 0
        k = 0
        for i in rows:
            for j in columns:
                # In small squares, since this transposes.
                for c0 in range(0, channels, 16):
                    c1 = min(c0 + 16, channels)
                    for o in range(count):
                        source = w[o0 + o, i, j]
                        for c in range(c0, c1):
                            panel[k + c, o] = source[c]
                k += channels


@kernel
def _pack_transposed(
    start: int, stop: int, w: Array, groups: int, rows: Array, columns: Array, panels: Array
) -> None:
    """Pack panels start..stop-1 of weights (O, kH, kW, C) for sums over outputs."""
    channels = w.shape[3]
    per_group, wide, width = len(w) // groups, len(panels) // groups, panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        o0, c0 = p // wide * per_group, p % wide * width
        count = min(width, channels - c0)
        if count < width:
            panel[:, count:] = 0
        k = 0
        for i in rows:
            for j in columns:
                for o in range(o0, o0 + per_group):
                    source, target = w[o, i, j], panel[k]
                    for c in range(count):
                        target[c] = source[c0 + c]
                    k += 1


def pack(w: Array, groups: int, rows: Array, columns: Array, transposed: bool = False) -> Array:
    """Pack weights into panels (P, K, NR), group after group.

    Parameters
    ----------
    w : numpy.ndarray
        (O, kH, kW, C / groups), contiguous.
    groups : int
    rows, columns : numpy.ndarray of int64
        Taps to pack: K = rows * columns * channels.
    transposed : bool, default False
        Whether to exchange outputs and channels, for input gradients.
    """
    per_group, channels = len(w) // groups, w.shape[3]
    summed, wide = (per_group, channels) if transposed else (channels, per_group)
    k = len(rows) * len(columns) * summed
    panels = empty((groups * -(-wide // NR), k, NR), np.float32)
    grain = max(1, (1 << 15) // max(1, k * NR))
    packing = _pack_transposed if transposed else _pack
    parallel_for(packing, len(panels), w, groups, rows, columns, panels, grain=grain)
    return panels


@kernel
def _initialize_output(start: int, stop: int, y: Array, values: Array) -> None:
    if len(values):
        y[start:stop] = values[start:stop]
    else:
        y[start:stop] = 0


def initialize_output(y: Array, values: Array | None) -> None:
    """Fill ``y`` with ``values`` of the same shape, or zeros; both are contiguous."""
    flat = np.empty(0, y.dtype) if values is None else values.reshape(-1)
    parallel_for(_initialize_output, y.size, y.reshape(-1), flat, grain=1 << 17)


@kernel
def _pad(start: int, stop: int, x: Array, y: Array, top: int, left: int) -> None:
    """Item = one row of the padded image; x (N, H, W * C), y (N, H', W' * C)."""
    _, height, width = x.shape
    rows = y.shape[1]
    for item in range(start, stop):
        n, i = item // rows, item % rows
        row = y[n, i]
        if top <= i < top + height:
            row[:left] = 0
            row[left : left + width] = x[n, i - top]
            row[left + width :] = 0
        else:
            row[:] = 0


def pad_image(x: Array, padding: tuple[Pair, Pair]) -> Array:
    """Pad contiguous images (N, H, W, C) with zeros."""
    (top, bottom), (left, right) = padding
    n, h, w, c = x.shape
    height, width = h + top + bottom, w + left + right
    y = empty((n, height, width, c), x.dtype)
    arguments = (x.reshape(n, h, w * c), y.reshape(n, height, width * c), top, left * c)
    parallel_for(_pad, n * height, *arguments, grain=grain_of(width * c))
    return y


@routine
def find_addresses(
    size: int, position0: int, position1: int, x: Array, y: Array, zeros: Array, grid: Pair,
    in_stride: Pair, row_offsets: Array, column_offsets: Array, out_start: Pair, out_stride: Pair,
    x0: int, y0: int,
    sources: Array, targets: Array,
) -> None:  # fmt: skip
    """Find the source addresses and output offsets of positions position0..position1-1.

    They form row blocks of ``size``: ``sources`` (blocks, segments, size) are addresses,
    ``targets`` (blocks, size) are offsets in bytes.  A block that is not full repeats its
    first row.
    """
    _, h, w, channels = x.shape
    rows, columns = grid
    row_blocks = -(-(position1 - position0) // size)
    for n in range(row_blocks * size):
        row_block, r = n // size, n % size
        position = position0 + n
        if position >= position1:
            position = position0 + row_block * size
        image = position // (rows * columns)
        t, u = position // columns % rows, position % columns
        pixel = (image * y.shape[1] + out_start[0] + t * out_stride[0]) * y.shape[2]
        targets[row_block, r] = ((pixel + out_start[1] + u * out_stride[1]) * y.shape[3] + y0) * 4
        segment = 0
        for row_offset in row_offsets:
            sy = t * in_stride[0] + row_offset
            for column_offset in column_offsets:
                sx = u * in_stride[1] + column_offset
                if 0 <= sy < h and 0 <= sx < w:
                    at = ((image * h + sy) * w + sx) * channels + x0
                    sources[row_block, segment, r] = x.ctypes.data + at * 4
                else:
                    sources[row_block, segment, r] = zeros.ctypes.data
                segment += 1


@routine
def _store_partial_panel(
    block: Array, targets: Array, first: int, width: int, y: Array, residual: Array, flags: int
) -> None:
    """Store a block of the last panel, which has more columns than there are outputs.

    With ADD, the residual and the activation are still to be applied.
    """
    flat, others = y.reshape(-1), residual.reshape(-1)
    for r in range(len(block)):
        at = targets[r] // 4 + first
        row = block[r, :width]
        if flags & ADD:
            for j in range(width):
                row[j] += others[at + j]
            apply_activation(row, flags & ~ADD)
        for j in range(width):
            flat[at + j] = row[j]


@kernel
def _convolve(
    start: int, stop: int, x: Array, panels: Array, bias: Array, residual: Array, y: Array,
    grid: Pair, in_stride: Pair, row_offsets: Array, column_offsets: Array, out_start: Pair,
    out_stride: Pair, tasks: Pair, groups: int, length: int, flags: int,
) -> None:  # fmt: skip
    """Items start..stop-1: groups x ``tasks``, which are blocks of positions x bands of panels.

    The taps ``row_offsets`` x ``column_offsets`` are read as segments of ``length`` elements from a
    group's first channel on.
    """
    blocks, bands = tasks
    positions = len(x) * grid[0] * grid[1]
    n_panels, k = len(panels) // groups, panels.shape[1]
    inputs, outputs = x.shape[3] // groups, y.shape[3] // groups
    segments = len(row_offsets) * len(column_offsets)
    zeros = np.zeros(length, np.float32)
    largest_block = -(-positions // blocks)
    max_row_blocks = -(-largest_block // MR)
    sources = np.empty((max_row_blocks, segments, MR), np.int64)
    targets = np.empty((max_row_blocks, MR), np.int64)
    b_table = np.empty(segments, np.int64)
    partial = np.empty((MR, NR), np.float32)
    to_partial = np.arange(MR) * (NR * 4)
    for item in range(start, stop):
        group, block, band = item // (blocks * bands), item // bands % blocks, item % bands
        position0, position1 = positions * block // blocks, positions * (block + 1) // blocks
        panel0, panel1 = n_panels * band // bands, n_panels * (band + 1) // bands
        row_blocks, wide = -(-(position1 - position0) // MR), panel1 - panel0
        find_addresses(
            MR, position0, position1, x, y, zeros, grid, in_stride, row_offsets, column_offsets,
            out_start, out_stride,
            group * inputs, group * outputs, sources, targets,
        )  # fmt: skip
        # Few weights: they stay in the cache, and all panels of a row block are computed in turn.
        # Many: one panel stays there for all row blocks.
        rows_outer = wide * k * NR * 4 <= _FEW_WEIGHTS
        for n in range(row_blocks * wide):
            row_block, p = (
                (n // wide, n % wide) if rows_outer else (n % row_blocks, n // row_blocks)
            )
            p += panel0
            panel = group * n_panels + p
            for segment in range(segments):
                b_table[segment] = panels.ctypes.data + (panel * k + segment * length) * NR * 4
            filled = min(MR, position1 - position0 - row_block * MR)
            width = min(NR, outputs - p * NR)
            whole = width == NR
            shift = p * NR * 4
            multiply_block(
                block_size(filled),
                sources[row_block].ctypes.data,
                segments,
                length,
                b_table.ctypes.data,
                NR * 4,
                targets[row_block].ctypes.data if whole else to_partial.ctypes.data,
                y.ctypes.data + shift if whole else partial.ctypes.data,
                bias.ctypes.data + panel * NR * 4,
                residual.ctypes.data + shift,
                flags if whole or not flags & ADD else 0,
                MR,
                # The next panel, while the first row block uses this one.
                k * NR * 4 if row_block == 0 and not rows_outer else 0,
            )
            if not whole:
                _store_partial_panel(
                    partial[:filled], targets[row_block], p * NR, width, y, residual, flags
                )  # fmt: skip


def convolve(
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    grid: Grid,
    groups: int,
) -> None:
    """Convolve over the positions of ``grid`` and write to ``y``.

    Parameters
    ----------
    x : numpy.ndarray
        Source, (N, H, W, channels), contiguous float32.
    panels : numpy.ndarray
        Weights (P, K, NR) from :func:`pack`, of the grid's taps.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Added to the sums; contiguous, the shape of ``y``.
    activation : int
        Code of the activation, applied last.
    y : numpy.ndarray
        Result, (N, Ho, Wo, O), contiguous.
    grid : Grid
    groups : int
    """
    positions = len(x) * grid.rows * grid.columns
    if not positions:
        return
    start = np.zeros((groups, len(panels) // groups * NR), np.float32)
    if bias is not None:
        start[:, : y.shape[3] // groups] = bias.reshape(groups, -1)
    length = panels.shape[1] // (len(grid.row_offsets) * len(grid.column_offsets))
    tasks = partition(positions, x, panels, grid, groups)
    parallel_for(
        _convolve, groups * tasks[0] * tasks[1], x, panels, start.reshape(-1),
        y if residual is None else residual, y, (grid.rows, grid.columns), grid.in_stride,
        grid.row_offsets, grid.column_offsets, grid.out_start, grid.out_stride, tasks, groups,
        length, (0 if residual is None else ADD) | activation,
    )  # fmt: skip


def partition(positions: int, x: Array, panels: Array, grid: Grid, groups: int) -> Pair:
    """Return the number of blocks of positions, and of bands of panels, of each group.

    A block fits the cache; large images are cut into positions, large weights into panels.
    """
    threads = get_num_threads()
    per_position = max(1, x.shape[3] // groups * 4 * grid.in_stride[0] * grid.in_stride[1])
    most = max(2 * MR, _BLOCK_BYTES // per_position)
    if panels.nbytes > positions * per_position * groups and threads > 1:
        bands = min(len(panels) // groups, -(-4 * threads // groups))
        blocks = -(-positions // most)
    else:
        bands = 1
        even = -(-positions * groups // (4 * threads))
        blocks = -(-positions // max(MR, min(most, even)))
        if groups == 1 and blocks > threads:  # the same number for each
            blocks += -blocks % threads
    return blocks, bands
