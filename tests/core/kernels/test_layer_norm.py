"""Layer normalization of rows: by hand, by differences, compiled against reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(7)

FORMS = ["reference", "compiled"]


def draw(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_forward(self, form):
        x = np.array([[1.0, 3, 5, 7], [2, 2, 2, 2]])
        weight, bias = np.array([1.0, 1, 2, 2]), np.array([0.0, 1, 0, 1])
        y, mean, inverse_std = getattr(kernels.layer_norm, form)(x, weight, bias, 4.0)
        np.testing.assert_allclose(mean, [4, 2])
        np.testing.assert_allclose(inverse_std, [1 / 3, 1 / 2])
        np.testing.assert_allclose(y, [[-1, 2 / 3, 2 / 3, 3], [0, 1, 0, 1]])

    def test_gradients_by_differences(self, form, numerical_gradient):
        x, weight, bias = (rng.standard_normal(s) for s in ((3, 5), 5, 5))
        g = rng.standard_normal((3, 5))
        _, mean, inverse_std = getattr(kernels.layer_norm, form)(x, weight, bias, 0.1)
        gradients = getattr(kernels.layer_norm_backward, form)(g, x, weight, mean, inverse_std)
        arrays = [x, weight, bias]
        for i, gradient in enumerate(gradients):

            def normalize(value, i=i):
                given_ = [value if i == j else a for j, a in enumerate(arrays)]
                return kernels.layer_norm.reference(*given_, 0.1)[0]

            np.testing.assert_allclose(
                gradient, numerical_gradient(normalize, arrays[i], g), atol=1e-7
            )


@settings(max_examples=80, deadline=None)
@given(
    rows=st.one_of(st.integers(0, 40), st.just(1500)),
    channels=st.integers(0, 200),
    with_weight=st.booleans(),
    with_bias=st.booleans(),
    offset=st.sampled_from([0, 3]),
    double=st.booleans(),
)
def test_compiled_matches_reference(rows, channels, with_weight, with_bias, offset, double):
    dtype, tolerance = (np.float64, 1e-10) if double else (np.float32, 1e-4)
    x, g = draw(rows, channels, dtype=dtype) + dtype(offset), draw(rows, channels, dtype=dtype)
    weight = draw(channels, dtype=dtype) if with_weight else None
    bias = draw(channels, dtype=dtype) if with_bias else None
    results = kernels.layer_norm.compiled(x, weight, bias, 0.01)
    expected = kernels.layer_norm.reference(x.astype(np.float64), weight, bias, 0.01)
    gradients = kernels.layer_norm_backward.compiled(g, x, weight, *results[1:])
    others = kernels.layer_norm_backward.reference(
        g.astype(np.float64), x.astype(np.float64), weight, *expected[1:]
    )
    for actual, other in zip((*results, *gradients), (*expected, *others), strict=True):
        assert (actual.shape, actual.dtype) == (other.shape, dtype)
        scale = tolerance * np.abs(other).max(initial=1)
        np.testing.assert_allclose(actual, other, atol=scale, rtol=tolerance)


def test_foreign_layouts(foreign):
    x, weight, bias, g = draw(20, 40), draw(40), draw(40), draw(20, 40)
    expected = kernels.layer_norm.reference(x, weight, bias, 0.01)
    results = kernels.layer_norm.compiled(*map(foreign, (x, weight, bias)), 0.01)
    gradients = kernels.layer_norm_backward.compiled(*map(foreign, (g, x, weight, *expected[1:])))
    others = kernels.layer_norm_backward.reference(g, x, weight, *expected[1:])
    for actual, other in zip((*results, *gradients), (*expected, *others), strict=True):
        np.testing.assert_allclose(actual, other, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_row(value):
    x = draw(9, 33)
    finite, _, _ = kernels.layer_norm.compiled(x, None, None, 0.01)
    x[4, 5] = value
    y, _, _ = kernels.layer_norm.compiled(x, None, None, 0.01)
    assert np.isnan(y[4]).any()
    y[4] = finite[4]
    np.testing.assert_array_equal(y, finite)


def test_mean_far_from_zero():
    x = draw(8, 768) + np.float32(1000)
    y, _, _ = kernels.layer_norm.compiled(x, None, None, 1e-5)
    expected, _, _ = kernels.layer_norm.reference(x.astype(np.float64), None, None, 1e-5)
    np.testing.assert_allclose(y, expected, atol=2e-3)


def test_threads_do_not_change_results(assert_thread_invariant):
    x, weight, g = draw(3000, 96), draw(96), draw(3000, 96)

    def run():
        results = kernels.layer_norm.compiled(x, weight, None, 1e-5)
        return [*results, *kernels.layer_norm_backward.compiled(g, x, weight, *results[1:])]

    assert_thread_invariant(run)
