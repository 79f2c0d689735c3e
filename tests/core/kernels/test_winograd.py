"""Winograd convolution against the direct sum, at every kind of edge, and disabled."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

from lucid import kernels
from lucid.kernels.compiled import winograd, winograd_weight_gradient
from lucid.kernels.compiled.activation import CODES
from lucid.kernels.compiled.microkernel import NR
from lucid.kernels.compiled.vector_ir import VL

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def _without_matrix_unit():
    """Disable AMX, which takes most predictions where it is available."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCID_AMX", "0")
        yield


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def convolve(x, w, bias=None, residual=None, activation=None, padding=1, kept=True):
    """Convolve by Winograd regardless of the sizes: x (N, H, W, C), w (O, 3, 3, C)."""
    n, h, wd, _ = x.shape
    y = np.empty((n, h + 2 * padding - 2, wd + 2 * padding - 2, len(w)), np.float32)
    unpacked = winograd.UnpackedFilters(w, transposed=False)
    weights = winograd.transform_weights(w) if kept else unpacked
    winograd.convolve_winograd(x, weights, bias, residual, CODES[activation], y, padding, padding)
    return y


def direct(x, w, bias, residual, activation, padding):
    """Convolve by the reference in float64."""
    images = (None if a is None else a.astype(np.float64).transpose(0, 3, 1, 2) for a in (x, w))
    start = None if bias is None else bias.astype(np.float64)
    added = None if residual is None else residual.transpose(0, 3, 1, 2)
    pads = ((padding, padding), (padding, padding))
    y = kernels.conv2d.reference(*images, start, (1, 1), pads, (1, 1), 1, added, activation)
    return y.transpose(0, 2, 3, 1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 3),
    size=st.tuples(st.integers(3, 14), st.integers(3, 14)),
    vectors=st.integers(1, 5),
    outputs=st.one_of(st.sampled_from([NR, 3 * NR]), st.integers(1, 3 * NR)),
    padding=st.integers(0, 2),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
    activation=st.sampled_from(list(CODES)),
    kept=st.booleans(),
)
def test_matches_direct_sum(
    n, size, vectors, outputs, padding, with_bias, with_residual, activation, kept
):
    x, w = draw(n, *size, vectors * VL), draw(outputs, 3, 3, vectors * VL)
    bias = draw(len(w)) if with_bias else None
    shape = (n, size[0] + 2 * padding - 2, size[1] + 2 * padding - 2, len(w))
    residual = draw(*shape) if with_residual else None
    result = convolve(x, w, bias, residual, activation, padding, kept)
    expected = direct(x, w, bias, residual, activation, padding)
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(result, expected, atol=1e-4 * scale)


def test_small_integers_are_exact_except_for_the_weight_transform():
    """Ones and a filter with one tap."""
    x = np.ones((1, 8, 8, VL), np.float32)
    w = np.zeros((NR, 3, 3, VL), np.float32)
    w[3, 0, 2, 1] = 24
    y = convolve(x, w)
    assert not y[..., :3].any()
    expected = np.full((8, 8), 24.0)
    expected[0, :] = expected[:, -1] = 0  # the tap above and to the right reads the padding
    np.testing.assert_allclose(y[0, ..., 3], expected, atol=1e-4)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("side", "outputs"),
    [(7, 8 * NR), (44, 8 * NR), (47, NR)],
    ids=["by panels", "by panels and blocks of tiles", "by tiles"],
)
def test_channels_in_several_chunks(side, outputs, kept):
    x, w = draw(1, side, side, 9 * NR), draw(outputs, 3, 3, 9 * NR)
    result = convolve(x, w, kept=kept)
    expected = direct(x, w, None, None, None, 1)
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("side", [9, 50])
def test_transposed_weights_give_the_input_gradient(side, kept):
    g, w = draw(2, side, 7, NR), draw(NR, 3, 3, 2 * NR)
    weights = winograd.UnpackedFilters(w, transposed=True)
    if kept:
        weights = winograd.transform_weights(*weights)
    gx = np.empty((2, side, 7, 2 * NR), np.float32)
    winograd.convolve_winograd(g, weights, None, None, False, gx, 1, 1)
    expected = kernels.conv2d_input_gradient.reference(
        g.transpose(0, 3, 1, 2).astype(np.float64),
        w.transpose(0, 3, 1, 2).astype(np.float64),
        (2, 2 * NR, side, 7),
        (1, 1),
        ((1, 1), (1, 1)),
        (1, 1),
        1,
    )
    np.testing.assert_allclose(gx.transpose(0, 3, 1, 2), expected, atol=1e-3)


def test_large_images_use_winograd_unless_disabled(monkeypatch):
    x, w = draw(1, 64, 30, 30), draw(64, 64, 3, 3)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    exact = kernels.conv2d.reference(x.astype(np.float64), w.astype(np.float64), None, *options)
    taken, real = [], winograd.convolve_winograd
    spy = lambda *args: taken.append(1) or real(*args)  # noqa: E731
    monkeypatch.setattr(winograd, "convolve_winograd", spy)
    y = kernels.conv2d.compiled(x, w, None, *options)
    assert taken == [1]
    np.testing.assert_allclose(y, exact, atol=1e-4 * np.abs(exact).max())
    monkeypatch.setenv("LUCID_WINOGRAD", "0")
    y = kernels.conv2d.compiled(x, w, None, *options)
    assert taken == [1]
    np.testing.assert_allclose(y, exact, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("places", "channels", "outputs"), [(10_000, VL + 1, NR), (10_000, 64, NR - 1), (49, 512, 512)]
)
def test_is_profitable(places, channels, outputs):
    assert not winograd.is_profitable(places, channels, outputs, kept=True)


# At least as many as are padded in gradients, for any length of vectors.
@pytest.mark.parametrize("outputs", [35, 95 - VL])
def test_any_number_of_outputs_uses_winograd(outputs, monkeypatch):
    taken = []
    for module, name in (
        (winograd, "convolve_winograd"),
        (winograd_weight_gradient, "winograd_weight_gradient"),
    ):
        spy = functools.partial(_spied, getattr(module, name), taken, name)
        monkeypatch.setattr(module, name, spy)
    x, w, g = draw(2, 64, 18, 21), draw(outputs, 64, 3, 3), draw(2, outputs, 18, 21)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    for kernel, arguments in (
        (kernels.conv2d, (x, w, None)),
        (kernels.conv2d_input_gradient, (g, w, x.shape)),
        (kernels.conv2d_weight_gradient, (g, x, w.shape)),
    ):
        result = kernel.compiled(*arguments, *options)
        arrays = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments]
        expected = kernel.reference(*arrays, *options)
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())
    assert taken == ["convolve_winograd", "convolve_winograd", "winograd_weight_gradient"]


def _spied(function, taken, name, *arguments):
    taken.append(name)
    return function(*arguments)


@pytest.mark.parametrize("side", [10, 40])
def test_threads_do_not_change_results(side, assert_thread_invariant):
    x, w = draw(2, side, side, 5 * NR), draw(2 * NR, 3, 3, 5 * NR)
    assert_thread_invariant(lambda: [convolve(x, w), convolve(x, w, kept=False)], (1, 2, 5))
