"""Depthwise convolution: every block, edge and activation against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid import kernels
from lucid.kernels.compiled import conv, depthwise
from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)

BLOCKS = [(4, 2), (4, 1), (1, 2), (1, 1)]
SAME = ((1, 1), ((1, 1), (1, 1)), (1, 1))


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of the kernel."""
    called = []
    real = conv.depthwise.convolve_depthwise
    monkeypatch.setattr(
        conv.depthwise, "convolve_depthwise", lambda *args: called.append(1) or real(*args)
    )
    return called


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def block(index, x, weights, bias, y, shift, flags):
    """Multiply windows of x (rows, columns, C) by weights (kH, kW, C), into y (pixels, C)."""
    kh, kw, channels = weights.shape
    pixel, row = channels * 4, x.shape[1] * channels * 4
    depthwise.multiply(
        index,
        x.ctypes.data + shift * 4,
        row,
        2 * pixel,
        pixel,
        kh,
        kw,
        weights.ctypes.data + shift * 4,
        kw * pixel,
        pixel,
        bias.ctypes.data + shift * 4,
        y.ctypes.data + shift * 4,
        pixel,
        flags,
    )


@pytest.mark.parametrize("flags", [0, RELU])
@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block(index, flags):
    """Vectors in the middle of the channels, columns dilated by 2; nothing else is written."""
    (pixels, vectors), (kh, kw), channels, shift = BLOCKS[index], (2, 3), 4 * VL, VL
    x, weights, bias = draw(kh, pixels + 4, channels), draw(kh, kw, channels), draw(channels)
    y = draw(pixels, channels)
    expected, part = y.copy(), slice(shift, shift + vectors * VL)
    for pixel in range(pixels):
        total = bias + (x[:, pixel : pixel + 5 : 2] * weights).sum((0, 1))
        expected[pixel, part] = (np.maximum(total, 0) if flags else total)[part]
    block(index, x, weights, bias, y, shift, flags)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    outside = np.delete(y, np.arange(channels)[part], axis=1)
    np.testing.assert_array_equal(outside, np.delete(expected, np.arange(channels)[part], axis=1))


@st.composite
def windows(draw):
    """Draw sizes of an image and of a window that fits the padded image, along both axes."""
    axes = []
    for _ in range(2):
        kernel, stride = draw(st.integers(1, 7)), draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 3))
        before, after = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        reach = dilation * (kernel - 1) + 1
        least = max(1, reach - before - after)
        size = draw(st.integers(least, least + 9))
        axes.append((size, kernel, stride, (before, after), dilation))
    return [tuple(pair) for pair in zip(*axes, strict=True)]


def assert_matches_reference(n, channels, window, activation=None, with_bias=True, with_scale=True):
    size, kernel, stride, padding, dilation = window
    options = (stride, padding, dilation, channels)
    x, w = draw(n, channels, *size), draw(channels, 1, *kernel)
    bias, scale = draw(channels) if with_bias else None, draw(channels) if with_scale else None
    filters = kernels.prepare_filters.reference(w, channels, scale)
    sums = kernels.conv2d.reference(x, filters, bias, *options)
    tolerance = 1e-5 * np.abs(sums).max(initial=1)
    prepared = kernels.prepare_filters.compiled(w, channels, scale)
    y = kernels.conv2d.compiled(x, prepared, bias, *options, None, activation)
    expected = kernels.activation.reference(sums, activation)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=tolerance)
    assert y.dtype == np.float32
    assert kernels.is_channels_last(y)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(0, 2),
    channels=st.integers(1, 4 * VL + 1),
    window=windows(),
    activation=st.sampled_from((None, *kernels.ACTIVATIONS)),
    with_bias=st.booleans(),
    with_scale=st.booleans(),
)
def test_matches_reference(n, channels, window, activation, with_bias, with_scale):
    assert_matches_reference(n, channels, window, activation, with_bias, with_scale)


