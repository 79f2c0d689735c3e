"""Matrix product on the thread pool, by AMX or by BLAS on one thread per block.

BLAS's own pool stays off: two pools that compete for the cores cost more than either gives,
since idle BLAS threads spin after every product.
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

# With fewer multiplications a second thread does not pay.
_WORTH_THREADS = 1 << 17
# Smallest M, N and K, and number of multiplications, for which AMX pays: it splits numbers first.
_AMX_MIN_SIDE, _AMX_MIN_WORK = 32, 1 << 22


def _rows(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[start:stop], b, out=out[start:stop])


def _columns(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, start:stop], out=out[:, start:stop])


def _amx_gemm(a: Array, b: Array, out: Array | None) -> Array | None:
    """Multiply with AMX, or return None if it is absent or the operands do not suit it.

    ``x @ weights`` is a 1x1 convolution over rows; ``g.T @ x`` is its weight gradient.
    """
    (m, k), n = a.shape, b.shape[1]
    suits = min(m, n, k) >= _AMX_MIN_SIDE and m * n * k >= _AMX_MIN_WORK
    floats = a.dtype == b.dtype == np.float32
    if out is not None:
        suits, floats = suits and out.flags.c_contiguous, floats and out.dtype == np.float32
    if not (suits and floats and amx_support.available()):
        return None
    zero = np.zeros(1, np.int64)
    if a.T.flags.carray and b.flags.carray:
        g, x = a.T.reshape(1, k, 1, m), b.reshape(1, k, 1, n)
        product = amx_weight_gradient(g, x, zero, zero, (1, 1), n, 1).reshape(m, n)
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
    panels = pack(weights, 1, zero, zero, transposed)
    grid = Grid(m, 1, (1, 1), zero, zero, (0, 0), (1, 1))
    x, y = a.reshape(1, m, 1, k), out.reshape(1, m, 1, n)
    convolve_amx(x, panels, None, None, False, y, grid, 1, k)
    return out


def gemm(a: Array, b: Array, out: Array | None = None) -> Array:
    """See `lucid.kernels.reference.gemm.gemm`."""
    product = _amx_gemm(a, b, out)
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
        # One block per thread along the longer side, since BLAS packs the operands of each block.
        longer, block = (m, _rows) if m >= n else (n, _columns)
        grain = max(16, -(-longer // get_num_threads()))
        parallel_for(block, longer, a, b, out, grain=grain)
    return out
