"""The micro-kernel: every number of rows, every flag, any length and layout of B."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.microkernel import (
    ACCUMULATE,
    ADD,
    MR,
    NR,
    block_size,
    copy_runs,
    multiply_block,
    multiply_transposed,
)

rng = np.random.default_rng(0)


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def turned_product(size, a, b, y, bias, residual, flags, cuts):
    """Multiply as `multiply` does, for ``a`` of shape (K, rows)."""
    length = len(a) // cuts
    sources, b_table = np.empty(cuts, np.int64), np.empty(cuts, np.int64)
    for segment in range(cuts):
        sources[segment] = a.ctypes.data + segment * length * a.shape[1] * 4
        b_table[segment] = b.ctypes.data + segment * length * b.shape[1] * 4
    targets = np.arange(size) * y.shape[1] * 4
    multiply_transposed(
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
        a.shape[1] * 4,
        0,
    )


@numba.njit
def copied(source, count, target_step, source_step, target):
    copy_runs(NR, target.ctypes.data, source.ctypes.data, count, target_step * 4, source_step * 4)


@numba.njit
def product(size, a, b, y, bias, residual, flags, cuts, ahead=0):
    """Compute a @ b for the rows of one block, with K cut into segments of equal length."""
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
        ahead,
    )


#: Compiled block sizes.
SIZES = sorted({block_size(rows) for rows in range(1, MR + 1)})


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
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
    """B and the block may be parts of wider matrices."""
    k = cuts * 3
    a, b = draw(MR, k), draw(k, NR + 5)
    y = np.zeros((MR, NR + 3), np.float32)
    product(MR, a, b, y, np.zeros(NR, np.float32), y, 0, cuts)
    np.testing.assert_allclose(y[:, :NR], a.astype(np.float64) @ b[:, :NR], atol=1e-5)
    assert not y[:, NR:].any()


def test_relu_keeps_nan():
    a, b = np.full((1, 1), np.nan, np.float32), np.ones((1, NR), np.float32)
    y = np.zeros((1, NR), np.float32)
    product(1, a, b, y, np.zeros(NR, np.float32), y, RELU, 1)
    assert np.isnan(y).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cuts", [1, 3])
@pytest.mark.parametrize("flags", range(8))
def test_transposed_block(size, cuts, flags):
    k = 5 * cuts
    a, b, bias = draw(k, size + 3), draw(k, NR), draw(NR)
    y, residual = draw(size, NR), draw(size, NR)
    expected = a[:, :size].T.astype(np.float64) @ b + (y if flags & ACCUMULATE else bias)
    if flags & ADD:
        expected = expected + residual
    if flags & RELU:
        expected = np.maximum(expected, 0)
    turned_product(size, a, b, y, bias, residual, flags, cuts)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_prefetch_does_not_change_results():
    a, b, y = draw(MR, 9), draw(2 * 9, NR), draw(MR, NR)
    product(MR, a, b[:9], y, np.zeros(NR, np.float32), y, 0, 1, 9 * NR * 4)
    np.testing.assert_allclose(y, a @ b[:9], atol=1e-5)


def test_block_size_holds_the_rows():
    assert all(rows <= block_size(rows) <= MR for rows in range(1, MR + 1))
    assert SIZES[0] == 1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_copy_runs(count):
    source, target = draw(7, NR + 9), np.zeros((7, NR + 2), np.float32)
    expected = target.copy()
    expected[:count, :NR] = source[:count, :NR]
    copied(source, count, target.shape[1], source.shape[1], target)
    np.testing.assert_array_equal(target, expected)
