"""Gradients of depthwise convolution against the reference: phases, edges and numbers of taps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid import kernels
from lucid.kernels.compiled import conv, depthwise_gradient
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)

SAME = ((1, 1), ((1, 1), (1, 1)), (1, 1))


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of the kernels."""
    called = []

    def recorded(name):
        real = getattr(conv, name)
        return lambda *args: called.append(name) or real(*args)

    for name in ("depthwise_input_gradient", "depthwise_weight_gradient"):
        monkeypatch.setattr(conv, name, recorded(name))
    return called


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def sum_products(taps, x, g, sums, shift, step):
    """Add products of g (pixels, C) and every step-th pixel of x (taps, pixels, C) to sums."""
    pixel = g.shape[1] * 4
    depthwise_gradient.sum_products(
        taps,
        x.ctypes.data + shift * 4,
        x.shape[1] * pixel,
        step * pixel,
        g.ctypes.data + shift * 4,
        pixel,
        len(g),
        sums.ctypes.data + shift * 4,
        pixel,
    )


@pytest.mark.parametrize("pixels", range(1, 10))
@pytest.mark.parametrize("taps", [1, 2, 3])
def test_sums_of_products(taps, pixels):
    """A vector in the middle of the channels; nothing else is written."""
    channels, step = 3 * VL, 2
    x, g, sums = draw(taps, step * pixels, channels), draw(pixels, channels), draw(taps, channels)
    expected, part = sums.copy(), slice(VL, 2 * VL)
    expected[:, part] += (x[:, ::step] * g).sum(1)[:, part]
    sum_products(taps, x, g, sums, VL, step)
    np.testing.assert_allclose(sums[:, part], expected[:, part], rtol=1e-5, atol=1e-5)
    outside = np.delete(sums, np.arange(VL, 2 * VL), axis=1)
    np.testing.assert_array_equal(outside, np.delete(expected, np.arange(VL, 2 * VL), axis=1))


@st.composite
def windows(draw):
    """Draw sizes of an image and of a window that fits the padded image, along both axes."""
    axes = []
    for _ in range(2):
        kernel, stride = draw(st.integers(1, 7)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 4))
        before, after = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        reach = dilation * (kernel - 1) + 1
        least = max(1, reach - before - after)
        size = draw(st.integers(least, least + 14))
        axes.append((size, kernel, stride, (before, after), dilation))
    return [tuple(pair) for pair in zip(*axes, strict=True)]


def assert_matches_reference(n, channels, window, accumulates):
    size, kernel, stride, padding, dilation = window
    options = (stride, padding, dilation, channels)
    x, w = draw(n, channels, *size), draw(channels, 1, *kernel)
    g = draw(*kernels.conv2d.reference(x, w, None, *options).shape)
    onto = draw(*x.shape) if accumulates else None
    before = None if onto is None else onto.copy()
    for tested, arguments in (
        (kernels.conv2d_weight_gradient, (g, x, w.shape, *options)),
        (kernels.conv2d_input_gradient, (g, w, x.shape, *options, onto)),
    ):
        result, expected = tested.compiled(*arguments), tested.reference(*arguments)
        np.testing.assert_allclose(result, expected, atol=1e-5 * np.abs(expected).max(initial=1))
        assert result.dtype == np.float32
        assert kernels.is_channels_last(result)
    if accumulates:
        np.testing.assert_array_equal(onto, before)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(0, 3),
    channels=st.integers(1, 4 * VL + 1),
    window=windows(),
    accumulates=st.booleans(),
)
def test_matches_reference(n, channels, window, accumulates):
    assert_matches_reference(n, channels, window, accumulates)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [VL, 2 * VL, 3 * VL - 1])
