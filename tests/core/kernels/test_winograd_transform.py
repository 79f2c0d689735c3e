"""Winograd transforms of one tile against the matrices of the paper."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.microkernel import ADD
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.winograd_transform import (
    INPUT,
    OUTPUT,
    transform_filters,
    transform_input,
    transform_output,
    transform_output_gradient,
    transform_weight_gradient,
    transpose_squares,
)

rng = np.random.default_rng(0)
CHANNELS = 2 * VL

#: B' and A' of F(4x4, 3x3) for the points 0, 1, -1, 2, -2 and infinity.
B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
#: G times 24.
G24 = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]])
A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def transform_inputs(pixels, v, step, size):
    transform_input(pixels.ctypes.data, v.ctypes.data, step, size)


@numba.njit
def transform_sums(m, step, bias, positions, y, residual, flags, size):
    transform_output(
        m.ctypes.data, step, bias.ctypes.data, positions.ctypes.data, y.ctypes.data,
        residual.ctypes.data, flags, size,
    )  # fmt: skip


@numba.njit
def transform_weights(taps, tap_step, taps_step, u, step, u_step, count):
    transform_filters(taps, tap_step, taps_step, u, step, u_step, count)


@numba.njit
def transpose(source, source_step, source_pace, target, target_pace, count):
    transpose_squares(source, source_step, source_pace, target, target_pace, count)


@numba.njit
def transform_gradients(pixels, m, step, size):
    transform_output_gradient(pixels.ctypes.data, m.ctypes.data, step, size)


@numba.njit
def transform_taps(m, step, taps, tap_step, size):
    transform_weight_gradient(m.ctypes.data, step, taps.ctypes.data, tap_step, size)


def draw(*shape):
    """Draw small integers, so that all sums and products of a tile are exact."""
    return rng.integers(-9, 10, shape).astype(np.float32)


def test_input_transform():
    image = draw(9, 8, CHANNELS)
    rows, columns = np.array([1, 2, 3, 4, 5, 6]), np.array([7, 0, 2, 3, 4, 6])
    tile = image[np.ix_(rows, columns)]
    offsets = (rows[:, None] * 8 + columns) * image.strides[1]
    apart = 4 * CHANNELS + 64  # planes need not be contiguous
    v = np.full((INPUT * INPUT, apart // 4), 99, np.float32)
    transform_inputs((image.ctypes.data + offsets).ravel(), v, apart, 4 * CHANNELS)
    expected = np.einsum("ai,ijc,bj->abc", B, tile, B)
    np.testing.assert_array_equal(v[:, :CHANNELS].reshape(INPUT, INPUT, CHANNELS), expected)
    assert (v[:, CHANNELS:] == 99).all()


@pytest.mark.parametrize("flags", [0, RELU, ADD, ADD | RELU])
def test_output_transform(flags):
    m, bias = draw(INPUT, INPUT, CHANNELS), draw(CHANNELS)
    y, residual = np.full((5, 6, CHANNELS), 99, np.float32), draw(5, 6, CHANNELS)
    positions = (np.arange(OUTPUT)[:, None] * 6 + np.arange(OUTPUT)) * y.strides[1]
    transform_sums(m, m.strides[1], bias, positions.ravel(), y, residual, flags, 4 * CHANNELS)
    expected = np.einsum("ai,ijc,bj->abc", A, m, A) + bias
    if flags & ADD:
        expected += residual[:OUTPUT, :OUTPUT]
    if flags & RELU:
        expected = np.maximum(expected, 0)
    np.testing.assert_array_equal(y[:OUTPUT, :OUTPUT], expected)
    assert (y[OUTPUT:] == 99).all()
    assert (y[:, OUTPUT:] == 99).all()


def test_outputs_past_the_edge_are_overwritten():
    m, nothing = draw(INPUT, INPUT, CHANNELS), np.zeros(CHANNELS, np.float32)
    y = np.empty((2, 3, CHANNELS), np.float32)
    inside = np.minimum(np.arange(4), 1)[:, None] * 3 + np.minimum(np.arange(4), 2)
    positions = (inside * y.strides[1]).ravel()
    transform_sums(m, m.strides[1], nothing, positions, y, y, 0, 4 * CHANNELS)
    expected = np.einsum("ai,ijc,bj->abc", A, m, A)
    np.testing.assert_array_equal(y, expected[:2, :3])


@pytest.mark.parametrize("transposed", [False, True])
def test_filter_transform(transposed):
    taps = 24 * draw(5, 3, 3, VL)  # so that a division by 24 is exact
    u = np.full((INPUT, INPUT, 7, VL), 99, np.float32)
    first, step = taps.ctypes.data, taps.strides[2]
    if transposed:
        first, step = first + 8 * step, -step
    u_step, plane = u.strides[2], u.strides[1]
    transform_weights(first, step, taps.strides[0], u.ctypes.data, plane, u_step, 5)
    source = taps[:, ::-1, ::-1] if transposed else taps
    expected = np.einsum("ai,kijc,bj->abkc", G24, source / 24**2, G24)
    np.testing.assert_allclose(u[:, :, :5], expected, atol=1e-4)
    assert (u[:, :, 5:] == 99).all()


def test_transpose_squares():
    source = draw(VL, 3, 2 * VL)
    target = np.full((4, VL, VL), 99, np.float32)
    transpose(
        source.ctypes.data + 4 * VL, source.strides[0], source.strides[1],
        target.ctypes.data, target.strides[0], 3,
    )  # fmt: skip
    np.testing.assert_array_equal(target[:3], source[:, :, VL:].transpose(1, 2, 0))
    assert (target[3] == 99).all()


def test_output_gradient_transform():
    g = draw(6, 5, CHANNELS)
    rows, columns = np.array([1, 5, 2, 3]), np.array([4, 0, 1, 3])
    offsets = (rows[:, None] * 5 + columns) * g.strides[1]
    m = np.full((INPUT * INPUT, CHANNELS + 16), 99, np.float32)
    transform_gradients((g.ctypes.data + offsets).ravel(), m, m.strides[0], 4 * CHANNELS)
    expected = np.einsum("ia,ijc,jb->abc", A, g[np.ix_(rows, columns)], A)
    np.testing.assert_array_equal(m[:, :CHANNELS].reshape(INPUT, INPUT, CHANNELS), expected)
    assert (m[:, CHANNELS:] == 99).all()


def test_weight_gradient_transform():
    m = draw(INPUT, INPUT, CHANNELS)
    taps = np.full((3, 3, CHANNELS + 16), 99, np.float32)
    transform_taps(m, m.strides[1], taps, taps.strides[1], 4 * CHANNELS)
    expected = np.einsum("ia,ijc,jb->abc", G24, m, G24) / 24**2
    np.testing.assert_allclose(taps[:, :, :CHANNELS], expected, atol=1e-4)
    assert (taps[:, :, CHANNELS:] == 99).all()
