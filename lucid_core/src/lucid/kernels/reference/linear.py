"""Linear layer, ``x @ weight.T + bias``."""

from __future__ import annotations

from lucid.kernels.layout import Array
from lucid.kernels.reference.gemm import gemm


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """Map (M, I) by a weight (O, I) and a bias (O,) to (M, O)."""
    value = gemm(x, weight.T)
    if bias is not None:
        value += bias
    return value
