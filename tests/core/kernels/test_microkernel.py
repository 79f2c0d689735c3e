"""The innermost loop by itself: every number of rows, every flag, any length and layout of B."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="it is compiled by Numba")

import numba

from lucid.kernels.compiled.microkernel import ACCUMULATE, ADD, NR, RELU, ROWS, multiply_block

rng = np.random.default_rng(0)


# Not as a kernel: that may come from the disk, and would say nothing of what is emitted now.
@numba.njit
def product(size, a, b, y, bias, residual, flags, cuts):
    """a @ b for as many rows as one block has, K being cut into segments of equal length."""
    k = a.shape[1]
    length = k // cuts
    sources = np.empty((cuts, size), np.int64)
    b_table = np.empty(cuts, np.int64)
    targets = np.empty(size, np.int64)
    for segment in range(cuts):
        b_table[segment] = b.ctypes.data + segment * length * b.shape[1] * 4
        for i in range(size):
            sources[segment, i] = a.ctypes.data + (i * k + segment * length) * 4
    for i in range(size):
        targets[i] = i * y.shape[1] * 4
    multiply_block(
        size,
        sources.ctypes.data,
        cuts,
        length,
        b_table.ctypes.data,
        b.shape[1] * 4,
        targets.ctypes.data,
        y.ctypes.data,
        bias.ctypes.data,
        residual.ctypes.data,
        flags,
        size,
    )


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", [1, 4, ROWS])
@pytest.mark.parametrize("k", [1, 3, 4, 7, 64])
@pytest.mark.parametrize("flags", range(8))
def test_block(size, k, flags):
    a, b, bias = draw(size, k), draw(k, NR), draw(NR)
    y, residual = draw(size, NR), draw(size, NR)
    expected = a.astype(np.float64) @ b + (y if flags & ACCUMULATE else bias)
    if flags & ADD:
        expected = expected + residual
    if flags & RELU:
        expected = np.maximum(expected, 0)
    product(size, a, b, y, bias, residual, flags, 1)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_segments_and_wide_rows(cuts):
    """B may be part of a wider matrix, and the block part of a wider result."""
    k = cuts * 3
    a, b = draw(ROWS, k), draw(k, NR + 5)
    y = np.zeros((ROWS, NR + 3), np.float32)
    product(ROWS, a, b, y, np.zeros(NR, np.float32), y, 0, cuts)
    np.testing.assert_allclose(y[:, :NR], a.astype(np.float64) @ b[:, :NR], atol=1e-5)
    assert not y[:, NR:].any()


def test_relu_keeps_nan():
    a, b = np.full((1, 1), np.nan, np.float32), np.ones((1, NR), np.float32)
    y = np.zeros((1, NR), np.float32)
    product(1, a, b, y, np.zeros(NR, np.float32), y, RELU, 1)
    assert np.isnan(y).all()
