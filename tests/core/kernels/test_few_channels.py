"""Convolution of images of few channels, in either layout, against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

from lucid import kernels
from lucid.kernels.compiled import conv
from lucid.kernels.compiled.activation import CODES
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def last(x):
    """Return a copy with channels last."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.fixture
def planar(monkeypatch):
    """Record whether the images of the kernel's calls have channels first."""
    called = []
    real = conv.convolve_few_channels
    monkeypatch.setattr(
        conv, "convolve_few_channels", lambda *args: called.append(args[1]) or real(*args)
    )
    monkeypatch.setattr(conv.amx_support, "available", lambda: False)
    return called


@st.composite
def cases(draw_value):
    window = draw_value(st.tuples(st.integers(1, 7), st.integers(2, 7)))
    dilation = draw_value(st.integers(1, 2))
    padding = draw_value(st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2))
    reach = ((window[0] - 1) * dilation + 1, window[1])
    least = [max(1, reach[i] - sum(padding[i])) for i in range(2)]
    size = tuple(draw_value(st.integers(low, low + 20)) for low in least)
    stride = draw_value(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return window, size, (stride, padding, (dilation, 1), 1)


@settings(max_examples=150, deadline=None)
@given(
    case=cases(),
    n=st.integers(0, 2),
    channels=st.sampled_from([1, 2, 3, 3, 4, 15]),
    outputs=st.integers(VL, 3 * VL),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
    activation=st.sampled_from(sorted(CODES, key=str)),
)
def test_compiled_matches_reference(
    case, n, channels, outputs, with_bias, with_residual, activation
):
    window, size, options = case
    x, w = draw(n, channels, *size), draw(outputs, channels, *window)
    bias = draw(outputs) if with_bias else None
    residual = None
    if with_residual:
        residual = draw(*kernels.conv2d.reference(x, w, None, *options).shape)
    expected = kernels.conv2d.reference(x, w, bias, *options, residual, activation)
    y = kernels.conv2d.compiled(x, w, bias, *options, residual, activation)
    assert (y.shape, y.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(y, expected, atol=1e-5 * (w[0].size + 10))
    again = kernels.conv2d.compiled(last(x), w, bias, *options, residual, activation)
    np.testing.assert_array_equal(again, y)


def test_selected_for_few_channels(planar):
    options = ((2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    x, w = draw(1, 3, 9, 9), draw(VL, 3, 3, 3)
    kernels.conv2d.compiled(x, w, None, *options)
    kernels.conv2d.compiled(last(x), w, None, *options)
    assert planar == [True, False]
    kernels.conv2d.compiled(x, w[: VL - 1], None, *options)
    kernels.conv2d.compiled(draw(1, 16, 9, 9), draw(VL, 16, 3, 3), None, *options)
    kernels.conv2d.compiled(x, w, None, (2, 2), ((1, 1), (1, 1)), (1, 2), 1)
    assert planar == [True, False]


def test_nonfinite_pixels_reach_their_windows_only(planar):
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, w = draw(1, 3, 9, 9), draw(VL, 3, 3, 3)
    finite = kernels.conv2d.compiled(x, w, None, *options)
    x[0, 1, 4, 4] = np.nan
    y = kernels.conv2d.compiled(x, w, None, *options)
    assert len(planar) == 2
    assert np.isnan(y[0, :, 3:6, 3:6]).all()
    y[0, :, 3:6, 3:6] = finite[0, :, 3:6, 3:6]
    np.testing.assert_array_equal(y, finite)


def test_read_only_and_foreign_images(foreign):
    options = ((2, 2), ((3, 3), (3, 3)), (1, 1), 1)
    x, w = draw(1, 3, 20, 20), draw(VL, 3, 7, 7)
    expected = kernels.conv2d.reference(x, w, None, *options)
    y = kernels.conv2d.compiled(foreign(x), foreign(w), None, *options)
    np.testing.assert_allclose(y, expected, atol=1e-3)


def test_threads_do_not_change_results(assert_thread_invariant):
    x, w = draw(2, 3, 60, 50), draw(24, 3, 3, 3)
    options = ((2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    assert_thread_invariant(lambda: [kernels.conv2d.compiled(x, w, None, *options)])
