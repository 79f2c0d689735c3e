"""Functions of one element: those that NumPy does not have, and those that large arrays meet."""

from __future__ import annotations

import math

import numpy as np

from lucid.kernels.layout import Array


def erf(x: Array) -> Array:
    """The error function of every element."""
    values: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return values.astype(x.dtype)


def add(a: Array, b: Array) -> Array:
    """``a + b``, broadcast."""
    return np.asarray(a + b)


def add_into(total: Array, other: Array) -> None:
    """Add ``other`` to ``total``, in place; both of one shape."""
    total += other


def relu(x: Array) -> Array:
    """The larger of x and 0; NaN stays NaN."""
    return np.asarray(np.maximum(x, 0))


def relu_backward(g: Array, y: Array) -> Array:
    """The gradient of `relu`'s input, for the gradient ``g`` of its output ``y``."""
    return np.where(y <= 0, g.dtype.type(0), g)
