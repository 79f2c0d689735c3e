"""Linear layer: dot products with the rows of the weight for a few inputs, else a matrix product.

A few inputs take the time of reading the weight once, without the overhead of a matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.activation import apply_activation
from lucid.kernels.compiled.gemm import gemm
from lucid.kernels.compiled.jit import Array, grain_of, kernel, reordering_routine
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

__all__ = ["few_rows_linear", "linear"]

# With more rows, reusing a block of the weight from the cache for several of them is faster.
_MAX_ROWS = 4


@reordering_routine
def _dot(a: Array, b: Array) -> Any:
    """Compute the dot product of two vectors."""
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@kernel
def _linear(
    start: int, stop: int, x: Array, weight: Array, bias: Array, y: Array, code: int
) -> None:
    """Item = one output of all rows; x (M, I), weight (O, I), y (M, O)."""
    for o in range(start, stop):
        for m in range(len(x)):
            y[m, o] = _dot(x[m], weight[o]) + bias[o]
    for m in range(len(x)):
        apply_activation(y[m, start:stop], code)


def few_rows_linear(x: Array, weight: Array, bias: Array | None, code: int = 0) -> Array:
    """Compute ``act(x @ weight.T + bias)`` of contiguous float32 arrays."""
    outputs, inputs = weight.shape
    given = np.zeros(outputs, np.float32) if bias is None else bias
    y = empty((len(x), outputs), np.float32)
    grain = grain_of(len(x) * inputs)
    parallel_for(_linear, outputs, x, weight, given, y, code, grain=grain)
    return y


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """See `lucid.kernels.reference.linear.linear`."""
    arrays = [x, weight] if bias is None else [x, weight, bias]
    if len(x) <= _MAX_ROWS and all(a.dtype == np.float32 and a.flags.carray for a in arrays):
        return few_rows_linear(x, weight, bias)
    recording.refuse("a matrix product")
    y = gemm(x, weight.T)
    if bias is not None:
        y += bias
    return y
