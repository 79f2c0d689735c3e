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

from lucid.kernels.compiled.activation import apply_activation
from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ADD, NR, ROWS, block_size, multiply_block
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
def _pack(
    start: int, stop: int, w: Array, groups: int, rows: Array, columns: Array, panels: Array
) -> None:
    """Panels start..stop-1 of weights (O, kH, kW, C), summing over channels."""
    channels = w.shape[3]
    each, wide, width = len(w) // groups, len(panels) // groups, panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        o0 = p // wide * each + p % wide * width
        count = min(width, each - p % wide * width)
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
def _pack_transposed(
    start: int, stop: int, w: Array, groups: int, rows: Array, columns: Array, panels: Array
) -> None:
    """Panels start..stop-1 of weights (O, kH, kW, C), summing over outputs."""
    channels = w.shape[3]
    each, wide, width = len(w) // groups, len(panels) // groups, panels.shape[2]
    for p in range(start, stop):
        panel = panels[p]
        o0, c0 = p // wide * each, p % wide * width
        count = min(width, channels - c0)
        if count < width:
            panel[:, count:] = 0
        k = 0
        for i in rows:
            for j in columns:
                for o in range(o0, o0 + each):
                    source, target = w[o, i, j], panel[k]
                    for c in range(count):
                        target[c] = source[c0 + c]
                    k += 1


