"""The check that every operation on images shares."""

from __future__ import annotations

from lucid.autograd import ArrayLike
from lucid.autograd.variable import Array
from lucid.dtypes import float32, float64
from lucid.ops.operands import floating

__all__ = ["image"]


def image(x: ArrayLike, operation: str) -> Array:
    """The array behind ``x``, of shape (N, C, H, W) and in float32 or float64.

    Raises
    ------
    ValueError
        Naming the operation, if it has another number of axes.
    TypeError
        If its dtype is another float.
    """
    a = floating(x)
    if a.ndim != 4:
        raise ValueError(f"{operation} needs an input of shape (N, C, H, W), got {a.shape}")
    if a.dtype not in (float32, float64):
        raise TypeError(f"{operation} computes in float32 or float64, got {a.dtype}")
    return a
