"""Linear layer: dot products with the rows of the weight for some inputs, else a matrix product.

The dot products read the weight once, in place.  A matrix product packs it, which takes longer than
the products of some inputs.
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

# With more rows, a matrix product is faster (BLAS, AVX-512).
_MAX_ROWS = 32
# Rows and outputs of a block of dot products.
_BLOCK = 4


@reordering_routine
def _dot(a: Array, b: Array) -> Any:
    """Compute the dot product of two vectors."""
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@reordering_routine
def _dot_block(a: Array, b: Array, y: Array, bias: Array) -> None:
    """Compute 4 x 4 dot products plus bias; each value is loaded once and used four times."""
    a0, a1, a2, a3, b0, b1, b2, b3 = a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = a.dtype.type(0)
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = a.dtype.type(0)
    for i in range(len(a0)):
        u, v, w, z = b0[i], b1[i], b2[i], b3[i]
        s00, s01, s02, s03 = s00 + a0[i] * u, s01 + a0[i] * v, s02 + a0[i] * w, s03 + a0[i] * z
        s10, s11, s12, s13 = s10 + a1[i] * u, s11 + a1[i] * v, s12 + a1[i] * w, s13 + a1[i] * z
        s20, s21, s22, s23 = s20 + a2[i] * u, s21 + a2[i] * v, s22 + a2[i] * w, s23 + a2[i] * z
        s30, s31, s32, s33 = s30 + a3[i] * u, s31 + a3[i] * v, s32 + a3[i] * w, s33 + a3[i] * z
    y[0, 0], y[0, 1], y[0, 2], y[0, 3] = s00, s01, s02, s03
    y[1, 0], y[1, 1], y[1, 2], y[1, 3] = s10, s11, s12, s13
    y[2, 0], y[2, 1], y[2, 2], y[2, 3] = s20, s21, s22, s23
    y[3, 0], y[3, 1], y[3, 2], y[3, 3] = s30, s31, s32, s33
    for r in range(_BLOCK):
        for c in range(_BLOCK):
            y[r, c] += bias[c]


@kernel
def _linear(
    start: int, stop: int, x: Array, weight: Array, bias: Array, y: Array, code: int
) -> None:
    """Item = a block of outputs of all rows; x (M, I), weight (O, I), y (M, O)."""
    for item in range(start, stop):
        first = item * _BLOCK
        last = min(first + _BLOCK, len(weight))
        rows = len(x) // _BLOCK * _BLOCK if last - first == _BLOCK else 0
        for m in range(0, rows, _BLOCK):
            block = slice(m, m + _BLOCK)
            _dot_block(x[block], weight[first:last], y[block, first:last], bias[first:last])
        for o in range(first, last):
            for m in range(rows, len(x)):
                y[m, o] = _dot(x[m], weight[o]) + bias[o]
    for m in range(len(x)):
        apply_activation(y[m, start * _BLOCK : min(stop * _BLOCK, len(weight))], code)


def few_rows_linear(x: Array, weight: Array, bias: Array | None, code: int = 0) -> Array:
    """Compute ``act(x @ weight.T + bias)`` of contiguous float32 arrays."""
    outputs, inputs = weight.shape
    given = np.zeros(outputs, np.float32) if bias is None else bias
    y = empty((len(x), outputs), np.float32)
    grain = grain_of(len(x) * inputs * _BLOCK)
    parallel_for(_linear, -(-outputs // _BLOCK), x, weight, given, y, code, grain=grain)
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
