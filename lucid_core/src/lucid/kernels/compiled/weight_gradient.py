"""The weight gradient of a convolution, on the same micro-kernel.

``gw[o, i, j, c] = sum over places of g[place, o] * x[place shifted by tap (i, j), c]``:
a product in which places are what is summed over.  Rows of A are output channels, whose
gradients are turned so that the places of an image row lie side by side; B is read
from the input as it lies, one pixel after the other.  A segment is one image row.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.microkernel import ACCUMULATE, NR, ROWS, multiply_block
from lucid.kernels.layout import Array
from lucid.kernels.threads import parallel_for

Pair = tuple[int, int]

# Bytes of input that are gone through for all outputs of a thread before the next ones.
_BLOCK_BYTES = 1 << 18


@kernel
def _turn(start: int, stop: int, g: Array, turned: Array) -> None:
    """Places start..stop-1 of (places, O) become columns of (O, places)."""
    outputs = g.shape[1]
    side = 16
    for p0 in range(start, stop, side):
        for o0 in range(0, outputs, side):
            for o in range(o0, min(o0 + side, outputs)):
                for p in range(p0, min(p0 + side, stop)):
                    turned[o, p] = g[p, o]


@kernel
def _accumulate(
    start: int,
    stop: int,
    turned: Array,
    x: Array,
    total: Array,
    grid: Pair,
    row_offsets: Array,
    column_offsets: Array,
    stride: Pair,
    length: int,
    groups: int,
    image_rows: int,
) -> None:
    """Items start..stop-1: (kernel row, ROWS output channels of one group).

    ``total`` (O, kernel rows, kernel columns, padded length) starts as zeros.
    """
    images, h, w, channels = x.shape
    ho, wo = grid
    outputs = len(turned)
    each = outputs // groups
    bundles = -(-each // ROWS)
    places = images * ho * wo
    a = np.empty((image_rows, ROWS), np.int64)
    b_table = np.empty(image_rows, np.int64)
    targets = np.empty(ROWS, np.int64)
    per_output = total[0].size * 4
    columns, padded = total.shape[2], total.shape[3]
    for item in range(start, stop):
        i, bundle = item // (groups * bundles), item % (groups * bundles)
        group = bundle // bundles
        o0 = group * each + bundle % bundles * ROWS
        count = min(ROWS, (group + 1) * each - o0)
        size = 1 if count == 1 else 4 if count <= 4 else ROWS
        for r in range(ROWS):
            # Rows that are not there repeat the first one, which stores the same again.
            o = o0 + r if r < count else o0
            targets[r] = o * per_output + i * columns * padded * 4
        for first in range(0, images * ho, image_rows):
            last = min(first + image_rows, images * ho)
            for j in range(columns):
                # The places of an image row whose tap lies inside of the image.
                low = max(0, -(column_offsets[j] // stride[1]))
                high = min(wo, (w - 1 - column_offsets[j]) // stride[1] + 1)
                if high <= low:
                    continue
                segments = 0
                for row in range(first, last):
                    sy = row % ho * stride[0] + row_offsets[i]
                    if sy < 0 or sy >= h:
                        continue
                    sx = low * stride[1] + column_offsets[j]
                    at = ((row // ho * h + sy) * w + sx) * channels + group * length
                    b_table[segments] = x.ctypes.data + at * 4
                    for r in range(ROWS):
                        o = o0 + r if r < count else o0
                        a[segments, r] = turned.ctypes.data + (o * places + row * wo + low) * 4
                    segments += 1
                if segments == 0:
                    continue
                for p in range(padded // NR):
                    multiply_block(
                        size,
                        a.ctypes.data,
                        segments,
                        high - low,
                        b_table.ctypes.data,
                        stride[1] * channels * 4,
                        targets.ctypes.data,
                        total.ctypes.data + (j * padded + p * NR) * 4,
                        0,
                        0,
                        ACCUMULATE,
                        ROWS,
                    )
                    for segment in range(segments):
                        b_table[segment] += NR * 4


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
    rows, columns = len(row_offsets), len(column_offsets)
    padded = -(-length // NR) * NR
    total = np.zeros((outputs, rows, columns, padded), np.float32)
    places = n * ho * wo
    if places:
        if padded != length:
            # Panels read past the last channel: give them something to read at the very end.
            room = np.zeros(x.size + padded, np.float32)
            room[: x.size] = x.reshape(-1)
            x = room[: x.size].reshape(x.shape)
        turned = np.empty((outputs, places), np.float32)
        flat = g.reshape(places, outputs)
        parallel_for(_turn, places, flat, turned, grain=max(16, (1 << 16) // outputs))
        row_bytes = max(1, x.shape[2] * x.shape[3] * 4 * stride[0])
        image_rows = max(1, _BLOCK_BYTES // row_bytes)
        bundles = groups * -(-(outputs // groups) // ROWS)
        parallel_for(
            _accumulate,
            rows * bundles,
            turned,
            x,
            total,
            (ho, wo),
            row_offsets,
            column_offsets,
            stride,
            length,
            groups,
            min(image_rows, n * ho),
        )
    return total if padded == length else np.ascontiguousarray(total[..., :length])
