"""Matrix product."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array


def gemm(a: Array, b: Array, out: Array | None = None) -> Array:
    """Multiply matrices (M, K) and (K, N), into ``out`` if it is given."""
    return np.matmul(a, b, out=out)
