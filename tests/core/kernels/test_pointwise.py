"""Pointwise convolution: every block of rows, overlapping vectors, epilogues, gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid import kernels
from lucid.kernels.compiled import conv, pointwise
from lucid.kernels.compiled.activation import CODES, RELU
from lucid.kernels.compiled.microkernel import ADD, NR
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)

NO_PADDING = ((0, 0), (0, 0))
PLAIN = ((1, 1), NO_PADDING, (1, 1), 1)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of the kernel."""
    called = []
    real = conv.convolve_pointwise
    monkeypatch.setattr(
        conv, "convolve_pointwise", lambda *args: called.append(args[0].shape) or real(*args)
    )
    monkeypatch.setattr(conv.amx_support, "available", lambda: False)
    return called


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def block(size, vectors, x, segments, x_segment, w, bias, y, residual, count, flags):
    """Multiply ``count`` blocks of rows of x; y (rows, outputs) from vector 1 on."""
    pointwise.multiply_rows(
        4 * size + vectors,
        x.ctypes.data,
        x.shape[1] * 4,
        x_segment * 4,
        segments,
        w.shape[0] // segments,
        w.ctypes.data,
        bias.ctypes.data,
        y.ctypes.data + VL * 4,
        y.shape[1] * 4,
        VL * 4,
        residual.ctypes.data - y.ctypes.data,
        count,
        size * x.shape[1] * 4,
        flags,
    )


@pytest.mark.parametrize("flags", [0, RELU, ADD, ADD | RELU])
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("size", pointwise._SIZES)
def test_block(size, vectors, flags):
    """Three blocks of two runs of 7 elements, 9 apart; nothing else is written."""
    rows, width = 3 * size, vectors * VL
    x, w, bias = draw(rows, 20), draw(14, width), draw(width)
    y, residual = draw(rows, 4 * VL), draw(rows, 4 * VL)
    total = np.hstack([x[:, :7], x[:, 9:16]]) @ w + bias
    inside = slice(VL, VL + width)
    if flags & ADD:
        total += residual[:, inside]
    expected = y.copy()
    expected[:, inside] = np.maximum(total, 0) if flags & RELU else total
    block(size, vectors, x, 2, 9, w, bias, y, residual, 3, flags)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    outside = np.r_[:VL, VL + width : 4 * VL]
    np.testing.assert_array_equal(y[:, outside], expected[:, outside])


@pytest.mark.parametrize("rows", range(1, 60))
def test_blocks_of_rows_overlap_within_them(rows):
    size, count = pointwise.block_of.py_func(rows)
    assert size <= rows <= size * count
    assert size * (count - 1) < rows


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("outputs", [VL, VL + 1, NR, NR + VL // 2, 2 * NR + 5])
def test_packed_vectors(outputs, transposed):
    w = draw(outputs, 37)
    packed = pointwise.pack_pointwise(np.ascontiguousarray(w.T) if transposed else w, transposed)
    at = 0
    for first in range(0, outputs, NR):
        vectors = min(2, -(-(outputs - first) // VL))
        panel = packed[at : at + 37 * vectors * VL].reshape(37, vectors, VL)
        for v in range(vectors):
            start = min(first + v * VL, outputs - VL)
            np.testing.assert_array_equal(panel[:, v], w[start : start + VL].T)
        at += panel.size
    assert at == packed.size


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 3),
    side=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 70),
    outputs=st.integers(VL, 5 * VL),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
    activation=st.sampled_from(sorted(CODES, key=str)),
)
def test_compiled_matches_reference(
    n, side, channels, outputs, with_bias, with_residual, activation
):
    x, w = draw(n, channels, *side), draw(outputs, channels, 1, 1)
    bias = draw(outputs) if with_bias else None
    residual = draw(n, outputs, *side) if with_residual else None
    y = kernels.conv2d.compiled(x, w, bias, *PLAIN, residual, activation)
    expected = kernels.conv2d.reference(x, w, bias, *PLAIN, residual, activation)
    assert (y.shape, y.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(y, expected, atol=1e-5 * (channels + 10))


@settings(max_examples=50, deadline=None)
@given(
    side=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(VL, 5 * VL),
    outputs=st.integers(1, 70),
    accumulates=st.booleans(),
)
def test_input_gradient_matches_reference(side, channels, outputs, accumulates):
    g, w, shape = draw(2, outputs, *side), draw(outputs, channels, 1, 1), (2, channels, *side)
    more = draw(*shape) if accumulates else None
    gx = kernels.conv2d_input_gradient.compiled(g, w, shape, *PLAIN, more)
    expected = kernels.conv2d_input_gradient.reference(g, w, shape, *PLAIN, more)
    np.testing.assert_allclose(gx, expected, atol=1e-5 * (outputs + 10))


def test_selected_for_pointwise_windows_only(calls):
    x, w = draw(2, 20, 6, 5), draw(2 * VL, 20, 1, 1)
    kernels.conv2d.compiled(x, w, None, *PLAIN)
    assert calls == [(60, 20)]
    for options in (((2, 1), NO_PADDING), ((1, 1), ((0, 0), (1, 0)))):
        kernels.conv2d.compiled(x, w, None, *options, (1, 1), 1)
    kernels.conv2d.compiled(x, draw(2 * VL, 10, 1, 1), None, (1, 1), NO_PADDING, (1, 1), 2)
    kernels.conv2d.compiled(x, w[: VL - 1], None, *PLAIN)
    assert len(calls) == 1


def test_nonfinite_values_stay_in_their_position_and_output(calls):
    x, w = draw(1, 20, 6, 6), draw(VL + 3, 20, 1, 1)
    finite = kernels.conv2d.compiled(x, w, None, *PLAIN)
    x[0, 3, 2, 4], w[5, 7] = np.nan, np.inf
    y = kernels.conv2d.compiled(x, w, None, *PLAIN)
    assert len(calls) == 2
    assert np.isnan(y[0, :, 2, 4]).all()
    y[0, :, 2, 4] = finite[0, :, 2, 4] = 0
    np.testing.assert_array_equal(np.delete(y, 5, axis=1), np.delete(finite, 5, axis=1))
    assert not np.isfinite(np.delete(y[0, 5].ravel(), 2 * 6 + 4)).any()


def test_threads_do_not_change_results(assert_thread_invariant):
    x, w, g = draw(2, 40, 30, 30), draw(72, 40, 1, 1), draw(2, 72, 30, 30)
    many, wide = draw(1, 300, 7, 7), draw(700, 300, 1, 1)
    assert_thread_invariant(
        lambda: [
            kernels.conv2d.compiled(x, w, None, *PLAIN),
            kernels.conv2d.compiled(many, wide, None, *PLAIN),
            kernels.conv2d_input_gradient.compiled(g, w, x.shape, *PLAIN),
        ]
    )
