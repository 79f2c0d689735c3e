"""Convolutions with narrow groups: every width, edge and epilogue."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

import numba

from lucid import kernels
from lucid.kernels.compiled import conv, grouped_conv
from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.microkernel import ADD, NR
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)
WIDTHS = [width for width in (1, 2, 4, 8, 16) if width <= VL]


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# Plain njit, since kernels may come from the disk cache instead of the current emitter.
@numba.njit
def block(width, x, weights, y, bias, residual, flags, shift):
    """Multiply taps x positions of pixels by (taps, width, NR) weights."""
    taps, places, channels = x.shape
    sources = np.empty((taps, places), np.int64)
    for tap in range(taps):
        for place in range(places):
            sources[tap, place] = x.ctypes.data + (tap * places + place) * channels * 4
    targets = np.arange(places) * channels * 4
    grouped_conv.multiply_grouped(
        width,
        sources.ctypes.data,
        taps,
        shift * 4,
        weights.ctypes.data,
        targets.ctypes.data,
        y.ctypes.data + shift * 4,
        bias.ctypes.data + shift * 4,
        residual.ctypes.data + shift * 4,
        flags,
        places,
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("flags", [0, RELU, ADD, ADD | RELU])
def test_block(width, flags):
    """One panel in the middle of the channels; the others are not written."""
    places, taps, channels, shift = grouped_conv.rows_at_once(width), 3, 2 * NR, NR // 2
    x, weights, bias = draw(taps, places, channels), draw(taps, width, NR), draw(channels)
    y = draw(places, channels)
    residual, before, expected = draw(*y.shape), y.copy(), y.copy()
    for lane in range(NR):
        at = shift + lane
        group = shift + lane // width * width
        total = bias[at] + np.einsum("tpc,tc->p", x[..., group : group + width], weights[..., lane])
        total = total + residual[:, at] if flags & ADD else total
        expected[:, at] = np.maximum(total, 0) if flags & RELU else total
    block(width, x, weights, y, bias, residual, flags, shift)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(y[:, :shift], before[:, :shift])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 2),
    size=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    width=st.sampled_from(WIDTHS),
    least=st.integers(2, 2 * NR),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    activation=st.sampled_from((None, *kernels.ACTIVATIONS)),
    with_scale=st.booleans(),
)
def test_matches_reference(
    n, size, width, least, kernel, stride, padding, dilation, activation, with_scale
):
    groups = max(2, -(-least // width))
    channels = groups * width
    assert grouped_conv.is_supported(channels, channels, groups)
    options = (stride, padding, dilation, groups)
    x, w, bias = draw(n, channels, *size), draw(channels, width, *kernel), draw(channels)
    scale = draw(channels) if with_scale else None
    start = kernels.conv2d.reference(x, w, None, *options)
    residual = draw(*start.shape)
    scaled = kernels.prepare_filters.reference(w, groups, scale)
    expected = kernels.conv2d.reference(x, scaled, bias, *options, residual, activation)
    prepared = kernels.prepare_filters.compiled(w, groups, scale)
    result = kernels.conv2d.compiled(x, prepared, bias, *options, residual, activation)
    np.testing.assert_allclose(
        result, expected, rtol=1e-5, atol=1e-5 * np.abs(start).max(initial=1)
    )

    g, onto = draw(*start.shape), draw(*x.shape)
    for kernel_, args in (
        (kernels.conv2d_input_gradient, (g, w, x.shape, *options, onto)),
        (kernels.conv2d_weight_gradient, (g, x, w.shape, *options)),
    ):
        expected = kernel_.reference(*args)
        scale_ = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(kernel_.compiled(*args), expected, atol=1e-5 * scale_)


@pytest.mark.parametrize(
    ("channels", "outputs", "groups"),
    [(NR, 2 * NR, NR), (3 * NR, 3 * NR, NR), (4 * NR, 4 * NR, 2)],
)
def test_is_supported(channels, outputs, groups):
    assert grouped_conv.is_supported(NR, NR, NR)
    assert grouped_conv.is_supported(3, 3, 3)
    assert not grouped_conv.is_supported(channels, outputs, groups)


@pytest.mark.parametrize("groups", [3, NR])
@pytest.mark.parametrize("width", WIDTHS)
def test_nan_stays_in_its_group(width, groups, monkeypatch):
    """Neither NaN nor infinity in one group reaches another."""
    called = []
    real = conv.convolve_grouped
    monkeypatch.setattr(conv, "convolve_grouped", lambda *args: called.append(1) or real(*args))
    monkeypatch.setattr(conv.depthwise, "is_supported", lambda *args: False)
    channels = groups * width
    x, w = draw(1, channels, 6, 6), draw(channels, width, 3, 3)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), groups)
    expected = kernels.conv2d.compiled(x, w, None, *options)
    x[:, :width] = np.nan
    x[:, -width:] = np.inf
    result = kernels.conv2d.compiled(x, w, None, *options)
    assert called == [1, 1]
    np.testing.assert_array_equal(result[:, width:-width], expected[:, width:-width])
    assert not np.isfinite(result[:, :width]).any()


def test_threads_do_not_change_results(assert_thread_invariant):
    x, w = draw(2, 3 * NR + 4, 30, 30), draw(3 * NR + 4, 4, 3, 3)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), len(w) // 4)

    def run():
        y = kernels.conv2d.compiled(x, w, None, *options)
        gx = kernels.conv2d_input_gradient.compiled(y, w, x.shape, *options)
        return y, gx, kernels.conv2d_weight_gradient.compiled(y, x, w.shape, *options)

    assert_thread_invariant(run)