def pack(w: Array, groups: int, rows: Array, columns: Array, transposed: bool = False) -> Array:
    """Weights as panels (P, K, NR), those of one group after those of another.

    Parameters
    ----------
    w : numpy.ndarray
        (O, kH, kW, C), contiguous; C channels of the group that an output belongs to.
    groups : int
    rows, columns : numpy.ndarray of int64
        The taps to be packed: K = rows * columns * channels.
    transposed : bool, default False
        Whether outputs and channels change places, as gradients of inputs need them.
    """
    each, channels = len(w) // groups, w.shape[3]
    summed, wide = (each, channels) if transposed else (channels, each)
    k = len(rows) * len(columns) * summed
    panels = empty((groups * -(-wide // NR), k, NR), np.float32)
    grain = max(1, (1 << 15) // max(1, k * NR))
    packing = _pack_transposed if transposed else _pack
    parallel_for(packing, len(panels), w, groups, rows, columns, panels, grain=grain)
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
def find_addresses(
    size: int, place0: int, place1: int, x: Array, y: Array, zeros: Array, grid: Pair, step: Pair,
    row_offsets: Array, column_offsets: Array, first: Pair, pace: Pair, x0: int, y0: int,
    sources: Array, targets: Array,
) -> None:  # fmt: skip
    """Where the rows of places place0..place1-1 are read and written, in bundles of ``size``.

    ``sources`` (bundles, segments, rows) are addresses, ``targets`` (bundles, rows) offsets in
    bytes.  A bundle that is not full repeats its first row, which computes and
    stores the same again.
    """
    _, h, w, channels = x.shape
    rows, columns = grid
    bundles = -(-(place1 - place0) // size)
    for n in range(bundles * size):
        bundle, r = n // size, n % size
        place = place0 + n
        if place >= place1:
            place = place0 + bundle * size
        image = place // (rows * columns)
        t, u = place // columns % rows, place % columns
        pixel = (image * y.shape[1] + first[0] + t * pace[0]) * y.shape[2]
        targets[bundle, r] = ((pixel + first[1] + u * pace[1]) * y.shape[3] + y0) * 4
        segment = 0
        for row_offset in row_offsets:
            sy = t * step[0] + row_offset
            for column_offset in column_offsets:
                sx = u * step[1] + column_offset
                if 0 <= sy < h and 0 <= sx < w:
                    at = ((image * h + sy) * w + sx) * channels + x0
                    sources[bundle, segment, r] = x.ctypes.data + at * 4
                else:
                    sources[bundle, segment, r] = zeros.ctypes.data
                segment += 1


@routine
def _store_partial_panel(
    block: Array, targets: Array, first: int, width: int, y: Array, residual: Array, flags: int
) -> None:
    """Copy what a panel of fewer outputs than it is wide has computed.

    With ADD the residual and the activation are still to come.
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
    groups: int,
    length: int,
    flags: int,
) -> None:
    """Items start..stop-1: groups x ``tasks``, which are blocks of places x bands of panels.

    The taps of ``row_offsets`` x ``column_offsets`` are read as segments of ``length``
    numbers from a group's first channel on.
    """
    blocks, bands = tasks
    places = len(x) * grid[0] * grid[1]
    n_panels, k = len(panels) // groups, panels.shape[1]
    inputs, outputs = x.shape[3] // groups, y.shape[3] // groups
    segments = len(row_offsets) * len(column_offsets)
    zeros = np.zeros(length, np.float32)
    largest = -(-places // blocks)
    most = -(-largest // ROWS)
    sources = np.empty((most, segments, ROWS), np.int64)
    targets = np.empty((most, ROWS), np.int64)
    b_table = np.empty(segments, np.int64)
    partial = np.empty((ROWS, NR), np.float32)
    to_partial = np.arange(ROWS) * (NR * 4)
    for item in range(start, stop):
        group, block, band = item // (blocks * bands), item // bands % blocks, item % bands
        place0, place1 = places * block // blocks, places * (block + 1) // blocks
        panel0, panel1 = n_panels * band // bands, n_panels * (band + 1) // bands
        bundles, wide = -(-(place1 - place0) // ROWS), panel1 - panel0
        find_addresses(
            ROWS, place0, place1, x, y, zeros, grid, step, row_offsets, column_offsets, first, pace,
            group * inputs, group * outputs, sources, targets,
        )  # fmt: skip
        # Few weights stay in the cache while bundle after bundle is finished, whole rows of
        # the result at a time; of many, one panel does while all bundles go through it.
        by_bundle = wide * k * NR * 4 <= _FEW_WEIGHTS
        for n in range(bundles * wide):
            bundle, p = (n // wide, n % wide) if by_bundle else (n % bundles, n // bundles)
            p += panel0
            panel = group * n_panels + p
            for segment in range(segments):
                b_table[segment] = panels.ctypes.data + (panel * k + segment * length) * NR * 4
            filled = min(ROWS, place1 - place0 - bundle * ROWS)
            width = min(NR, outputs - p * NR)
            whole = width == NR
            shift = p * NR * 4
            multiply_block(
                block_size(filled),
                sources[bundle].ctypes.data,
                segments,
                length,
                b_table.ctypes.data,
                NR * 4,
                targets[bundle].ctypes.data if whole else to_partial.ctypes.data,
                y.ctypes.data + shift if whole else partial.ctypes.data,
                bias.ctypes.data + panel * NR * 4,
                residual.ctypes.data + shift,
                flags if whole or not flags & ADD else 0,
                ROWS,
                # The next panel, while the first bundle goes through this one.
                k * NR * 4 if bundle == 0 and not by_bundle else 0,
            )
            if not whole:
                _store_partial_panel(
                    partial[:filled], targets[bundle], p * NR, width, y, residual, flags
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
    """Sums over the places of ``grid``, written into ``y``.

    Parameters
    ----------
    x : numpy.ndarray
        Source, (N, H, W, channels), contiguous float32.
    panels : numpy.ndarray
        Weights (P, K, NR) of :func:`pack`, of the grid's taps.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Added to the sums; the shape of ``y``, contiguous.
    activation : int
        Code of the activation, which comes last.
    y : numpy.ndarray
        Result, (N, Ho, Wo, O), contiguous.
    grid : Grid
        Which places, and how they are read and written.
    groups : int
        Blocks of channels that do not see each other.
    """
    places = len(x) * grid.rows * grid.columns
    if not places:
        return
    start = np.zeros((groups, len(panels) // groups * NR), np.float32)
    if bias is not None:
        start[:, : y.shape[3] // groups] = bias.reshape(groups, -1)
    length = panels.shape[1] // (len(grid.row_offsets) * len(grid.column_offsets))
    tasks = partition(places, x, panels, grid, groups)
    parallel_for(
        _convolve,
        groups * tasks[0] * tasks[1],
        x,
        panels,
        start.reshape(-1),
        y if residual is None else residual,
        y,
        (grid.rows, grid.columns),
        grid.step,
        grid.row_offsets,
        grid.column_offsets,
        grid.first,
        grid.pace,
        tasks,
        groups,
        length,
        (0 if residual is None else ADD) | activation,
    )


def partition(places: int, x: Array, panels: Array, grid: Grid, groups: int) -> Pair:
    """Into how many blocks of places, and bands of panels, to cut the work of each group.

    What a thread reads again and again should fit its cache, and what all threads
    read should be little: large images are cut into places, large weights into panels.
    """
    threads = get_num_threads()
    per_place = max(1, x.shape[3] // groups * 4 * grid.step[0] * grid.step[1])
    most = max(2 * ROWS, _BLOCK_BYTES // per_place)
    if panels.nbytes > places * per_place * groups and threads > 1:
        bands = min(len(panels) // groups, -(-4 * threads // groups))
        blocks = -(-places // most)
    else:
        bands = 1
        even = -(-places * groups // (4 * threads))
        blocks = -(-places // max(ROWS, min(most, even)))
        if groups == 1 and blocks > threads:  # as many for each
            blocks += -blocks % threads
    return blocks, bands
