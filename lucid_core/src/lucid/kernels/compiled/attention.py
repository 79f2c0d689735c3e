"""Scaled dot-product attention that never stores the scores of a whole head.

Tiles of scores stay in the second-level cache, as in Dao et al., "FlashAttention: Fast and
Memory-Efficient Exact Attention with IO-Awareness", 2022: the forward pass keeps the running
maximum and sum of each row, and the backward pass recomputes the probabilities from the logarithm
of the sum.  The products run in the micro-kernel, which reads queries in place; keys are packed
into transposed panels, the other operands into panels.

Arrays may have any strides as long as rows are contiguous, so heads that were split from one
projection are not copied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.kernels.compiled.jit import dense, kernel, reordering_routine, routine
from lucid.kernels.compiled.microkernel import (
    ACCUMULATE,
    MR,
    NR,
    block_size,
    multiply_block,
    multiply_transposed,
)
from lucid.kernels.compiled.panels import (
    find_rows,
    flatten_matrices,
    pack_rows,
    pack_transposed,
)
from lucid.kernels.compiled.softmax_ir import recompute_row, softmax_row
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.reference import attention as reference
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["attention", "attention_backward"]

_VECTORS = NR // VL
# Maximum number of keys, and of rows in the backward pass, of a tile of scores.
_TILE_KEYS = 256
_TILE_ROWS = 9 * MR
# Rows of an item of the forward pass: more share the packed keys, fewer occupy more threads.
_MIN_ROWS, _MAX_ROWS = 4 * MR, 24 * MR
# Items of the backward pass, if there are fewer heads, and keys that are worth one.
_ITEMS, _ITEM_KEYS = 8, 128


@routine
def _multiply(
    a: Array, filled: int, length: int, panels: Array, count: int, y: Array, zeros: Array,
    flags: int, targets: Array,
) -> None:  # fmt: skip
    """Multiply the rows of A at the addresses ``a`` by ``count`` panels, into the rows of ``y``."""
    b_table = np.empty(1, np.int64)
    find_rows(0, y.shape[1] * 4, filled, targets)
    for p in range(count):
        b_table[0] = panels[p].ctypes.data
        multiply_block(
            block_size(filled), a.ctypes.data, 1, length, b_table.ctypes.data, NR * 4,
            targets.ctypes.data, y.ctypes.data + p * NR * 4, zeros.ctypes.data, 0, flags, MR, 0,
        )  # fmt: skip


@routine
def _load_bias(bias: Array, at: int, count: int, row: Array) -> None:
    """Load a row of the bias that begins at an index, or leave zeros without a bias."""
    if len(bias):
        for j in range(count):
            row[j] = bias[at + j]


@kernel
def _attend(
    start: int, stop: int, q: Array, k: Array, v: Array, bias: Array, y: Array, log_sum: Array,
    offsets: Array, steps: tuple[int, ...], sizes: tuple[int, ...], scale: Array, blocks: int,
    causal: int,
) -> None:  # fmt: skip
    """Item = one block of queries of one head.

    The arrays are flat; ``offsets`` (heads, 5) are the indices of the heads in q, k, v, bias and
    y, and ``steps`` the distances of their rows.
    """
    rows, keys, length, width = sizes
    panels, wide = -(-keys // NR), -(-width // NR)
    tiles = -(-panels * NR // _TILE_KEYS)
    tile_panels = -(-panels // tiles)
    most = -(-rows // blocks)
    k_panels = np.empty((tile_panels, length, NR), np.float32)
    v_panels = np.empty((wide, tile_panels * NR, NR), np.float32)
    scores = np.empty((MR, tile_panels * NR), np.float32)
    sums = np.empty((most, wide * NR), np.float32)
    bias_row = np.zeros(tile_panels * NR, np.float32)
    zeros = np.zeros(NR, np.float32)
    largest, total = np.empty(most, np.float32), np.empty(most, np.float32)
    state = np.empty(3, np.float32)
    state[0] = scale[0]
    sources, targets = np.empty(MR, np.int64), np.empty(MR, np.int64)
    for item in range(start, stop):
        head, block = item // blocks, item % blocks
        q_at, k_at, v_at = offsets[head, 0], offsets[head, 1], offsets[head, 2]
        bias_at, y_at = offsets[head, 3], offsets[head, 4]
        row0, row1 = rows * block // blocks, rows * (block + 1) // blocks
        largest[:], total[:] = -np.inf, 0
        for tile in range(tiles):
            panel0, panel1 = panels * tile // tiles, panels * (tile + 1) // tiles
            key0 = panel0 * NR
            count = min(panel1 * NR, keys) - key0
            if causal and key0 >= row1:
                break
            pack_transposed(
                k.ctypes.data + (k_at + key0 * steps[1]) * 4, steps[1] * 4, count, length,
                k_panels[: panel1 - panel0],
            )  # fmt: skip
            pack_rows(
                v.ctypes.data + (v_at + key0 * steps[2]) * 4, steps[2] * 4, count, width, v_panels
            )
            for first in range(row0, row1, MR):
                filled = min(MR, row1 - first)
                seen = min(count, first + filled - key0) if causal else count
                if seen <= 0:
                    continue
                seen_panels = -(-seen // NR)
                find_rows(
                    q.ctypes.data + (q_at + first * steps[0]) * 4, steps[0] * 4, filled, sources
                )
                _multiply(sources, filled, length, k_panels, seen_panels, scores, zeros, 0, targets)
                for r in range(filled):
                    valid = min(count, first + r + 1 - key0) if causal else count
                    _load_bias(bias, bias_at + (first + r) * steps[3] + key0, count, bias_row)
                    n = first + r - row0
                    before = largest[n]
                    state[1] = before
                    softmax_row(
                        scores[r].ctypes.data, seen_panels * _VECTORS, bias_row.ctypes.data,
                        valid, state.ctypes.data,
                    )  # fmt: skip
                    largest[n] = state[1]
                    # exp(before - largest) rescales the earlier tiles, all 0 if there were none.
                    factor = np.float32(1)
                    if before != state[1] and tile:
                        factor = np.float32(math.exp(before - state[1]))
                        for j in range(width):
                            sums[n, j] *= factor
                    total[n] = total[n] * factor + state[2]
                find_rows(scores.ctypes.data, scores.shape[1] * 4, filled, sources)
                _multiply(
                    sources, filled, seen, v_panels, wide, sums[first - row0 :], zeros,
                    ACCUMULATE if tile else 0, targets,
                )  # fmt: skip
        for n in range(row1 - row0):
            row = y[y_at + (row0 + n) * steps[4] :]
            if total[n] == 0:
                row[:width] = 0
                log_sum[head, row0 + n] = np.inf
            else:
                factor = np.float32(1) / total[n]
                for j in range(width):
                    row[j] = sums[n, j] * factor
                log_sum[head, row0 + n] = largest[n] + math.log(total[n])


@reordering_routine
def _dot(a: Array, b: Array) -> Any:
    """Compute the dot product of two vectors."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@routine
