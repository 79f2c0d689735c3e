"""AMX tiles: splitting into bfloat16 parts, products, stored sums."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba")

import numba
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.kernels.compiled import amx_support
from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.amx import (
    BLOCK,
    BLOCK_BYTES,
    SIDE,
    configure_tiles,
    multiply_tiles,
    release_tiles,
    split_pairs,
    split_rows,
    store_sums,
)
from lucid.kernels.compiled.microkernel import ADD

if not amx_support.available():
    reason = "needs AMX"
    pytest.skip(reason, allow_module_level=True)

rng = np.random.default_rng(0)
WIDTH = 2 * SIDE


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def rows_in_parts(x, target, row_step, block_step, part_step):
    steps = (row_step, block_step, part_step)
    split_rows(x.ctypes.data, x.shape[1] * 4, len(x), x.shape[1], target.ctypes.data, *steps)


@numba.njit
def pairs_in_parts(x, target, row_step, panel_step, part_step):
    table = np.empty(len(x), np.int64)
    for k in range(len(x)):
        table[k] = x[k].ctypes.data
    steps = (row_step, panel_step, part_step)
    split_pairs(table.ctypes.data, len(x) // 2, x.shape[1], target.ctypes.data, *steps)


@numba.njit
def product(a, b, rows, blocks, segments, sums, accumulate, unsplit):
    """Multiply two tiles of rows by two tiles of columns, in ``segments`` segments.

    With ``unsplit`` (K, 32), columns are first split from it into ``b``.
    """
    reads = np.empty((3, segments), np.int64)
    each = blocks // segments
    for s in range(segments):
        reads[0, s] = a.ctypes.data + s * each * BLOCK_BYTES
        reads[1, s] = b.ctypes.data + s * each * BLOCK_BYTES
        reads[2, s] = unsplit.ctypes.data + s * each * BLOCK * WIDTH * 4
    configure_tiles(rows)
    step = blocks * BLOCK_BYTES
    multiply_tiles(
        reads[0].ctypes.data, step, 64, BLOCK_BYTES, 1024,
        reads[1].ctypes.data, step, 64, BLOCK_BYTES, 1024,
        segments, each, sums.ctypes.data, WIDTH * 4, accumulate,
        reads[2].ctypes.data if len(unsplit) else 0,
    )  # fmt: skip
    release_tiles()


@numba.njit
def finished(sums, targets, y, bias, residual, width, flags):
    store_sums(
        sums.ctypes.data, len(sums), targets.ctypes.data, y.ctypes.data, bias.ctypes.data,
        residual.ctypes.data, width, flags,
    )  # fmt: skip


def joined(halves):
    """Convert upper halves back to float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 16), length=st.integers(1, 100), exponent=st.integers(-90, 120))
def test_three_parts_sum_to_the_float32(rows, length, exponent):
    x = np.ldexp(rng.standard_normal((rows, length)), exponent).astype(np.float32)
    blocks = -(-length // BLOCK)
    target = np.full((rows, blocks, 3, BLOCK), 0x7FC0, np.uint16)
    rows_in_parts(x, target, blocks * 192, 192, 64)
    parts = joined(target).astype(np.float64).transpose(0, 2, 1, 3).reshape(rows, 3, -1)
    np.testing.assert_array_equal(parts.sum(1)[:, :length], x)
    np.testing.assert_array_equal(parts[:, :, length:], 0)
    # Each part has the next eight bits.
    assert np.all(np.abs(parts[:, 1, :length]) < 2.0**-7 * np.abs(x))
    assert np.all(np.abs(parts[:, 2, :length]) < 2.0**-15 * np.abs(x))


@settings(max_examples=60, deadline=None)
@given(pairs=st.integers(1, 40), width=st.integers(1, 70))
def test_split_pairs(pairs, width):
    x = rng.standard_normal((2 * pairs, width)).astype(np.float32)
    panels = -(-width // SIDE)
    target = np.full((pairs, panels, 3, SIDE, 2), 0x7FC0, np.uint16)
    pairs_in_parts(x, target, panels * 192, 192, 64)
    total = joined(target).astype(np.float64).sum(2)  # (pairs, panels, 16, 2)
    rows = total.transpose(0, 3, 1, 2).reshape(2 * pairs, -1)
    np.testing.assert_array_equal(rows[:, :width], x)
    np.testing.assert_array_equal(rows[:, width:], 0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 16),
    each=st.integers(1, 5),
    segments=st.integers(1, 3),
    accumulate=st.booleans(),
    split_first=st.booleans(),
)
def test_product_matches_float32(rows, each, segments, accumulate, split_first):
    blocks = each * segments
    k = blocks * BLOCK
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2 * rows, k), (k, WIDTH)))
    a = np.zeros((2, blocks, 3, SIDE, BLOCK), np.uint16)
    b = np.zeros((2, blocks, 3, SIDE, SIDE, 2), np.uint16)
    for half in range(2):
        rows_in_parts(x[half * rows :][:rows].copy(), a[half], 64, BLOCK_BYTES, 1024)
        for n in range(blocks):
            piece = w[n * BLOCK : (n + 1) * BLOCK, half * SIDE : (half + 1) * SIDE].copy()
            pairs_in_parts(piece, b[half, n], 64, 0, 1024)
    before = rng.standard_normal((WIDTH, WIDTH)).astype(np.float32)
    sums = before.copy()
    there = np.full_like(b, 0x7FC0) if split_first else b
    unsplit = w if split_first else np.empty((0, WIDTH), np.float32)
    product(a, there, rows, blocks, segments, sums, int(accumulate), unsplit)
    np.testing.assert_array_equal(there, b)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    for half in range(2):
        begin = half * SIDE
        expected = exact[half * rows :][:rows] + (before[begin : begin + rows] if accumulate else 0)
        np.testing.assert_allclose(
            sums[begin : begin + rows], expected, atol=1e-6 * np.abs(exact).max()
        )
        np.testing.assert_array_equal(
            sums[begin + rows : begin + SIDE], before[begin + rows : begin + SIDE]
        )


@pytest.mark.parametrize("width", [1, 15, 16, 17, 32])
@pytest.mark.parametrize("flags", [0, ADD, RELU, ADD | RELU])
def test_store_sums(width, flags):
    sums = rng.standard_normal((5, WIDTH)).astype(np.float32)
    bias = rng.standard_normal(WIDTH).astype(np.float32)
    before, residual = (rng.standard_normal((6, 40)).astype(np.float32) for _ in range(2))
    y = before.copy()
    positions = [3, 0, -1, 5, 1]
    targets = np.array([-1 if position < 0 else (position * 40 + 2) * 4 for position in positions])
    finished(sums, targets, y, bias, residual, width, flags)
    expected = before.copy()
    for row, position in zip(sums, positions, strict=True):
        if position >= 0:
            here = slice(2, 2 + width)
            value = row[:width] + bias[:width] + (residual[position, here] if flags & ADD else 0)
            expected[position, here] = np.maximum(value, 0) if flags & RELU else value
    np.testing.assert_allclose(y, expected, rtol=0, atol=5e-7)
    np.testing.assert_array_equal(y == before, expected == before)


def test_nan_propagates_and_infinity_is_not_finite():
    x = np.zeros((1, BLOCK), np.float32)
    x[0, :3] = np.nan, np.inf, -np.inf
    target = np.zeros((1, 1, 3, BLOCK), np.uint16)
    rows_in_parts(x, target, 192, 192, 64)
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(joined(target).astype(np.float64).sum((1, 2))[0, :3]).any()
