"""Linear layer: few and many rows against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("form", ["reference", "compiled"])
def test_by_hand(form):
    x, weight = np.float32([[1, 2, 3]]), np.float32([[1, 0, -1], [2, 2, 2]])
    linear = getattr(kernels.linear, form)
    np.testing.assert_array_equal(linear(x, weight, None), [[-2, 12]])
    bias = np.float32([1, -1])
    np.testing.assert_array_equal(linear(x, weight, bias), [[-1, 11]])
    np.testing.assert_array_equal(bias, [1, -1])


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(0, 40),
    inputs=st.integers(0, 130),
    outputs=st.integers(0, 130),
    with_bias=st.booleans(),
    double=st.booleans(),
)
def test_compiled_matches_reference(rows, inputs, outputs, with_bias, double):
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-5)
    x, weight, bias = (
        draw(*s).astype(dtype) for s in ((rows, inputs), (outputs, inputs), (outputs,))
    )
    y = kernels.linear.compiled(x, weight, bias if with_bias else None)
    expected = kernels.linear.reference(x, weight, bias if with_bias else None)
    assert (y.shape, y.dtype) == ((rows, outputs), dtype)
    np.testing.assert_allclose(y, expected, atol=tolerance * max(1, inputs) ** 0.5)


@pytest.mark.parametrize("rows", [1, 4, 7, 32, 33])
def test_layer_of_a_real_network(rows):
    x, weight, bias = draw(rows, 1280), draw(1000, 1280), draw(1000)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T + bias
    y = kernels.linear.compiled(x, weight, bias)
    np.testing.assert_allclose(y, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("rows", [2, 6])
def test_foreign_layouts(rows, foreign):
    x, weight, bias = draw(rows, 20), draw(30, 20), draw(30)
    y = kernels.linear.compiled(foreign(x), foreign(weight), foreign(bias))
    expected = kernels.linear.reference(x, weight, bias)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("dtypes", "expected"), [("fdf", "d"), ("dff", "d"), ("ffd", "f"), ("ddf", "d")]
)
@pytest.mark.parametrize("form", ["reference", "compiled"])
def test_mixed_dtypes(form, dtypes, expected):
    x, weight, bias = (
        draw(*s).astype(t) for s, t in zip(((2, 3), (4, 3), (4,)), dtypes, strict=True)
    )
    y = getattr(kernels.linear, form)(x, weight, bias)
    assert y.dtype == expected
    np.testing.assert_allclose(y, x @ weight.T + bias, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_nonfinite_values_stay_in_their_row_and_output(rows):
    x, weight, bias = draw(rows, 40), draw(50, 40), draw(50)
    finite = kernels.linear.compiled(x, weight, bias)
    x[0, 39], weight[7, 3], bias[9] = np.nan, np.inf, -np.inf
    y = kernels.linear.compiled(x, weight, bias)
    assert np.isnan(y[0]).all()
    others = np.delete(np.arange(50), [7, 9])
    np.testing.assert_array_equal(y[1:, others], finite[1:, others])
    np.testing.assert_array_equal(y[1:, 7], np.sign(x[1:, 3]) * np.inf)
    np.testing.assert_array_equal(y[1:, 9], -np.inf)


@pytest.mark.parametrize("rows", [4, 31])
def test_threads_do_not_change_results(assert_thread_invariant, rows):
    x, weight, bias = draw(rows, 900), draw(1202, 900), draw(1202)
    assert_thread_invariant(lambda: [kernels.linear.compiled(x, weight, bias)])
