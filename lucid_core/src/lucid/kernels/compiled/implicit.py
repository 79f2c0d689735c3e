"""Convolution without unfolding: windows are read in place, by tables of addresses.

One description serves forward passes and input gradients.  The *output grid* has
``rows x columns`` places for each image.  Its place (t, u) sums over taps (i, j) of the
source pixel (t * step + row_offset[i], u * step + column_offset[j]), zero outside of
the image, and is written to (first + t * pace, ...) of the result.  A forward
pass has offsets ``i * dilation - padding``; an input gradient reads output gradients at
``padding - i * dilation``, and with a stride it is one such sum for each phase of it.

Weights come packed: panels of NR outputs, for each of them K = taps * channels rows
of NR numbers (see :func:`pack`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ADD, NR, RELU, ROWS, block_size, multiply_block
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

Pair = tuple[int, int]

# Bytes of source pixels that a thread works on at a time: together with a panel of
# weights they should stay in a core's own cache.
_BLOCK_BYTES = 1 << 18
# Bytes of weights that may be gone through again for every few places.
_FEW_WEIGHTS = 1 << 18


class Grid(NamedTuple):
    """Where the sums are read and written; see the module."""

    rows: int
    columns: int
    step: Pair
    row_offsets: Array
    column_offsets: Array
    first: Pair
    pace: Pair


@kernel
def _pack(start: int, stop: int, w: Array, rows: Array, columns: Array, panels: Array) -> None:
    """Panels start..stop-1 of weights (O, kH, kW, C), summing over channels."""
    outputs, _, _, channels = w.shape
    width = panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        o0 = p * width
        count = min(width, outputs - o0)
        if count < width:
            panel[:, count:] = 0
        k = 0
        for i in rows:
            for j in columns:
                # In small squares, since reading runs across writing.
                for c0 in range(0, channels, 16):
                    c1 = min(c0 + 16, channels)
                    for o in range(count):
                        source = w[o0 + o, i, j]
                        for c in range(c0, c1):
                            panel[k + c, o] = source[c]
                k += channels


@kernel
def _pack_turned(
    start: int, stop: int, w: Array, rows: Array, columns: Array, panels: Array
) -> None:
    """Panels start..stop-1 of weights (O, kH, kW, C), summing over outputs."""
    outputs, _, _, channels = w.shape
    width = panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        c0 = p * width
        count = min(width, channels - c0)
        if count < width:
            panel[:, count:] = 0
        k = 0
        for i in rows:
            for j in columns:
                for o in range(outputs):
                    source, target = w[o, i, j], panel[k]
                    for c in range(count):
                        target[c] = source[c0 + c]
                    k += 1


def pack(w: Array, rows: Array, columns: Array, turned: bool = False) -> Array:
    """Weights as panels (P, K, NR).

    Parameters
    ----------
    w : numpy.ndarray
        (O, kH, kW, C), contiguous.
    rows, columns : numpy.ndarray of int64
        The taps to be packed: K = rows * columns * channels.
    turned : bool, default False
        Whether outputs and channels change places, as gradients of inputs need them.
    """
    summed, wide = (w.shape[0], w.shape[3]) if turned else (w.shape[3], w.shape[0])
    k = len(rows) * len(columns) * summed
    panels = empty((-(-wide // NR), k, NR), np.float32)
    grain = max(1, (1 << 15) // max(1, k * NR))
    packing = _pack_turned if turned else _pack
    parallel_for(packing, len(panels), w, rows, columns, panels, grain=grain)
    return panels


@kernel
def _begin(start: int, stop: int, y: Array, values: Array) -> None:
    if len(values):
        y[start:stop] = values[start:stop]
    else:
        y[start:stop] = 0


def begin(y: Array, values: Array | None) -> None:
    """Write values, or zeros, into ``y``, some of which nothing else will be written to.

    Both are contiguous and of one shape.
    """
    line = np.empty(0, y.dtype) if values is None else values.reshape(-1)
    parallel_for(_begin, y.size, y.reshape(-1), line, grain=1 << 17)


@routine
def _find_rows(
    place0: int, place1: int, x: Array, y: Array, zeros: Array, grid: Pair, step: Pair,
    row_offsets: Array, column_offsets: Array, first: Pair, pace: Pair, x0: int, y0: int,
    sources: Array, targets: Array,
) -> None:  # fmt: skip
    """Where the rows of places place0..place1-1 are read and written.

    ``sources`` (groups, segments, ROWS) are addresses, ``targets`` (groups, ROWS) offsets in
    bytes.  A group that is not full repeats its first row, which computes and
    stores the same again.
    """
    _, h, w, channels = x.shape
    rows, columns = grid
    groups = -(-(place1 - place0) // ROWS)
    for n in range(groups * ROWS):
        group, r = n // ROWS, n % ROWS
        place = place0 + n
        if place >= place1:
            place = place0 + group * ROWS
        image = place // (rows * columns)
        t, u = place // columns % rows, place % columns
        pixel = (image * y.shape[1] + first[0] + t * pace[0]) * y.shape[2]
        targets[group, r] = ((pixel + first[1] + u * pace[1]) * y.shape[3] + y0) * 4
        segment = 0
        for row_offset in row_offsets:
            sy = t * step[0] + row_offset
            for column_offset in column_offsets:
                sx = u * step[1] + column_offset
                if 0 <= sy < h and 0 <= sx < w:
                    at = ((image * h + sy) * w + sx) * channels + x0
                    sources[group, segment, r] = x.ctypes.data + at * 4
                else:
                    sources[group, segment, r] = zeros.ctypes.data
                segment += 1


@routine
def _store_ragged(
    block: Array, targets: Array, first: int, width: int, y: Array, residual: Array, flags: int
) -> None:
    """What a panel of fewer outputs than it is wide has computed, finished and copied."""
    flat, others = y.reshape(-1), residual.reshape(-1)
    for r in range(len(block)):
        at = targets[r] // 4 + first
        for j in range(width):
            value = block[r, j]
            if flags & ADD:
                value += others[at + j]
            if flags & RELU and value < 0:
                value = np.float32(0)
            flat[at + j] = value


@kernel
def _convolve(
    start: int,
    stop: int,
    x: Array,
    panels: Array,
    bias: Array,
    residual: Array,
    y: Array,
    grid: Pair,
    step: Pair,
    row_offsets: Array,
    column_offsets: Array,
    first: Pair,
    pace: Pair,
    tasks: Pair,
    length: int,
    x0: int,
    y0: int,
    outputs: int,
    flags: int,
) -> None:
    """Items start..stop-1 of ``tasks``: blocks of places x bands of panels.

    The taps of ``row_offsets`` x ``column_offsets`` are read as segments of ``length``
    numbers from channel ``x0`` on; ``outputs`` results go to channels from ``y0`` on.
    """
    blocks, bands = tasks
    places = len(x) * grid[0] * grid[1]
    n_panels, k, _ = panels.shape
    segments = len(row_offsets) * len(column_offsets)
    zeros = np.zeros(length, np.float32)
    largest = -(-places // blocks)
    most = -(-largest // ROWS)
    sources = np.empty((most, segments, ROWS), np.int64)
    targets = np.empty((most, ROWS), np.int64)
    b_table = np.empty(segments, np.int64)
    ragged = np.empty((ROWS, NR), np.float32)
    to_ragged = np.arange(ROWS) * (NR * 4)
    for item in range(start, stop):
        block, band = item // bands, item % bands
        place0, place1 = places * block // blocks, places * (block + 1) // blocks
        panel0, panel1 = n_panels * band // bands, n_panels * (band + 1) // bands
        groups, wide = -(-(place1 - place0) // ROWS), panel1 - panel0
        _find_rows(
            place0, place1, x, y, zeros, grid, step, row_offsets, column_offsets, first, pace,
            x0, y0, sources, targets,
        )  # fmt: skip
        # Few weights stay in the cache while group after group is finished, whole rows of
        # the result at a time; of many, one panel does while all groups go through it.
        by_group = wide * k * NR * 4 <= _FEW_WEIGHTS
        for n in range(groups * wide):
            group, p = (n // wide, n % wide) if by_group else (n % groups, n // groups)
            p += panel0
            for segment in range(segments):
                b_table[segment] = panels.ctypes.data + (p * k + segment * length) * NR * 4
            filled = min(ROWS, place1 - place0 - group * ROWS)
            width = min(NR, outputs - p * NR)
            whole = width == NR
            shift = p * NR * 4
            multiply_block(
                block_size(filled),
                sources[group].ctypes.data,
                segments,
                length,
                b_table.ctypes.data,
                NR * 4,
                targets[group].ctypes.data if whole else to_ragged.ctypes.data,
                y.ctypes.data + shift if whole else ragged.ctypes.data,
                bias.ctypes.data + shift,
                residual.ctypes.data + shift,
                flags if whole else 0,
                ROWS,
                # The next panel, while the first group goes through this one.
                k * NR * 4 if group == 0 and not by_group else 0,
            )
            if not whole:
                _store_ragged(
                    ragged[:filled], targets[group], p * NR, width, y, residual, flags
                )  # fmt: skip


def convolve(
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    relu: bool,
    y: Array,
    grid: Grid,
    outputs: int,
    x0: int = 0,
    y0: int = 0,
) -> None:
    """Sums over the places of ``grid``, written into ``y``.

    Parameters
    ----------
    x : numpy.ndarray
        Source, (N, H, W, channels), contiguous float32.
    panels : numpy.ndarray
        Packed weights (P, K, NR) of the grid's taps.
    bias : numpy.ndarray, optional
        Shape (outputs,).
    residual : numpy.ndarray, optional
        Added to the sums; the shape of ``y``, contiguous.
    relu : bool
        Whether negative results become 0, at the very end.
    y : numpy.ndarray
        Result, (N, Ho, Wo, channels), contiguous.
    grid : Grid
        Which places, and how they are read and written.
    outputs : int
        Channels of the result, from ``y0`` on.
    x0, y0 : int, default 0
        First channel that is read and written, for groups.
    """
    places = len(x) * grid.rows * grid.columns
    if not places:
        return
    start = np.zeros(len(panels) * NR, np.float32)
    if bias is not None:
        start[:outputs] = bias
    length = panels.shape[1] // (len(grid.row_offsets) * len(grid.column_offsets))
    tasks = _tasks(places, x, panels, grid)
    parallel_for(
        _convolve,
        tasks[0] * tasks[1],
        x,
        panels,
        start,
        y if residual is None else residual,
        y,
        (grid.rows, grid.columns),
        grid.step,
        grid.row_offsets,
        grid.column_offsets,
        grid.first,
        grid.pace,
        tasks,
        length,
        x0,
        y0,
        outputs,
        (0 if residual is None else ADD) | (RELU if relu else 0),
    )


def _tasks(places: int, x: Array, panels: Array, grid: Grid) -> Pair:
    """Into how many blocks of places, and bands of panels, to cut the work.

    What a thread reads again and again should fit its cache, and what all threads
    read should be little: large images are cut into places, large weights into panels.
    """
    threads = get_num_threads()
    per_place = max(1, x.shape[3] * 4 * grid.step[0] * grid.step[1])
    most = max(2 * ROWS, _BLOCK_BYTES // per_place)
    if panels.nbytes > places * per_place and threads > 1:
        bands = min(len(panels), 4 * threads)
        blocks = -(-places // most)
    else:
        bands = 1
        even = -(-places // (4 * threads))
        blocks = -(-places // max(ROWS, min(most, even)))
        if blocks > threads:  # as many for each
            blocks += -blocks % threads
    return blocks, bands
