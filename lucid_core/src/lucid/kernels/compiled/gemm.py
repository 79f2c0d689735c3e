"""Matrix product on our own threads: BLAS multiplies blocks, each on one thread.

BLAS has a pool too, but two pools that want the same cores cost more than
either gives (its idle threads spin for a while after every product).
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for, single_threaded_blas

# Below this many multiplications a second thread costs more than it saves.
_WORTH_THREADS = 1 << 17


def _rows(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[start:stop], b, out=out[start:stop])


def _columns(start: int, stop: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, start:stop], out=out[:, start:stop])


def gemm(a: Array, b: Array, out: Array | None = None) -> Array:
    """``a @ b`` for matrices (M, K) and (K, N), into ``out`` where it is given."""
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
