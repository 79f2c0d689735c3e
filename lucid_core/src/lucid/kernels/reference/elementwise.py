"""Functions of one element that NumPy does not have."""

from __future__ import annotations

import math

import numpy as np

from lucid.kernels.layout import Array


def erf(x: Array) -> Array:
    """The error function of every element."""
    values: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return values.astype(x.dtype)
