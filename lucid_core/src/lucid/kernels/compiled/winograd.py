"""Winograd convolution F(4x4, 3x3) for 3x3 kernels at stride 1.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
(arXiv:1509.09308), section 4.  It takes a quarter of the multiplications of the direct sum, at a
relative error of about 1e-5 instead of 1e-6 (the transforms add and subtract terms up to 8
times as large).  ``LUCID_WINOGRAD=0`` in the environment turns it off.

Overlapping 6x6 input tiles give 4x4 outputs in three steps: transform the inputs, multiply by the
transformed weights (36 matrix products on the micro-kernel), transform the sums back.  Threads
divide the work in one of two ways:

- By tiles: a thread takes a block of tiles through all steps while they are in its cache.
- By panels of outputs, if weights outweigh inputs: all tiles are transformed first, then each
  thread computes some outputs of them.  Weights of a single call are transformed a chunk at a
  time, in the cache: transformed, they take four times the memory.

Outputs that do not fill the last panel are stored by way of a buffer.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import (
    ACCUMULATE,
    ADD,
    MR,
    NR,
    block_size,
    multiply_block,
)
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.winograd_transform import (
    INPUT,
    OUTPUT,
    transform_filters,
    transform_input,
    transform_output,
    transpose_squares,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["UnpackedFilters", "convolve_winograd", "enabled", "is_profitable", "transform_weights"]

Pair = tuple[int, int]

_POINTS = INPUT * INPUT
# A cache line in bytes.  Arrays are aligned to it, and planes of transformed tiles are padded by
# it, since at a distance of a power of two they would map to the same cache sets.
_LINE = 64
# By tiles: tiles per block, and bytes of their transformed inputs and sums.
_BLOCK_TILES, _BLOCK_BYTES = 48, 1 << 21
# By panels: largest number of tiles per block, and channels of weights transformed at a time.
_MAX_TILES, _CHUNK = 128, 128
# Packed weights go by panels if there are this many times more outputs than tiles.
_BY_PANELS_RATIO = 4
# Output pixels below which implicit GEMM is faster, with weights packed in every call or once.
_MIN_POSITIONS, _MIN_POSITIONS_KEPT = 32, 150


class UnpackedFilters(NamedTuple):
    """Filters (O, 3, 3, C) of a single call, and whether to transpose them."""

    w: Array
    transposed: bool


def enabled() -> bool:
    """Return whether the environment leaves Winograd convolutions on."""
    return os.environ.get("LUCID_WINOGRAD", "1") != "0"


def is_profitable(positions: int, channels: int, outputs: int, kept: bool) -> bool:
    """Return whether Winograd is faster for so many output pixels (``positions``)."""
    fits = channels % VL == 0 and channels >= 32 and outputs >= NR
    return enabled() and fits and positions >= (_MIN_POSITIONS_KEPT if kept else _MIN_POSITIONS)


@routine
def _transform_panel(
    w: Array, transposed: int, p: int, k0: int, count: int, u: int, plane: int, taps: Array
) -> None:
    """Transform panel ``p`` of filters ``w`` (O, 3, 3, C), from index ``k0`` of the sum on.

    The result ``u`` is (count, NR) for each point, ``plane`` bytes apart.
    """
    tap, square = w.shape[3] * 4, VL * VL * 4
    # In squares of filters and channels, since this may transpose.
    for k in range(0, count, VL):
        for j in range(0, NR, VL):
            target = u + (k * NR + j) * 4
            if transposed:
                source = w.ctypes.data + ((k0 + k) * 9 + 8) * tap + (p * NR + j) * 4
                transform_filters(source, -tap, 9 * tap, target, plane, NR * 4, VL)
            else:
                source = w.ctypes.data + (p * NR + j) * 9 * tap + (k0 + k) * 4
                transpose_squares(source, 9 * tap, tap, taps.ctypes.data, square, 9)
                source = taps.ctypes.data
                transform_filters(source, square, VL * 4, target, plane, NR * 4, VL)


@kernel
def _transform(start: int, stop: int, w: Array, transposed: int, u: Array) -> None:
    """Transform panels start..stop-1 of ``u`` (36, P, K, NR)."""
    _, panels, k, _ = u.shape
    taps = np.empty(9 * VL * VL, np.float32)
    for p in range(start, stop):
        _transform_panel(w, transposed, p, 0, k, u[0, p].ctypes.data, panels * k * NR * 4, taps)


def transform_weights(w: Array, transposed: bool = False) -> Array:
    """Transform filters (O, 3, 3, C) and pack them into panels (36, P, K, NR).

    ``transposed`` filters are rotated by 180 degrees, with outputs and channels exchanged.
    """
    w = _whole_panels(w, transposed)
    summed, wide = (w.shape[0], w.shape[3]) if transposed else (w.shape[3], w.shape[0])
    u = empty((_POINTS, wide // NR, summed, NR), np.float32)
    parallel_for(_transform, wide // NR, w, int(transposed), u)
    return u


def _whole_panels(w: Array, transposed: bool) -> Array:
    """Pad filters with zero outputs to whole panels."""
    axis = 3 if transposed else 0
    missing = -w.shape[axis] % NR
    if not missing:
        return w
    return np.pad(w, [(0, missing if i == axis else 0) for i in range(4)])


@routine
def _transform_tiles(x: Array, tiles: Pair, grid: Pair, padding: Pair, v: int, v_step: int) -> None:
    """Transform some tiles of ``x`` into 36 planes of (tiles, C) at ``v``."""
    _, h, w, channels = x.shape
    rows, columns = grid
    zeros = np.zeros(channels, np.float32)
    pixels = np.empty(_POINTS, np.int64)
    for tile in range(tiles[0], tiles[1]):
        image = tile // (rows * columns)
        y0 = tile // columns % rows * OUTPUT - padding[0]
        x0 = tile % columns * OUTPUT - padding[1]
        for i in range(INPUT):
            for j in range(INPUT):
                yy, xx = y0 + i, x0 + j
                at = ((image * h + yy) * w + xx) * channels
                inside = 0 <= yy < h and 0 <= xx < w
                pixels[INPUT * i + j] = x.ctypes.data + at * 4 if inside else zeros.ctypes.data
        target = v + (tile - tiles[0]) * channels * 4
        transform_input(pixels.ctypes.data, target, v_step, channels * 4)


@routine
def _multiply(
    v: int, v_step: int, count: int, channels: int, k0: int, k1: int,
    u: int, plane: int, prefetch_bytes: int, m: int, m_step: int,
) -> None:  # fmt: skip
    """Multiply ``count`` tiles by a panel at all points, summing over channels k0..k1-1.

    ``v`` has all channels, ``u`` only these; ``m`` is (36, tiles, NR), and accumulated if k0 > 0.
    """
    row_blocks = -(-count // MR)
    rows = np.empty((row_blocks, MR), np.int64)
    targets = np.empty((row_blocks, MR), np.int64)
    for q in range(row_blocks):
        for r in range(MR):
            # A row block that is not full repeats its first row.
            row = q * MR + r if q * MR + r < count else q * MR
            rows[q, r], targets[q, r] = (row * channels + k0) * 4, row * NR * 4
    sources = np.empty(MR, np.int64)
    b_table = np.empty(1, np.int64)
    zeros = np.zeros(NR, np.float32)
    flags = ACCUMULATE if k0 else 0
    for e in range(_POINTS):
        b_table[0] = u + e * plane
        for q in range(row_blocks):
            for r in range(MR):
                sources[r] = v + e * v_step + rows[q, r]
            multiply_block(
                block_size(min(MR, count - q * MR)), sources.ctypes.data, 1, k1 - k0,
                b_table.ctypes.data, NR * 4, targets[q].ctypes.data, m + e * m_step,
                zeros.ctypes.data, 0, flags, MR, prefetch_bytes if q == 0 else 0,
            )  # fmt: skip


@routine
def _transform_back_partial(
    m: int, m_step: int, tiles: Pair, grid: Pair, p: int,
    bias: Array, residual: Array, y: Array, flags: int,
) -> None:  # fmt: skip
    """Transform back as :func:`_transform_back`, for a last panel that is not full."""
    _, ho, wo, outputs = y.shape
    rows, columns = grid
    first = p * NR
    buffer = np.zeros((OUTPUT * OUTPUT, NR), np.float32)
    targets = np.arange(OUTPUT * OUTPUT) * (NR * 4)
    for tile in range(tiles[0], tiles[1]):
        image = tile // (rows * columns)
        y0, x0 = tile // columns % rows * OUTPUT, tile % columns * OUTPUT
        height, width = min(OUTPUT, ho - y0), min(OUTPUT, wo - x0)
        if flags & ADD:
            for i in range(height):
                for j in range(width):
                    for k in range(first, outputs):
                        value = residual[image, y0 + i, x0 + j, k]
                        buffer[OUTPUT * i + j, k - first] = value
        transform_output(
            m + (tile - tiles[0]) * NR * 4, m_step, bias.ctypes.data + first * 4,
            targets.ctypes.data, buffer.ctypes.data, buffer.ctypes.data, flags, NR * 4,
        )  # fmt: skip
        for i in range(height):
            for j in range(width):
                for k in range(first, outputs):
                    y[image, y0 + i, x0 + j, k] = buffer[OUTPUT * i + j, k - first]


@routine
def _transform_back(
    m: int, m_step: int, tiles: Pair, grid: Pair, p: int,
    bias: Array, residual: Array, y: Array, flags: int,
) -> None:  # fmt: skip
    """Transform the sums of some tiles and panel ``p`` back, and store the outputs."""
    _, ho, wo, outputs = y.shape
    rows, columns = grid
    targets = np.empty(OUTPUT * OUTPUT, np.int64)
    shift = p * NR * 4
    if (p + 1) * NR > outputs:
        _transform_back_partial(m, m_step, tiles, grid, p, bias, residual, y, flags)
        return
    for tile in range(tiles[0], tiles[1]):
        image = tile // (rows * columns)
        y0, x0 = tile // columns % rows * OUTPUT, tile % columns * OUTPUT
        # Outputs past the edge go to the last pixel inside, which is stored after them.
        for i in range(OUTPUT):
            for j in range(OUTPUT):
                yy, xx = min(y0 + i, ho - 1), min(x0 + j, wo - 1)
                targets[OUTPUT * i + j] = ((image * ho + yy) * wo + xx) * outputs * 4
        transform_output(
            m + (tile - tiles[0]) * NR * 4, m_step, bias.ctypes.data + shift,
            targets.ctypes.data, y.ctypes.data + shift, residual.ctypes.data + shift,
            flags, NR * 4,
        )  # fmt: skip


@kernel
def _by_tiles(
    start: int, stop: int, x: Array, u: Array, bias: Array, residual: Array, y: Array,
    grid: Pair, padding: Pair, blocks: int, flags: int,
) -> None:  # fmt: skip
    """Compute blocks start..stop-1 of all tiles, each through all steps."""
    channels = x.shape[3]
    tiles = len(x) * grid[0] * grid[1]
    max_tiles = -(-tiles // blocks)
    v_step, m_step = max_tiles * channels * 4 + _LINE, max_tiles * NR * 4 + _LINE
    panels = u.shape[1]
    plane = panels * channels * NR * 4
    buffer = np.empty((_POINTS * (v_step + m_step) + _LINE) // 4, np.float32)
    for block in range(start, stop):
        # Inside of the loop: Numba frees an array after its last use.
        v = -(-buffer.ctypes.data // _LINE) * _LINE
        m = v + _POINTS * v_step
        some = (tiles * block // blocks, tiles * (block + 1) // blocks)
        count = some[1] - some[0]
        _transform_tiles(x, some, grid, padding, v, v_step)
        for p in range(panels):
            panel = u[0, p].ctypes.data
            _multiply(
                v, v_step, count, channels, 0, channels, panel, plane, plane, m, m_step
            )  # fmt: skip
            _transform_back(m, m_step, some, grid, p, bias, residual, y, flags)


@kernel
def _transform_all(
    start: int, stop: int, x: Array, v: Array, v_step: int, grid: Pair, padding: Pair
) -> None:
    """Transform input tiles start..stop-1 for :func:`_by_panels`."""
    target = v.ctypes.data + start * x.shape[3] * 4
    _transform_tiles(x, (start, stop), grid, padding, target, v_step)


@kernel
def _by_panels(
    start: int, stop: int, v: Array, v_step: int, u: Array, w: Array, transposed: int,
    bias: Array, residual: Array, y: Array, channels: int, grid: Pair, blocks: int, flags: int,
) -> None:  # fmt: skip
    """Items start..stop-1: (panel, block of tiles).

    Panels are in ``u``, or if that is empty, transformed from ``w`` chunk by chunk.
    """
    tiles = len(y) * grid[0] * grid[1]
    max_tiles = -(-tiles // blocks)
    kept = u.shape[1] > 0
    chunk = channels if kept else min(channels, _CHUNK)
    m_step = max_tiles * NR * 4 + _LINE
    plane = u.shape[1] * channels * NR * 4 if kept else chunk * NR * 4 + _LINE
    buffer = np.empty((_POINTS * (m_step + (0 if kept else plane)) + _LINE) // 4, np.float32)
    taps = np.empty(9 * VL * VL, np.float32)
    for item in range(start, stop):
        m = -(-buffer.ctypes.data // _LINE) * _LINE
        p, block = item // blocks, item % blocks
        some = (tiles * block // blocks, tiles * (block + 1) // blocks)
        count = some[1] - some[0]
        begin = v.ctypes.data + some[0] * channels * 4
        for k0 in range(0, channels, chunk):
            k1 = min(channels, k0 + chunk)
            if kept:
                panel = u[0, p].ctypes.data
            else:
                panel = m + _POINTS * m_step
                _transform_panel(w, transposed, p, k0, k1 - k0, panel, plane, taps)
            _multiply(
                begin, v_step, count, channels, k0, k1, panel, plane,
                plane if kept else 0, m, m_step,
            )  # fmt: skip
        _transform_back(m, m_step, some, grid, p, bias, residual, y, flags)


def convolve_winograd(
    x: Array,
    weights: Array | UnpackedFilters,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    top: int,
    left: int,
) -> None:
    """Convolve ``x`` and write to ``y``.

    Parameters
    ----------
    x, y : numpy.ndarray
        (N, H, W, C) and (N, Ho, Wo, O), contiguous float32.
    weights : numpy.ndarray or UnpackedFilters
        From :func:`transform_weights`, or its arguments.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Added to the sums; the shape of ``y``.
    activation : int
        Code of the activation, applied last.
    top, left : int
        Rows and columns of zero padding.
    """
    n, ho, wo, outputs = y.shape
    channels = x.shape[3]
    grid, padding = (-(-ho // OUTPUT), -(-wo // OUTPUT)), (top, left)
    tiles = n * grid[0] * grid[1]
    if not tiles:
        return
    panels = -(-outputs // NR)
    start = np.zeros(panels * NR, np.float32)
    if bias is not None:
        start[:outputs] = bias
    added = y if residual is None else residual
    flags = (0 if residual is None else ADD) | activation
    kept = not isinstance(weights, UnpackedFilters)
    if tiles < outputs // (_BY_PANELS_RATIO if kept else 1):
        w, transposed = (np.empty((0, 3, 3, 1), np.float32), False) if kept else weights
        w = _whole_panels(w, transposed)
        u = weights if kept else np.empty((_POINTS, 0, 1, NR), np.float32)
        v_step = tiles * channels * 4 + _LINE
        v = empty((_POINTS * v_step // 4,), np.float32)
        parallel_for(_transform_all, tiles, x, v, v_step, grid, padding)
        wanted = min(-(-get_num_threads() // panels), -(-tiles // (2 * MR)))
        blocks = max(-(-tiles // _MAX_TILES), wanted)
        shape = (channels, grid, blocks, flags)
        arrays = (v, v_step, u, w, int(transposed), start, added, y)
        parallel_for(_by_panels, panels * blocks, *arrays, *shape)
        return
    u = weights if kept else transform_weights(*weights)
    fitting = _BLOCK_BYTES // (_POINTS * 4 * (channels + NR)) // MR * MR
    max_tiles = max(2 * MR, min(_BLOCK_TILES, fitting))
    blocks = -(-tiles // min(max_tiles, -(-tiles // get_num_threads())))
    parallel_for(_by_tiles, blocks, x, u, start, added, y, grid, padding, blocks, flags)
