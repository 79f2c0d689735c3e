"""Product of batches of small matrices in the micro-kernel.

NumPy calls BLAS once per matrix, which for small ones costs more than the product.  The left matrix
is read in place, by rows or by columns; the right one is packed into panels once per matrix.
"""

from __future__ import annotations

import math

import numpy as np

from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.microkernel import (
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
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.reference import matmul as reference
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["matmul"]

# With fewer multiplications in all or of each product, or more elements of each right matrix, BLAS
# is faster.
_MIN_WORK, _MIN_PRODUCT, _MAX_RIGHT = 1 << 17, 1 << 16, 3 << 14


@kernel
def _multiply(
    start: int, stop: int, a: Array, b: Array, y: Array, offsets: Array, steps: tuple[int, ...],
    transposed: tuple[int, ...], sizes: tuple[int, ...], blocks: int,
) -> None:  # fmt: skip
    """Item = one block of rows of one product.

    The arrays are flat; ``offsets`` (products, 3) are the indices of the matrices in a, b and y,
    and ``steps`` the distances of their rows, or of the columns of those that are transposed.
    """
    rows, length, columns = sizes
    panels = -(-columns // NR)
    a_step, b_step = steps[0] * 4, steps[1] * 4
    b_panels = np.empty((panels, length, NR), np.float32)
    last_rows = np.empty((length, MR), np.float32)
    partial, zeros = np.empty((MR, NR), np.float32), np.zeros(NR, np.float32)
    a_table, b_table = np.empty(MR, np.int64), np.empty(1, np.int64)
    targets, to_partial = np.empty(MR, np.int64), np.empty(MR, np.int64)
    packed = -1
    for item in range(start, stop):
        product, block = item // blocks, item % blocks
        b_from = b.ctypes.data + offsets[product, 1] * 4
        if packed != product and transposed[1]:
            pack_transposed(b_from, b_step, columns, length, b_panels)
        elif packed != product:
            pack_rows(b_from, b_step, length, columns, b_panels)
        packed = product
        a_at, y_at = offsets[product, 0], offsets[product, 2]
        for first in range(rows * block // blocks, rows * (block + 1) // blocks, MR):
            filled = min(MR, rows * (block + 1) // blocks - first)
            ld = MR
            if not transposed[0]:
                find_rows(a.ctypes.data + a_at * 4 + first * a_step, a_step, filled, a_table)
            elif filled == MR:
                a_table[0], ld = a.ctypes.data + (a_at + first) * 4, a_step
            else:
                for k in range(length):
                    at = a_at + k * steps[0] + first
                    for r in range(MR):
                        last_rows[k, r] = a[at + (r if r < filled else 0)]
                a_table[0], ld = last_rows.ctypes.data, MR * 4
            find_rows((y_at + first * steps[2]) * 4, steps[2] * 4, filled, targets)
            find_rows(0, NR * 4, filled, to_partial)
            for p in range(panels):
                b_table[0] = b_panels[p].ctypes.data
                width = min(NR, columns - p * NR)
                whole = width == NR
                table = targets.ctypes.data if whole else to_partial.ctypes.data
                base = y.ctypes.data + p * NR * 4 if whole else partial.ctypes.data
                if not transposed[0]:
                    multiply_block(
                        block_size(filled), a_table.ctypes.data, 1, length, b_table.ctypes.data,
                        NR * 4, table, base, zeros.ctypes.data, 0, 0, ld, 0,
                    )  # fmt: skip
                else:
                    multiply_transposed(
                        block_size(filled), a_table.ctypes.data, 1, length, b_table.ctypes.data,
                        NR * 4, table, base, zeros.ctypes.data, 0, 0, ld, 0,
                    )  # fmt: skip
                if not whole:
                    for r in range(filled):
                        at = y_at + (first + r) * steps[2] + p * NR
                        for j in range(width):
                            y[at + j] = partial[r, j]


def _is_transposed(x: Array) -> bool:
    """Return whether the columns of matrices are contiguous, and the rows are not."""
    return x.strides[-1] != 4 and x.strides[-2] == 4


def matmul(a: Array, b: Array) -> Array:
    """See `lucid.kernels.reference.matmul.matmul`."""
    if a.dtype != np.float32 or b.dtype != np.float32 or a.ndim == b.ndim == 2:
        return reference.matmul(a, b)
    (rows, length), columns = a.shape[-2:], b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    products = math.prod(lead)
    each = rows * length * columns
    work = products * each
    if work < _MIN_WORK or each < _MIN_PRODUCT or length * columns > _MAX_RIGHT:
        return reference.matmul(a, b)
    y = empty((*lead, rows, columns), np.float32)
    transposed = [_is_transposed(x) for x in (a, b)]
    sources = [x.swapaxes(-1, -2) if t else x for x, t in zip((a, b), transposed, strict=True)]
    flat, offsets, steps = zip(*(flatten_matrices(x, lead) for x in (*sources, y)), strict=True)
    blocks = min(-(-4 * get_num_threads() // products), -(-rows // (4 * MR)))
    grain = max(1, _MIN_WORK * products * blocks // work)
    parallel_for(
        _multiply, products * blocks, *flat, np.stack(offsets, axis=1), steps,
        tuple(map(int, transposed)), (rows, length, columns), blocks, grain=grain,
    )  # fmt: skip
    return y