def _accumulate_transposed(
    a: Array, count: int, length: int, panels: Array, y: Array, zeros: Array, flags: int,
    targets: Array,
) -> None:  # fmt: skip
    """Multiply the transposed rows 0..length-1 of ``a`` by panels, into ``count`` rows of ``y``.

    Rows of ``y`` up to a multiple of MR are overwritten.
    """
    a_table, b_table = np.empty(1, np.int64), np.empty(1, np.int64)
    step = y.shape[1] * 4
    for p in range(len(panels)):
        b_table[0] = panels[p].ctypes.data
        for first in range(0, count, MR):
            a_table[0] = a.ctypes.data + first * 4
            find_rows(first * step, step, MR, targets)
            multiply_transposed(
                block_size(min(MR, count - first)), a_table.ctypes.data, 1, length,
                b_table.ctypes.data, NR * 4, targets.ctypes.data, y.ctypes.data + p * NR * 4,
                zeros.ctypes.data, 0, flags, a.shape[1] * 4, 0,
            )  # fmt: skip


@kernel
def _attend_backward(
    start: int, stop: int, g: Array, q: Array, k: Array, v: Array, bias: Array, y: Array,
    log_sum: Array, gq: Array, gk: Array, gv: Array, offsets: Array, steps: tuple[int, ...],
    sizes: tuple[int, ...], scale: Array, splits: int, causal: int,
) -> None:  # fmt: skip
    """Item = one range of keys of one head.

    ``offsets`` and ``steps`` are in the order q, k, v, bias, y, g, gk, gv; ``gq`` is (heads,
    splits, rows, length), one partial sum for each range.
    """
    rows, keys, length, width = sizes
    panels, long, wide = -(-keys // NR), -(-length // NR), -(-width // NR)
    split_panels = -(-panels // splits)
    tiles = -(-split_panels * NR // _TILE_KEYS)
    tile_panels = -(-split_panels // tiles)
    row_blocks = -(-rows // MR)
    row_tiles = -(-row_blocks * MR // _TILE_ROWS)
    tile_rows = -(-row_blocks // row_tiles) * MR
    columns = -(-tile_panels * NR // MR) * MR
    k_transposed = np.empty((tile_panels, length, NR), np.float32)
    v_transposed = np.empty((tile_panels, width, NR), np.float32)
    k_panels = np.empty((long, tile_panels * NR, NR), np.float32)
    q_panels = np.empty((long, tile_rows, NR), np.float32)
    g_panels = np.empty((wide, tile_rows, NR), np.float32)
    scores = np.empty((tile_rows, columns), np.float32)
    gscores = np.empty((tile_rows, columns), np.float32)
    gq_rows = np.empty((MR, long * NR), np.float32)
    gk_rows = np.empty((columns, long * NR), np.float32)
    gv_rows = np.empty((columns, wide * NR), np.float32)
    bias_row, zeros = np.zeros(tile_panels * NR, np.float32), np.zeros(NR, np.float32)
    delta, state = np.empty(rows, np.float32), np.empty(2, np.float32)
    factor = scale[0]
    state[0] = factor
    sources, targets = np.empty(MR, np.int64), np.empty(MR, np.int64)
    for item in range(start, stop):
        head, split = item // splits, item % splits
        q_at, k_at, v_at = offsets[head, 0], offsets[head, 1], offsets[head, 2]
        bias_at, y_at, g_at = offsets[head, 3], offsets[head, 4], offsets[head, 5]
        gk_at, gv_at = offsets[head, 6], offsets[head, 7]
        partial = gq[head, split]
        partial[:] = 0
        for i in range(rows):
            g_row, y_row = g[g_at + i * steps[5] :], y[y_at + i * steps[4] :]
            delta[i] = _dot(g_row[:width], y_row[:width])
        first_panel, end_panel = panels * split // splits, panels * (split + 1) // splits
        for tile in range(tiles):
            panel0 = first_panel + (end_panel - first_panel) * tile // tiles
            panel1 = first_panel + (end_panel - first_panel) * (tile + 1) // tiles
            tile_wide, key0 = panel1 - panel0, panel0 * NR
            count = min(panel1 * NR, keys) - key0
            k_from = k.ctypes.data + (k_at + key0 * steps[1]) * 4
            v_from = v.ctypes.data + (v_at + key0 * steps[2]) * 4
            pack_transposed(k_from, steps[1] * 4, count, length, k_transposed[:tile_wide])
            pack_transposed(v_from, steps[2] * 4, count, width, v_transposed[:tile_wide])
            pack_rows(k_from, steps[1] * 4, count, length, k_panels)
            fresh = True
            for row_tile in range(row_tiles):
                row0 = row_blocks * row_tile // row_tiles * MR
                row1 = min(row_blocks * (row_tile + 1) // row_tiles * MR, rows)
                if causal and row1 <= key0:
                    continue
                q_from = q.ctypes.data + (q_at + row0 * steps[0]) * 4
                g_from = g.ctypes.data + (g_at + row0 * steps[5]) * 4
                pack_rows(q_from, steps[0] * 4, row1 - row0, length, q_panels)
                pack_rows(g_from, steps[5] * 4, row1 - row0, width, g_panels)
                for first in range(0, row1 - row0, MR):
                    filled = min(MR, row1 - row0 - first)
                    p, gp = scores[first:], gscores[first:]
                    find_rows(q_from + first * steps[0] * 4, steps[0] * 4, filled, sources)
                    _multiply(
                        sources, filled, length, k_transposed, tile_wide, p, zeros, 0, targets
                    )
                    find_rows(g_from + first * steps[5] * 4, steps[5] * 4, filled, sources)
                    _multiply(
                        sources, filled, width, v_transposed, tile_wide, gp, zeros, 0, targets
                    )
                    for r in range(filled):
                        i = row0 + first + r
                        _load_bias(bias, bias_at + i * steps[3] + key0, count, bias_row)
                        state[1] = log_sum[head, i]
                        recompute_row(
                            p[r].ctypes.data, tile_wide * _VECTORS, bias_row.ctypes.data,
                            min(count, i + 1 - key0) if causal else count, state.ctypes.data,
                        )  # fmt: skip
                        p_row, gp_row, mean = p[r, : tile_wide * NR], gp[r], delta[i]
                        for j in range(len(p_row)):
                            gp_row[j] = p_row[j] * (gp_row[j] - mean)
                    find_rows(gp.ctypes.data, columns * 4, filled, sources)
                    _multiply(sources, filled, count, k_panels, long, gq_rows, zeros, 0, targets)
                    for r in range(filled):
                        gq_row, added = partial[row0 + first + r], gq_rows[r]
                        for j in range(length):
                            gq_row[j] += added[j] * factor
                flags = 0 if fresh else ACCUMULATE
                fresh = False
                count_rows = row1 - row0
                _accumulate_transposed(
                    scores, count, count_rows, g_panels, gv_rows, zeros, flags, targets
                )
                _accumulate_transposed(
                    gscores, count, count_rows, q_panels, gk_rows, zeros, flags, targets
                )
            if fresh:
                gk_rows[:], gv_rows[:] = 0, 0
            for n in range(count):
                gk_row = gk[gk_at + (key0 + n) * steps[6] :]
                gv_row = gv[gv_at + (key0 + n) * steps[7] :]
                for j in range(length):
                    gk_row[j] = gk_rows[n, j] * factor
                for j in range(width):
                    gv_row[j] = gv_rows[n, j]


def _flat_bias(bias: Array | None, lead: tuple[int, ...], keys: int) -> tuple[Array, Array, int]:
    """Return the same for a bias that broadcasts to (..., rows, keys); an empty array for None."""
    if bias is None:
        return np.empty(0, np.float32), np.zeros(math.prod(lead), np.int64), 0
    bias = bias.reshape((1,) * max(0, 2 - bias.ndim) + bias.shape)
    if bias.shape[-1] != keys:
        bias = np.repeat(bias, keys, axis=-1)
    return flatten_matrices(bias, lead)


def _empty_heads(lead: tuple[int, ...], rows: int, columns: int) -> Array:
    """Return an array (..., heads, rows, columns), in memory (..., rows, heads, columns).

    The outputs of all heads of a position are adjacent, as the next projection reads them.
    """
    if not lead:
        return empty((rows, columns), np.float32)
    return empty((*lead[:-1], rows, lead[-1], columns), np.float32).swapaxes(-2, -3)


def _supported(*arrays: Array | None) -> bool:
    float32 = np.dtype(np.float32)
    return all(x is None or (x.dtype.newbyteorder("=") == float32 and x.size) for x in arrays)


def attention(
    q: Array, k: Array, v: Array, bias: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """See `lucid.kernels.reference.attention.attention`."""
    if not _supported(q, k, v, bias):
        return reference.attention(q, k, v, bias, causal, scale)
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    (rows, length), (keys, width) = q.shape[-2:], v.shape[-2:]
    y = _empty_heads(lead, rows, width)
    log_sum = empty((*lead, rows), np.float32)
    operands = [flatten_matrices(x, lead) for x in (q, k, v)]
    operands += [_flat_bias(bias, lead, keys), flatten_matrices(y, lead)]
    flat, offsets, steps = zip(*operands, strict=True)
    heads = math.prod(lead)
    blocks = min(-(-4 * get_num_threads() // heads), max(1, rows // _MIN_ROWS))
    blocks = max(blocks, -(-rows // _MAX_ROWS))
    parallel_for(
        _attend, heads * blocks, *flat, log_sum.reshape(heads, rows), np.stack(offsets, axis=1),
        steps, (rows, keys, length, width), np.array([scale], np.float32), blocks, int(causal),
    )  # fmt: skip
    return y, log_sum


def attention_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    y: Array,
    log_sum: Array,
    causal: bool,
    scale: float,
    with_bias: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """See `lucid.kernels.reference.attention.attention_backward`."""
    if with_bias or not _supported(g, q, k, v, bias):
        return reference.attention_backward(g, q, k, v, bias, y, log_sum, causal, scale, with_bias)
    lead = y.shape[:-2]
    (rows, length), (keys, width) = q.shape[-2:], v.shape[-2:]
    heads = math.prod(lead)
    # By the shape alone, since the ranges are summed.
    splits = min(-(-_ITEMS // heads), max(1, keys // _ITEM_KEYS))
    partial = empty((heads, splits, rows, length), np.float32)
    gk, gv = _empty_heads(lead, keys, length), _empty_heads(lead, keys, width)
    operands = [flatten_matrices(x, lead) for x in (q, k, v)]
    operands += [_flat_bias(bias, lead, keys), *(flatten_matrices(x, lead) for x in (y, g, gk, gv))]
    (q_, k_, v_, bias_, y_, g_, gk_, gv_), offsets, steps = zip(*operands, strict=True)
    log_sums = dense(log_sum).reshape(heads, rows)
    parallel_for(
        _attend_backward, heads * splits, g_, q_, k_, v_, bias_, y_, log_sums, partial,
        gk_, gv_, np.stack(offsets, axis=1), steps, (rows, keys, length, width),
        np.array([scale], np.float32), splits, int(causal),
    )  # fmt: skip
    gq = partial.sum(axis=1) if splits > 1 else partial
    return gq.reshape(*lead, rows, length), gk, gv, None
