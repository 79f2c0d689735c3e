"""Functions of one element that NumPy does not have."""

from __future__ import annotations

import math

import numpy as np

from lucid.kernels.compiled.jit import Array, dense, kernel
from lucid.kernels.threads import parallel_for


@kernel
def _erf(start, stop, x, y):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        y[i] = math.erf(x[i])


def erf(x: Array) -> Array:
    """The error function of every element."""
    line = dense(x).reshape(-1)
    y = np.empty_like(line)
    parallel_for(_erf, line.size, line, y, grain=4096)
    return y.reshape(x.shape)
