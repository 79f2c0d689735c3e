"""Winograd weight gradient against the direct sum, and its selection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs Numba")

from lucid import kernels
from lucid.kernels.compiled import winograd_weight_gradient
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


def direct(g, x, padding):
    """Compute the reference in float64, (O, 3, 3, C)."""
    images = (a.astype(np.float64).transpose(0, 3, 1, 2) for a in (g, x))
    shape = (g.shape[3], x.shape[3], 3, 3)
    gradient = kernels.conv2d_weight_gradient.reference
    return gradient(*images, shape, (1, 1), padding, (1, 1), 1).transpose(0, 2, 3, 1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    size=st.tuples(st.integers(3, 21), st.integers(3, 21)),
    panels=st.integers(1, 5),
    vectors=st.integers(1, 11),
    padding=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
)
def test_matches_direct_sum(n, size, panels, vectors, padding):
    (top, bottom), (left, right) = padding
    x = draw(n, *size, panels * NR)
    g = draw(n, size[0] + top + bottom - 2, size[1] + left + right - 2, vectors * VL)
    expected = direct(g, x, padding)
    result = winograd_weight_gradient.winograd_weight_gradient(g, x, top, left)
    np.testing.assert_allclose(result, expected, atol=2e-5 * np.abs(expected).max())


def test_many_tiles_in_blocks_and_partial_sums():
    x, g = draw(2, 90, 90, NR), draw(2, 90, 90, VL)
    expected = direct(g, x, ((1, 1), (1, 1)))
    result = winograd_weight_gradient.winograd_weight_gradient(g, x, 1, 1)
    np.testing.assert_allclose(result, expected, atol=2e-5 * np.abs(expected).max())


def test_one_pixel_by_hand():
    """One output gradient, in the last partial tile: the weight gradient is its window."""
    x, g = draw(1, 9, 9, NR), np.zeros((1, 9, 9, VL), np.float32)
    g[0, 8, 7, 3] = 2
    result = winograd_weight_gradient.winograd_weight_gradient(g, x, 1, 1)
    expected = np.zeros((VL, 3, 3, NR), np.float32)
    expected[3, :2] = 2 * x[0, 7:9, 6:9]  # the last row of the window is padding
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_training_uses_winograd_unless_disabled(monkeypatch):
    g, x = draw(2, 64, 30, 30), draw(2, 64, 30, 30)
    options = ((64, 64, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    gradient = kernels.conv2d_weight_gradient
    exact = gradient.reference(g.astype(np.float64), x.astype(np.float64), *options)
    taken = []
    real = winograd_weight_gradient.winograd_weight_gradient

    def spy(*args):
        taken.append(1)
        return real(*args)

    monkeypatch.setattr(winograd_weight_gradient, "winograd_weight_gradient", spy)
    result = gradient.compiled(g, x, *options)
    assert taken == [1]
    np.testing.assert_allclose(result, exact, atol=2e-5 * np.abs(exact).max())
    monkeypatch.setenv("LUCID_WINOGRAD", "0")
    result = gradient.compiled(g, x, *options)
    assert taken == [1]
    np.testing.assert_allclose(result, exact, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("images", "grid", "channels", "outputs"),
    [(8, (56, 56), 32 + NR // 2, 64), (8, (56, 56), 64, VL + 1), (2, (7, 7), 512, 512),
     (64, (5, 5), 64, 64)],
)  # fmt: skip
def test_is_profitable(images, grid, channels, outputs):
    assert winograd_weight_gradient.is_profitable(8, (56, 56), 64, 64)
    assert not winograd_weight_gradient.is_profitable(images, grid, channels, outputs)


def test_threads_do_not_change_results(assert_thread_invariant):
    x, g = draw(3, 40, 40, 3 * NR), draw(3, 40, 40, 2 * NR)
    gradient = winograd_weight_gradient.winograd_weight_gradient
    assert_thread_invariant(lambda: [gradient(g, x, 1, 1)], (1, 2, 5))