@pytest.mark.parametrize("channels", [VL, VL + 1, 2 * VL, 2 * VL + 1, 3 * VL, 4 * VL - 1])
@pytest.mark.parametrize("width", [1, 2, 5, 6, 7, 8, 9, 13])
def test_partial_blocks(width, channels, calls):
    """Rows that are no multiple of a block, and channels that are no multiple of a vector."""
    assert_matches_reference(2, channels, ((4, width), (3, 3), *SAME))
    assert calls == [1]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_outside_of_the_image(stride, calls):
    """Windows before and after a single pixel; their sum is the bias."""
    c, margins = VL + 3, ((4, 7), (6, 3))
    assert_matches_reference(1, c, ((1, 1), (3, 2), (stride, stride), margins, (2, 1)))
    bias, options = draw(c), ((stride, stride), margins, (2, 1), c)
    w = draw(c, 1, 3, 2)
    w[1] = np.inf
    y = kernels.conv2d.compiled(draw(1, c, 1, 1), w, bias, *options)
    np.testing.assert_array_equal(y[0, :, -1, -1], bias)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "expected"),
    [
        (VL, VL, VL, True),
        (3 * VL + 1, 3 * VL + 1, 3 * VL + 1, True),
        (VL - 1, VL - 1, VL - 1, False),
        (2 * VL, 2 * VL, VL, False),
        (VL, 2 * VL, VL, False),
        (VL, VL, 1, False),
    ],
)
def test_is_supported(channels, outputs, groups, expected):
    assert depthwise.is_supported(channels, outputs, groups) is expected


@pytest.mark.parametrize("activation", [None, *kernels.ACTIVATIONS])
def test_nonfinite_values_stay_in_their_channel(activation, calls):
    c = 2 * VL + 3  # the last vector overlaps
    x, w, bias = draw(1, c, 6, 7), np.abs(draw(c, 1, 3, 3)), draw(c)
    finite = kernels.conv2d.compiled(x, w, bias, *SAME, c, None, activation)
    bad = [0, VL, c - 1]
    for channel, value in zip(bad, (np.nan, np.inf, -np.inf), strict=True):
        x[0, channel, 2, 3] = value
    with np.errstate(invalid="ignore"):
        expected = kernels.conv2d.reference(x, w, bias, *SAME, c, None, activation)
    y = kernels.conv2d.compiled(x, w, bias, *SAME, c, None, activation)
    assert calls == [1, 1]
    np.testing.assert_allclose(y[:, bad], expected[:, bad], rtol=1e-5, atol=1e-5)
    assert np.isnan(y[0, 0, 1:4, 2:5]).all()
    good = np.setdiff1d(np.arange(c), bad)
    np.testing.assert_array_equal(y[:, good], finite[:, good])


@pytest.mark.parametrize("stride", [1, 2])
def test_threads_do_not_change_results(stride, assert_thread_invariant):
    c = 6 * VL + 1
    x, w, bias = draw(2, c, 40, 41), draw(c, 1, 5, 5), draw(c)
    options = ((stride, stride), ((2, 2), (2, 2)), (1, 1), c)

    def run():
        return kernels.conv2d.compiled(x, w, bias, *options, None, "silu")

    assert_thread_invariant(run, (1, 2))


def test_foreign_layouts(foreign):
    c = VL + 2
    x, w, bias = draw(2, c, 6, 7), draw(c, 1, 3, 3), draw(c)
    y = kernels.conv2d.compiled(x, w, bias, *SAME, c)
    other = kernels.conv2d.compiled(foreign(x), foreign(w), foreign(bias), *SAME, c)
    np.testing.assert_allclose(other, y, rtol=1e-5, atol=1e-5)


def test_bias_of_another_dtype():
    c = VL
    x, w, bias = draw(1, c, 4, 4), draw(c, 1, 3, 3), rng.standard_normal(c)
    y = kernels.conv2d.compiled(x, w, bias, *SAME, c)
    assert y.dtype == np.float32
    expected = kernels.conv2d.compiled(x, w, bias.astype(np.float32), *SAME, c)
    np.testing.assert_array_equal(y, expected)


def test_float64_runs_the_reference(calls):
    c = VL
    x, w = rng.standard_normal((1, c, 4, 4)), rng.standard_normal((c, 1, 3, 3))
    y = kernels.conv2d.compiled(x, w, None, *SAME, c)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, kernels.conv2d.reference(x, w, None, *SAME, c))
    assert calls == []


def test_residual(calls):
    """A sum onto another array, which the kernel does not compute."""
    c = 2 * VL + 1
    x, w, onto = draw(2, c, 6, 6), draw(c, 1, 3, 3), draw(2, c, 6, 6)
    result = kernels.conv2d.compiled(x, w, None, *SAME, c, onto)
    assert calls == []
    plain = kernels.conv2d.compiled(x, w, None, *SAME, c)
    np.testing.assert_allclose(result, plain + onto, atol=1e-5)