def test_windows_of_networks(channels, stride, kernel, calls):
    padding = ((kernel // 2, kernel // 2),) * 2
    window = ((14, 15), (kernel, kernel), (stride, stride), padding, (1, 1))
    assert_matches_reference(2, channels, window, accumulates=True)
    assert calls == ["depthwise_weight_gradient", "depthwise_input_gradient"]


def test_pixels_that_no_window_reads(calls):
    """With a stride above the window, gradients of some pixels are zero or the accumulated one."""
    c = VL + 1
    g, w, onto = draw(1, c, 2, 2), draw(c, 1, 1, 2), draw(1, c, 8, 8)
    options = ((4, 4), ((0, 3), (0, 2)), (1, 1), c)
    read = np.zeros((8, 8), bool)
    read[:5:4, [0, 1, 4, 5]] = True
    gx = kernels.conv2d_input_gradient.compiled(g, w, onto.shape, *options)
    assert calls == ["depthwise_input_gradient"]
    np.testing.assert_array_equal((gx != 0).all((0, 1)), read)
    gx = kernels.conv2d_input_gradient.compiled(g, w, onto.shape, *options, onto)
    np.testing.assert_array_equal(gx[..., ~read], onto[..., ~read])


def test_nonfinite_values_stay_in_their_channel(calls):
    c = VL + 1  # the last vector overlaps
    g, w, x = draw(1, c, 5, 5), draw(c, 1, 3, 3), draw(1, c, 5, 5)

    def run():
        return (
            kernels.conv2d_input_gradient.compiled(g, w, g.shape, *SAME, c),
            kernels.conv2d_weight_gradient.compiled(g, x, w.shape, *SAME, c),
        )

    finite, finite_weight = run()
    g[0, 0, 2, 2], g[0, -1, 2, 2] = np.nan, np.inf
    gx, gw = run()
    assert calls == ["depthwise_input_gradient", "depthwise_weight_gradient"] * 2
    assert np.isnan(gx[0, 0, 1:4, 1:4]).all()
    assert np.isinf(gx[0, -1, 1:4, 1:4]).all()
    np.testing.assert_array_equal(gx[:, 1:-1], finite[:, 1:-1])
    assert np.isnan(gw[0]).all()
    assert np.isinf(gw[-1]).all()
    np.testing.assert_array_equal(gw[1:-1], finite_weight[1:-1])


@pytest.mark.parametrize("stride", [1, 2])
def test_threads_do_not_change_results(stride, assert_thread_invariant):
    c = 6 * VL + 1
    x, w = draw(2, c, 40, 41), draw(c, 1, 5, 5)
    options = ((stride, stride), ((2, 2), (2, 2)), (1, 1), c)
    g = kernels.conv2d.compiled(x, w, None, *options)

    def run():
        return (
            kernels.conv2d_input_gradient.compiled(g, w, x.shape, *options, x),
            kernels.conv2d_weight_gradient.compiled(g, x, w.shape, *options),
        )

    assert_thread_invariant(run, (1, 2))


def test_foreign_layouts(foreign):
    c = VL + 2
    g, x, w = draw(2, c, 6, 7), draw(2, c, 6, 7), draw(c, 1, 3, 3)
    for gradient, arrays, shape, others in (
        (kernels.conv2d_input_gradient.compiled, (g, w), x.shape, (x,)),
        (kernels.conv2d_weight_gradient.compiled, (g, x), w.shape, ()),
    ):
        expected = gradient(*arrays, shape, *SAME, c, *others)
        result = gradient(*map(foreign, arrays), shape, *SAME, c, *map(foreign, others))
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_float64_runs_the_reference(calls):
    c = VL
    x, w = rng.standard_normal((1, c, 4, 4)), rng.standard_normal((c, 1, 3, 3))
    for tested, arguments in (
        (kernels.conv2d_input_gradient, (x, w, x.shape)),
        (kernels.conv2d_weight_gradient, (x, x, w.shape)),
    ):
        result = tested.compiled(*arguments, *SAME, c)
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, tested.reference(*arguments, *SAME, c))
    assert calls == []
