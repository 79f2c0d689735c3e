"""Product of batches of matrices."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array


def matmul(a: Array, b: Array) -> Array:
    """Multiply matrices (..., M, K) and (..., K, N); the leading axes broadcast."""
    product: Array = np.matmul(a, b)
    return product
