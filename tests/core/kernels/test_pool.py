"""Pooling: by hand, against definitions, compiled against reference, backward by differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels
from lucid.kernels.reference.pool import output_size

rng = np.random.default_rng(1)

FORMS = ["reference", "compiled"]

seeds = st.integers(0, 2**32 - 1)
ONE = (1, 1)


def ramp(h, w):
    return np.arange(h * w, dtype=np.float64).reshape(1, 1, h, w)


@st.composite
def windows(draw, dilated):
    """Draw sizes of an image and of a window that fits it."""
    axes = []
    for _ in range(2):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 2)) if dilated else 1
        reach = dilation * (kernel - 1) + 1
        padding = draw(st.integers(0, reach // 2))
        size = draw(st.integers(max(1, reach - 2 * padding), 8))
        axes.append((size, kernel, stride, padding, dilation))
    return [tuple(pair) for pair in zip(*axes, strict=True)]


batches = st.tuples(st.integers(0, 3), st.integers(0, 70))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "ceil_mode", "expected"),
    [
        (112, 3, 2, 1, 1, False, 56),
        (5, 2, 2, 0, 1, False, 2),
        (5, 2, 2, 0, 1, True, 3),
        (4, 1, 2, 0, 1, True, 2),  # a third window would start outside
        (3, 2, 2, 1, 1, True, 2),  # a third would start in the right padding
        (7, 3, 1, 0, 2, False, 3),
        (2, 3, 2, 0, 1, True, 1),  # the only window exceeds the image
    ],
)
def test_output_size(size, kernel, stride, padding, dilation, ceil_mode, expected):
    pairs = [(v, v) for v in (size, kernel, stride, padding, dilation)]
    assert output_size(*pairs, ceil_mode) == (expected, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "message"),
    [
        ((0, 1), ONE, (0, 0), ONE, r"got 0, 1 and 1 \(.*height"),
        (ONE, (1, 0), (0, 0), ONE, r"got 1, 0 and 1 \(.*width"),
        (ONE, ONE, (0, 0), (-1, 1), r"got 1, 1 and -1 \(.*height"),
        ((2, 3), ONE, (1, 2), ONE, r"padding .* 1, got 2 \(.*width"),
        ((2, 2), ONE, (-1, 0), ONE, r"padding .* 1, got -1 \(.*height"),
        ((1, 5), ONE, (0, 0), ONE, "width .* 5, got 3 with padding 0"),
        ((1, 2), ONE, (0, 0), (1, 3), "width .* 4, got 3"),
    ],
)
def test_invalid_windows_are_rejected(form, kernel, stride, padding, dilation, message):
    with pytest.raises(ValueError, match=message):
        getattr(kernels.max_pool2d, form)(ramp(4, 3), kernel, stride, padding, dilation, False)


@pytest.mark.parametrize("form", FORMS)
def test_empty_images_are_rejected(form):
    with pytest.raises(ValueError, match=r"height .*got 0"):
        getattr(kernels.max_pool2d, form)(np.zeros((1, 1, 0, 3)), ONE, ONE, (0, 0), ONE, False)


@pytest.mark.parametrize("form", FORMS)
class TestMaxPool:
    def test_by_hand(self, form):
        x = np.array([[1, 5, 2, 0], [3, 4, 8, 8], [7, 7, -1, 6]], np.float64)[None, None]
        y, index = getattr(kernels.max_pool2d, form)(x, (2, 2), ONE, (0, 0), ONE, False)
        np.testing.assert_array_equal(y[0, 0], [[5, 8, 8], [7, 8, 8]])
        # of equal elements the first one
        np.testing.assert_array_equal(index[0, 0], [[1, 6, 6], [8, 6, 6]])
        assert index.dtype == np.int32

    def test_padding_is_never_the_maximum(self, form):
        y, index = getattr(kernels.max_pool2d, form)(
            -1 - ramp(3, 3), (3, 3), (2, 2), ONE, ONE, False
        )
        np.testing.assert_array_equal(y[0, 0], [[-1, -2], [-4, -5]])
        np.testing.assert_array_equal(index[0, 0], [[0, 1], [3, 4]])

    def test_all_minus_infinity_has_an_index(self, form):
        x = np.full((1, 1, 2, 2), -np.inf)
        y, index = getattr(kernels.max_pool2d, form)(x, (2, 2), (2, 2), ONE, ONE, False)
        assert (y == -np.inf).all()
        np.testing.assert_array_equal(index[0, 0], [[0, 1], [2, 3]])

    def test_window_outside_of_the_image(self, form):
        """A dilated window reads left and right of a single pixel, and has no gradient."""
        x = np.ones((1, 1, 1, 1))
        y, index = getattr(kernels.max_pool2d, form)(x, (1, 2), ONE, (0, 1), (1, 2), False)
        assert y.item() == -np.inf
        assert index.item() == -1
        gx = getattr(kernels.max_pool2d_backward, form)(np.ones_like(y), index, x.shape)
        assert gx.item() == 0

    def test_nan_propagates(self, form):
        x = np.array([[9.0, np.nan, 1, 2, np.nan, np.nan]])[None, None]
        y, index = getattr(kernels.max_pool2d, form)(x, (1, 2), (1, 2), (0, 0), ONE, False)
        np.testing.assert_array_equal(y.ravel(), [np.nan, 2, np.nan])
        np.testing.assert_array_equal(index.ravel(), [1, 3, 4])

    def test_gradient_by_hand(self, form):
        index = np.array([[1, 1], [3, -1]], np.int32)[None, None]
        g = np.array([[1.0, 2], [4, 8]])[None, None]
        gx = getattr(kernels.max_pool2d_backward, form)(g, index, (1, 1, 2, 2))
        np.testing.assert_array_equal(gx[0, 0], [[0, 3], [0, 4]])

    def test_gradient_by_differences(self, form, numerical_gradient):
        x = rng.permutation(2 * 2 * 6 * 5).reshape(2, 2, 6, 5) / 7.0
        settings_ = ((3, 2), (2, 1), (1, 1), (1, 2), True)
        forward, backward = (
            getattr(k, form) for k in (kernels.max_pool2d, kernels.max_pool2d_backward)
        )
        y, index = forward(x, *settings_)
        g = rng.standard_normal(y.shape)
        np.testing.assert_allclose(
            backward(g, index, x.shape),
            numerical_gradient(lambda v: forward(v, *settings_)[0], x, g),
            atol=1e-8,
        )


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    batch=batches,
    window=windows(True),
    ceil_mode=st.booleans(),
    double=st.booleans(),
)
def test_compiled_max_pool_matches_reference(seed, batch, window, ceil_mode, double):
    rng = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    size, kernel, stride, padding, dilation = window
    x = rng.integers(-4, 5, (*batch, *size)).astype(dtype)  # few values: many ties
    options = (kernel, stride, padding, dilation, ceil_mode)
    y, index = kernels.max_pool2d.compiled(x, *options)
    expected, expected_index = kernels.max_pool2d.reference(x, *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, expected_index)
    assert y.dtype == dtype
    assert index.dtype == np.int32
    assert kernels.is_channels_last(y)
    assert kernels.is_channels_last(index)

    g = rng.integers(-9, 9, y.shape).astype(dtype)  # sums of integers are exact
    gx = kernels.max_pool2d_backward.compiled(g, index, x.shape)
    np.testing.assert_array_equal(gx, kernels.max_pool2d_backward.reference(g, index, x.shape))
    assert gx.dtype == dtype
    assert kernels.is_channels_last(gx)


@pytest.mark.parametrize("form", FORMS)
class TestAvgPool:
    @pytest.mark.parametrize(
        ("count_include_pad", "expected"), [(True, [[0, 3 / 4], [9 / 4, 24 / 4]]),
                                            (False, [[0, 3 / 2], [9 / 2, 24 / 4]])]
    )  # fmt: skip
    def test_padding(self, form, count_include_pad, expected):
        y = getattr(kernels.avg_pool2d, form)(
            ramp(3, 3), (2, 2), (2, 2), ONE, False, count_include_pad
        )
        np.testing.assert_allclose(y[0, 0], expected)

    def test_ceil_mode_excess_never_counts(self, form):
        y = getattr(kernels.avg_pool2d, form)(ramp(3, 3), (2, 2), (2, 2), (0, 0), True, True)
        np.testing.assert_allclose(y[0, 0], [[2, 3.5], [6.5, 8]])

    def test_mean_of_many_float32_is_exact_enough(self, form):
        x = np.full((1, 1, 400, 400), 0.1, np.float32)
        y = getattr(kernels.avg_pool2d, form)(x, (400, 400), ONE, (0, 0), False, True)
        assert y.item() == np.float32(0.1)

    def test_explicit_divisor(self, form):
        y = getattr(kernels.avg_pool2d, form)(
            ramp(3, 3), (2, 2), (2, 2), ONE, True, True, divisor=2
        )
        np.testing.assert_allclose(y[0, 0], [[0, 3 / 2], [9 / 2, 12]])

    @pytest.mark.parametrize("ceil_mode", [False, True])
    @pytest.mark.parametrize("count_include_pad", [False, True])
    def test_gradient_by_differences(self, form, ceil_mode, count_include_pad, numerical_gradient):
        x = rng.standard_normal((2, 2, 6, 5))
        options = ((3, 2), (2, 3), (1, 1), ceil_mode, count_include_pad)
        forward = getattr(kernels.avg_pool2d, form)
        g = rng.standard_normal(forward(x, *options).shape)
        np.testing.assert_allclose(
            getattr(kernels.avg_pool2d_backward, form)(g, x.shape, *options),
            numerical_gradient(lambda v: forward(v, *options), x, g),
            atol=1e-8,
        )


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    batch=batches,
    window=windows(False),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    divisor=st.sampled_from([None, None, 1, -7]),
    double=st.booleans(),
)
def test_compiled_avg_pool_matches_reference(
    seed, batch, window, ceil_mode, count_include_pad, divisor, double
):
    rng = np.random.default_rng(seed)
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-6)
    size, kernel, stride, padding, _ = window
    x = rng.standard_normal((*batch, *size)).astype(dtype)
    options = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    y = kernels.avg_pool2d.compiled(x, *options)
    np.testing.assert_allclose(
        y, kernels.avg_pool2d.reference(x, *options), rtol=tolerance, atol=tolerance
    )
    assert y.dtype == dtype
    assert kernels.is_channels_last(y)

    g = rng.standard_normal(y.shape).astype(dtype)
    gx = kernels.avg_pool2d_backward.compiled(g, x.shape, *options)
    expected = kernels.avg_pool2d_backward.reference(g, x.shape, *options)
    np.testing.assert_allclose(gx, expected, rtol=tolerance, atol=10 * tolerance)
    assert gx.dtype == dtype
    assert kernels.is_channels_last(gx)


def test_foreign_layouts(foreign):
    x = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    options = ((3, 3), (2, 2), ONE, ONE, False)
    y, index = kernels.max_pool2d.compiled(x, *options)
    other_y, other_index = kernels.max_pool2d.compiled(foreign(x), *options)
    np.testing.assert_array_equal(other_y, y)
    np.testing.assert_array_equal(other_index, index)
    backward = kernels.max_pool2d_backward.compiled
    np.testing.assert_array_equal(
        backward(foreign(y), foreign(index), x.shape), backward(y, index, x.shape)
    )
    options = ((3, 3), (2, 2), ONE, False, True)
    np.testing.assert_array_equal(
        kernels.avg_pool2d.compiled(foreign(x), *options), kernels.avg_pool2d.compiled(x, *options)
    )
    backward = kernels.avg_pool2d_backward.compiled
    np.testing.assert_array_equal(
        backward(foreign(y), x.shape, *options), backward(y, x.shape, *options)
    )


def test_large_enough_for_several_threads():
    x = rng.standard_normal((3, 48, 60, 61)).astype(np.float32)
    options = ((3, 3), (2, 2), ONE, ONE, False)
    y, index = kernels.max_pool2d.compiled(x, *options)
    expected, expected_index = kernels.max_pool2d.reference(x, *options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, expected_index)
    gx = kernels.max_pool2d_backward.compiled(y, index, x.shape)
    expected = kernels.max_pool2d_backward.reference(y, index, x.shape)
    np.testing.assert_allclose(gx, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.float16])
def test_other_dtypes_are_rejected(dtype):
    x = np.zeros((1, 1, 2, 2), dtype)
    with pytest.raises(TypeError, match=f"float32 or float64, got {np.dtype(dtype)}"):
        kernels.max_pool2d.compiled(x, ONE, ONE, (0, 0), ONE, False)
