"""Elementwise functions: those that NumPy lacks, and those that pay to compile."""

from __future__ import annotations

import math

import numpy as np

from lucid.kernels.layout import Array


def erf(x: Array) -> Array:
    """Compute the error function of each element."""
    values: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return values.astype(x.dtype)


def add(a: Array, b: Array) -> Array:
    """Compute ``a + b`` with broadcasting."""
    try:
        return np.asarray(a + b)
    except ValueError:
        raise ValueError(f"expected shapes that broadcast, got {a.shape} and {b.shape}") from None


def add_into(total: Array, other: Array) -> None:
    """Add ``other`` to ``total`` in place; both have one shape."""
    total += other


def relu(x: Array) -> Array:
    """Compute the rectified linear unit, ``max(x, 0)``; NaN propagates."""
    return np.asarray(np.maximum(x, 0))


def relu_backward(g: Array, y: Array) -> Array:
    """Compute the input gradient of `relu` from the gradient ``g`` of its output ``y``."""
    return np.where(y <= 0, g.dtype.type(0), g)
