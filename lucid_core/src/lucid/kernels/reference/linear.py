"""Linear layer, ``x @ weight.T + bias``."""

from __future__ import annotations

from lucid.kernels.layout import Array
from lucid.kernels.reference.gemm import gemm


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """Compute ``x @ weight.T + bias``, (M, O).

    Parameters
    ----------
    x : numpy.ndarray
        Shape (M, I).
    weight : numpy.ndarray
        Shape (O, I).
    bias : numpy.ndarray, optional
        Shape (O,).
    """
    value = gemm(x, weight.T)
    if bias is not None:
        value += bias
    return value
