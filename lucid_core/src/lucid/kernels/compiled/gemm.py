"""Matrix product on our own threads: on the matrix unit, or BLAS multiplies blocks.

Each of BLAS's blocks is on one thread.  BLAS has a pool too, but two pools that want the
same cores cost more than either gives (its idle threads spin for a while after every
product).
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled import amx_support
from lucid.kernels.compiled.amx_conv import convolve_amx
from lucid.kernels.compiled.amx_weight_gradient import amx_weight_gradient
from lucid.kernels.compiled.implicit_gemm import Grid, pack
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for, single_threaded_blas

# Below this many multiplications a second thread costs more than it saves.
_WORTH_THREADS = 1 << 17
# For the matrix unit numbers are split first: it takes so many rows, columns and numbers of
# k, and so many multiplications, to make that worth while.
_FEWEST, _WORTH_TILES = 32, 1 << 22


def _rows(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[start:stop], b, out=out[start:stop])


def _columns(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, start:stop], out=out[:, start:stop])


def _use_amx(a: Array, b: Array, out: Array | None) -> Array | None:
    """The product from the matrix unit, or None if that is not there or does not suit them.

    A product with a matrix of weights is a convolution of 1 x 1 over rows; one
    of two matrices whose rows are what is summed over, the gradient of its weights.
    """
    (m, k), n = a.shape, b.shape[1]
    suits = min(m, n, k) >= _FEWEST and m * n * k >= _WORTH_TILES
    floats = a.dtype == b.dtype == np.float32
    if out is not None:
        suits, floats = suits and out.flags.c_contiguous, floats and out.dtype == np.float32
    if not (suits and floats and amx_support.available()):
        return None
    here = np.zeros(1, np.int64)
    if a.T.flags.carray and b.flags.carray:
        g, x = a.T.reshape(1, k, 1, m), b.reshape(1, k, 1, n)
        product = amx_weight_gradient(g, x, here, here, (1, 1), n, 1).reshape(m, n)
        if out is None:
            return product
        out[:] = product
        return out
    transposed = b.flags.carray
    if not a.flags.carray or not (transposed or b.T.flags.carray):
        return None
    if out is None:
        out = empty((m, n), np.float32)
    weights = b.reshape(k, 1, 1, n) if transposed else b.T.reshape(n, 1, 1, k)
    panels = pack(weights, 1, here, here, transposed)
    grid = Grid(m, 1, (1, 1), here, here, (0, 0), (1, 1))
    x, y = a.reshape(1, m, 1, k), out.reshape(1, m, 1, n)
    convolve_amx(x, panels, None, None, False, y, grid, 1, k)
    return out


def gemm(a: Array, b: Array, out: Array | None = None) -> Array:
    """``a @ b`` for matrices (M, K) and (K, N), into ``out`` where it is given."""
    product = _use_amx(a, b, out)
    if product is not None:
        return product
    m, k = a.shape
    n = b.shape[1]
    if out is None:
        out = empty((m, n), np.result_type(a, b))
    with single_threaded_blas():
        if m * n * k < _WORTH_THREADS:
            np.matmul(a, b, out=out)
            return out
        # One block a thread along the longer side: BLAS packs the operands of every
        # block anew, so few and large blocks pay.
        longer, block = (m, _rows) if m >= n else (n, _columns)
        grain = max(16, -(-longer // get_num_threads()))
        parallel_for(block, longer, a, b, out, grain=grain)
    return out
