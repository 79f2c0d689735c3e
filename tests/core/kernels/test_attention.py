"""Scaled dot-product attention: by hand, by differences, compiled against reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(5)

FORMS = ["reference", "compiled"]

leads = st.lists(st.integers(1, 3), max_size=3).map(tuple)
lengths = st.one_of(st.integers(1, 20), st.integers(30, 600))
widths = st.integers(1, 80)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def draw_bias(kind, shape):
    """Draw a bias that broadcasts to ``shape``."""
    if kind is None:
        return None
    full = {
        "full": shape,
        "rows": (*shape[:-1], 1),
        "keys": (1, shape[-1]),
        "heads": shape[-2:],
        "vector": shape[-1:],
    }[kind]
    masked = rng.random(full) < 0.3
    return np.where(masked, np.float32(-np.inf), draw(*full))


def compare(q, k, v, bias=None, causal=False, scale=0.3):
    """Compare values and gradients of the compiled form with the reference in float64."""
    settings_ = (causal, scale)
    y, log_sum = kernels.attention.compiled(q, k, v, bias, *settings_)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    expected, expected_log_sum = kernels.attention.reference(*wide, bias, *settings_)
    assert (y.shape, y.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(y, expected, atol=2e-5)
    np.testing.assert_allclose(log_sum, expected_log_sum, atol=2e-5)
    g = draw(*y.shape)
    gradients = kernels.attention_backward.compiled(g, q, k, v, bias, y, log_sum, *settings_)
    others = kernels.attention_backward.reference(
        g.astype(np.float64), *wide, bias, expected, expected_log_sum, *settings_
    )
    for actual, other in zip(gradients[:3], others[:3], strict=True):
        assert (actual.shape, actual.dtype) == (other.shape, np.float32)
        np.testing.assert_allclose(actual, other, atol=2e-5 * np.abs(other).max(initial=1))
    assert gradients[3] is None


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_equal_scores_average_the_values(self, form):
        q, k = np.ones((1, 2), np.float32), np.ones((4, 2), np.float32)
        v = np.float32([[1, 0], [2, 0], [3, 0], [6, 4]])
        y, log_sum = getattr(kernels.attention, form)(q, k, v, None, False, 0.5)
        np.testing.assert_allclose(y, [[3, 1]], rtol=1e-6)
        np.testing.assert_allclose(log_sum, [1 + np.log(4)], rtol=1e-6)

    def test_two_keys(self, form):
        q, k, v = np.float32([[1]]), np.float32([[0], [np.log(3)]]), np.float32([[4], [8]])
        attend = getattr(kernels.attention, form)
        y, _ = attend(q, k, v, None, False, 1.0)
        np.testing.assert_allclose(y, [[7]], rtol=1e-6)
        y, _ = attend(q, k, v, np.float32([np.log(3), 0]), False, 1.0)
        np.testing.assert_allclose(y, [[6]], rtol=1e-6)

    def test_causal_rows_see_the_keys_before_them(self, form):
        q, v = np.zeros((4, 1), np.float32), np.float32([[1], [3], [8]])
        y, _ = getattr(kernels.attention, form)(q, v, v, None, True, 1.0)
        np.testing.assert_allclose(y, [[1], [2], [4], [4]], rtol=1e-6)

    def test_masked_rows_are_zero_and_have_no_gradient(self, form):
        q, k, v, g = draw(2, 3), draw(5, 3), draw(5, 4), draw(2, 4)
        bias = np.float32([[-np.inf], [0]])
        y, log_sum = getattr(kernels.attention, form)(q, k, v, bias, False, 1.0)
        np.testing.assert_array_equal(y[0], 0)
        assert log_sum[0] == np.inf
        gradients = getattr(kernels.attention_backward, form)(
            g, q, k, v, bias, y, log_sum, False, 1.0
        )
        np.testing.assert_array_equal(gradients[0][0], 0)
        assert all(np.isfinite(x).all() for x in gradients[:3])

    def test_gradients_by_differences(self, form, numerical_gradient):
        arrays = [rng.standard_normal(s) for s in ((2, 3, 2), (2, 4, 2), (2, 4, 3), (3, 4))]
        g = rng.standard_normal((2, 3, 3))
        y, log_sum = getattr(kernels.attention, form)(*arrays, False, 0.7)
        gradients = getattr(kernels.attention_backward, form)(
            g, *arrays, y, log_sum, False, 0.7, with_bias=True
        )
        for i, gradient in enumerate(gradients):

            def attend(x, i=i):
                given_ = [x if i == j else a for j, a in enumerate(arrays)]
                return kernels.attention.reference(*given_, False, 0.7)[0]

            expected = numerical_gradient(attend, arrays[i], g)
            np.testing.assert_allclose(
                gradient.sum(axis=0) if i == 3 else gradient, expected, atol=1e-6
            )


@settings(max_examples=80, deadline=None)
@given(
    lead=leads,
    rows=lengths,
    keys=lengths,
    length=widths,
    width=widths,
    kind=st.sampled_from([None, "full", "rows", "keys", "heads", "vector"]),
    causal=st.booleans(),
    scale=st.sampled_from([0.3, -0.2, 0.0]),
)
def test_compiled_matches_reference(lead, rows, keys, length, width, kind, causal, scale):
    q, k, v = draw(*lead, rows, length), draw(*lead, keys, length), draw(*lead, keys, width)
    compare(q, k, v, draw_bias(kind, (*lead, rows, keys)), causal, scale)


@pytest.mark.parametrize("shapes", [((3, 1), (2,), (3, 2)), ((), (4,), (2, 1)), ((2,), (), ())])
def test_leading_axes_broadcast(shapes):
    sizes = ((40, 16), (70, 16), (70, 24))
    compare(*(draw(*lead, *size) for lead, size in zip(shapes, sizes, strict=True)))


def test_heads_of_one_projection():
    """A projection (N, L, 3, heads, E) is read in place, and heads are adjacent in the result."""
    q, k, v = draw(2, 50, 3, 4, 16).transpose(2, 0, 3, 1, 4)
    compare(q, k, v)
    y, _ = kernels.attention.compiled(q, k, v, None, False, 1.0)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous


def test_foreign_layouts(foreign):
    q, k, v = draw(2, 40, 16), draw(2, 50, 16), draw(2, 50, 8)
    bias, g = draw(40, 50), draw(2, 40, 8)
    y, log_sum = kernels.attention.compiled(q, k, v, bias, False, 0.3)
    others = [foreign(x) for x in (q, k, v, bias)]
    result, _ = kernels.attention.compiled(*others, False, 0.3)
    np.testing.assert_allclose(result, y, atol=1e-6)
    expected = kernels.attention_backward.compiled(g, q, k, v, bias, y, log_sum, False, 0.3)
    gradients = kernels.attention_backward.compiled(
        foreign(g), *others, foreign(y), foreign(log_sum), False, 0.3
    )
    for actual, other in zip(gradients[:3], expected[:3], strict=True):
        np.testing.assert_allclose(actual, other, atol=1e-5)


def test_large_scores_do_not_overflow():
    q, k, v = 100 * draw(30, 16), 100 * draw(700, 16), draw(700, 8)
    y, _ = kernels.attention.compiled(q, k, v, None, False, 1.0)
    expected, _ = kernels.attention.reference(q, k, v, None, False, 1.0)
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_of_a_query_stay_in_its_row(value):
    q, k, v = draw(2, 40, 16), np.abs(draw(2, 300, 16)), draw(2, 300, 8)
    finite, _ = kernels.attention.compiled(q, k, v, None, False, 0.3)
    q[1, 7, 3] = value
    y, _ = kernels.attention.compiled(q, k, v, None, False, 0.3)
    assert np.isnan(y[1, 7]).all()
    y[1, 7] = finite[1, 7]
    np.testing.assert_array_equal(y, finite)


def test_scores_of_minus_infinity_are_masked():
    q, k, v = draw(13, 4), np.abs(draw(40, 4)), draw(40, 8)
    q[5] = -np.inf
    y, _ = kernels.attention.compiled(q, k, v, None, False, 0.3)
    np.testing.assert_array_equal(y[5], 0)
    assert np.isfinite(y).all()


def test_nan_of_a_value_stays_in_its_column():
    q, k, v = draw(30, 16), draw(40, 16), draw(40, 8)
    v[4, 2] = np.nan
    y, _ = kernels.attention.compiled(q, k, v, None, False, 0.3)
    np.testing.assert_array_equal(np.isnan(y), np.arange(8)[None] == np.full((30, 1), 2))


@pytest.mark.parametrize("lead", [(1,), (3,), (12,)])
def test_threads_do_not_change_results(lead, assert_thread_invariant):
    q, k, v, g = (
        draw(*lead, 300, 32),
        draw(*lead, 600, 32),
        draw(*lead, 600, 32),
        draw(*lead, 300, 32),
    )

    def run():
        y, log_sum = kernels.attention.compiled(q, k, v, None, False, 0.2)
        gradients = kernels.attention_backward.compiled(g, q, k, v, None, y, log_sum, False, 0.2)
        return [y, log_sum, *gradients[:3]]

    assert_thread_invariant(run)
