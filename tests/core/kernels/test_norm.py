"""Batch normalization: by hand, by differences, compiled against reference, far from zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(2)

FORMS = ["reference", "compiled"]
NAMES = (None, *kernels.ACTIVATIONS)
#: Activations with jumps of the derivative, where rounding decides.
CORNERS = {"relu": [0], "relu6": [0, 6], "hardsigmoid": [-3, 3], "hardswish": [-3, 3]}

seeds = st.integers(0, 2**32 - 1)
EPS = 1e-5


def close(actual, expected, double, scale=1.0):
    tolerance = 1e-12 if double else 1e-5
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_forward(self, form):
        x = np.array([[[[1.0, 3]], [[0, 0]]], [[[5, 7]], [[2, 2]]]])  # channels: 1 3 5 7; 0 0 2 2
        weight, bias = np.array([2.0, 1]), np.array([0.0, 10])
        y, mean, variance, inverse_std, _ = getattr(kernels.batch_norm, form)(
            x, weight, bias, 0.0, None, None
        )
        np.testing.assert_allclose(mean, [4, 1])
        np.testing.assert_allclose(variance, [5, 1])
        np.testing.assert_allclose(inverse_std, [5**-0.5, 1])
        np.testing.assert_allclose(y[:, 0].ravel(), np.array([-6, -2, 2, 6]) / 5**0.5)
        np.testing.assert_allclose(y[:, 1].ravel(), [9, 9, 11, 11])

    def test_residual_and_relu(self, form):
        x = np.array([-1.0, 1]).reshape(2, 1, 1, 1)
        residual = np.array([3.0, -0.5]).reshape(2, 1, 1, 1)
        batch_norm = getattr(kernels.batch_norm, form)
        for added, activation, expected in (
            (None, None, [-1, 1]),
            (None, "relu", [0, 1]),
            (residual, None, [2, 0.5]),
            (-residual, "relu", [0, 1.5]),
            (None, "hardsigmoid", [1 / 3, 2 / 3]),
            (residual, "hardswish", [5 / 3, 7 / 24]),
            (4 * residual, "relu6", [6, 0]),
        ):
            y = batch_norm(x, None, None, 0.0, added, activation)[0]
            np.testing.assert_allclose(y.ravel(), expected)

    def test_affine(self, form):
        x = np.array([1.0, 2, 3, 4]).reshape(1, 2, 1, 2)
        scale, shift = np.array([2.0, -1]), np.array([-3.0, 3])
        affine_act = getattr(kernels.affine_act, form)
        y = affine_act(x, scale, shift, None, "relu")
        np.testing.assert_allclose(y.ravel(), [0, 1, 0, 0])
        y = affine_act(x, scale, shift, x, None)
        np.testing.assert_allclose(y.ravel(), [0, 3, 3, 3])

    def test_affine_gradients(self, form):
        x = np.array([1.0, 2, 3, 4]).reshape(1, 2, 1, 2)
        y = np.array([0.0, 1, 5, 0]).reshape(1, 2, 1, 2)
        g = np.array([10.0, 20, 30, 40]).reshape(1, 2, 1, 2)
        scale = np.array([2.0, -1])
        backward = getattr(kernels.affine_act_backward, form)
        gx, gscale, gshift, gresidual = backward(g, x, y, scale, True, True)
        np.testing.assert_allclose(gresidual.ravel(), [0, 20, 30, 0])
        np.testing.assert_allclose(gx.ravel(), [0, 40, -30, 0])
        np.testing.assert_allclose(gscale, [40, 90])
        np.testing.assert_allclose(gshift, [20, 30])
        gx, gscale, gshift, gresidual = backward(g, None, None, scale, False, False)
        np.testing.assert_allclose(gx.ravel(), [20, 40, -30, -40])
        assert gscale is None
        np.testing.assert_allclose(gshift, [30, 70])
        assert gresidual is None

    def test_nothing_to_normalize(self, form):
        for shape in ((0, 3, 2, 2), (2, 3, 0, 4), (2, 0, 3, 3)):
            x = np.zeros(shape, np.float32)
            y, mean, variance, inverse_std, affine = getattr(kernels.batch_norm, form)(
                x, None, None, EPS, x, "relu"
            )
            assert y.shape == shape
            np.testing.assert_array_equal(mean, np.zeros(shape[1]))
            np.testing.assert_array_equal(variance, np.zeros(shape[1]))
            gradients = getattr(kernels.batch_norm_backward, form)(
                y, x, y, None, mean, inverse_std, affine, "relu", True
            )
            shapes = [gradient.shape for gradient in gradients]
            assert shapes == [shape, (shape[1],), (shape[1],), shape]
            gx, *_ = getattr(kernels.affine_act_backward, form)(x, x, x, mean, True, True)
            assert gx.shape == shape

    def test_nan_and_infinity_propagate(self, form):
        x = rng.standard_normal((2, 3, 2, 2))
        x[0, 1, 0, 0], x[1, 2, 0, 0] = np.nan, np.inf
        y, mean, variance, *_ = getattr(kernels.batch_norm, form)(x, None, None, EPS, None, "relu")
        assert np.isfinite(y[:, 0]).all()
        assert np.isnan(y[:, 1]).all()
        assert not np.isfinite(mean[1:]).any()
        assert not np.isfinite(variance[1:]).any()
        ones = np.ones(3)
        y = getattr(kernels.affine_act, form)(x, ones, ones, None, "relu")
        assert np.isnan(y[0, 1, 0, 0])
        assert y[1, 2, 0, 0] == np.inf
        gx, *_ = getattr(kernels.affine_act_backward, form)(x, x, y, ones, True, False)
        assert np.isnan(gx[0, 1, 0, 0])
        assert np.isfinite(gx[:, 0]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("with_residual", [False, True])
class TestByDifferences:
    @pytest.mark.parametrize("activation", NAMES)
    def test_batch_norm(self, form, activation, with_residual, numerical_gradient):
        shape = (2, 3, 3, 2)
        x, residual = rng.standard_normal(shape), rng.standard_normal(shape)
        weight, bias = rng.standard_normal(3), rng.standard_normal(3)
        g = rng.standard_normal(shape)

        def forward(x=x, weight=weight, bias=bias, residual=residual):
            added = residual if with_residual else None
            return getattr(kernels.batch_norm, form)(x, weight, bias, EPS, added, activation)

        y, mean, _, inverse_std, affine = forward()
        kept = y if activation == "relu" else residual
        gx, gweight, gbias, gresidual = getattr(kernels.batch_norm_backward, form)(
            g, x, kept, weight, mean, inverse_std, affine, activation, with_residual
        )
        for gradient, name, value in (
            (gx, "x", x), (gweight, "weight", weight), (gbias, "bias", bias),
        ):  # fmt: skip
            expected = numerical_gradient(lambda v, name=name: forward(**{name: v})[0], value, g)
            np.testing.assert_allclose(gradient, expected, atol=2e-8)
        if with_residual:
            expected = numerical_gradient(lambda v: forward(residual=v)[0], residual, g)
            np.testing.assert_allclose(gresidual, expected, atol=1e-8)
        else:
            assert gresidual is None

    @pytest.mark.parametrize("relu", [False, True])
    def test_affine_act(self, form, relu, with_residual, numerical_gradient):
        shape = (2, 3, 3, 2)
        x, residual = rng.standard_normal(shape), rng.standard_normal(shape)
        scale, shift = rng.standard_normal(3), rng.standard_normal(3)
        g = rng.standard_normal(shape)

        def forward(x=x, scale=scale, shift=shift, residual=residual):
            added = residual if with_residual else None
            activation = "relu" if relu else None
            return getattr(kernels.affine_act, form)(x, scale, shift, added, activation)

        gx, gscale, gshift, gresidual = getattr(kernels.affine_act_backward, form)(
            g, x, forward() if relu else None, scale, relu, with_residual
        )
        for gradient, name, value in (
            (gx, "x", x), (gscale, "scale", scale), (gshift, "shift", shift),
        ):  # fmt: skip
            expected = numerical_gradient(lambda v, name=name: forward(**{name: v}), value, g)
            np.testing.assert_allclose(gradient, expected, atol=1e-8)
        if with_residual:
            expected = numerical_gradient(lambda v: forward(residual=v), residual, g)
            np.testing.assert_allclose(gresidual, expected, atol=1e-8)
        else:
            assert gresidual is None


shapes = st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=50, deadline=None)
@given(
    seed=seeds,
    shape=shapes,
    affine=st.sampled_from([(True, True), (True, False), (False, True), (False, False)]),
    with_residual=st.booleans(),
    activation=st.sampled_from(NAMES),
    double=st.booleans(),
)
def test_compiled_batch_norm_matches_reference(
    seed, shape, affine, with_residual, activation, double
):
    rng = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    x, residual, g = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    weight, bias = (
        rng.standard_normal(shape[1]).astype(dtype) if wanted else None for wanted in affine
    )
    options = (x, weight, bias, 1e-2, residual if with_residual else None, activation)
    results = kernels.batch_norm.compiled(*options)
    expected = kernels.batch_norm.reference(*options)
    for actual, wanted in zip(results, expected, strict=True):
        close(actual, wanted, double)
        assert actual.dtype == dtype
    assert kernels.is_channels_last(results[0])

    y, mean, _, inverse_std, affine = expected
    given_y = activation == "relu" and with_residual
    if not given_y:
        seen = (x - mean[:, None, None]) * affine[0][:, None, None] + affine[1][:, None, None]
        seen += residual if with_residual else 0
        for corner in CORNERS.get(activation, []):
            beside = seen - corner
            assume(not ((beside != 0) & (np.abs(beside) < 4e-6)).any())
    options = (
        g,
        x,
        y if given_y else residual,
        weight,
        mean,
        inverse_std,
        affine,
        activation,
        with_residual,
    )
    results = kernels.batch_norm_backward.compiled(*options)
    expected = kernels.batch_norm_backward.reference(*options)
    scale = float(np.sqrt(x.size))
    for actual, wanted in zip(results, expected, strict=True):
        if wanted is None:
            assert actual is None
        else:
            close(actual, wanted, double, scale)
            assert actual.dtype == dtype
    assert kernels.is_channels_last(results[0])


@settings(max_examples=50, deadline=None)
@given(
    seed=seeds,
    shape=shapes,
    with_residual=st.booleans(),
    activation=st.sampled_from(NAMES),
    with_scale=st.booleans(),
    double=st.booleans(),
)
def test_compiled_affine_matches_reference(
    seed, shape, with_residual, activation, with_scale, double
):
    rng = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    x, residual, g = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    scale, shift = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    options = (x, scale, shift, residual if with_residual else None, activation)
    y = kernels.affine_act.compiled(*options)
    expected = kernels.affine_act.reference(*options)
    close(y, expected, double)
    assert y.dtype == dtype
    assert kernels.is_channels_last(y)

    relu = activation == "relu"
    options = (
        g, x if with_scale else None, expected if relu else None, scale, relu, with_residual,
    )  # fmt: skip
    results = kernels.affine_act_backward.compiled(*options)
    for actual, wanted in zip(
        results, kernels.affine_act_backward.reference(*options), strict=True
    ):
        if wanted is None:
            assert actual is None
        else:
            close(actual, wanted, double, float(np.sqrt(x.size)))
            assert actual.dtype == dtype


@pytest.mark.parametrize("form", FORMS)
def test_statistics_far_from_zero(form):
    """A standard deviation of 1 around 10,000, and an outlier as the first value."""
    x = rng.standard_normal((8, 2, 16, 16)) + 1e4
    x[0, 1, 0, 0] = -1e6
    y, mean, variance, *_ = getattr(kernels.batch_norm, form)(x, None, None, EPS, None, None)
    exact_mean, exact_variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    np.testing.assert_allclose(mean, exact_mean, rtol=1e-12)
    np.testing.assert_allclose(variance, exact_variance, rtol=1e-10)

    x = x.astype(np.float32)
    exact_mean, exact_variance = x.mean((0, 2, 3), np.float64), x.var((0, 2, 3), np.float64)
    exact = (x - exact_mean[:, None, None]) / np.sqrt(exact_variance + EPS)[:, None, None]
    y, mean, variance, *_ = getattr(kernels.batch_norm, form)(x, None, None, EPS, None, None)
    np.testing.assert_allclose(mean, exact_mean, rtol=1e-7)
    np.testing.assert_allclose(variance, exact_variance, rtol=1e-6)
    np.testing.assert_allclose(y, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [5, 400])
def test_relu_mask_is_the_same_forward_and_backward(form, channels):
    """Even for values whose sign depends on rounding."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((2, channels, 3, 3)).astype(np.float32)
    weight = rng.uniform(0.5, 2, channels).astype(np.float32)
    batch_norm = getattr(kernels.batch_norm, form)
    # A bias that moves the first pixel of each channel to 0, up to a bit or two.
    bias = -batch_norm(x, weight, None, EPS, None, None)[0][0, :, 0, 0]
    bias = np.nextafter(bias, rng.standard_normal(channels).astype(np.float32))
    y, mean, _, inverse_std, affine = batch_norm(x, weight, bias, EPS, None, "relu")
    passed = y[0, :, 0, 0] > 0
    assert np.abs(y[0, :, 0, 0]).max() < 1e-6
    if channels == 400:
        assert 20 < passed.sum() < 380
    g = np.zeros_like(x)
    g[0, :, 0, 0] = 1
    gx, _, gbias, _ = getattr(kernels.batch_norm_backward, form)(
        g, x, None, weight, mean, inverse_std, affine, "relu", False
    )
    np.testing.assert_array_equal(gbias, passed)
    np.testing.assert_array_equal(gx.any((0, 2, 3)), passed)


@pytest.mark.parametrize("form", FORMS)
def test_constant_channel_is_zero(form):
    """Not the rounding error of ``1e4 * scale - 1e4 * scale`` for a scale of 1 / sqrt(eps)."""
    x = np.full((4, 1, 5, 5), 1e4 / 3, np.float32)
    y, *_ = getattr(kernels.batch_norm, form)(x, None, None, EPS, None, None)
    np.testing.assert_array_equal(y, 0)


def test_threads_do_not_change_results(assert_thread_invariant):
    shape = (4, 64, 48, 48)  # several ranges
    x, g, residual = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    weight, bias = np.ones(64, np.float32), np.zeros(64, np.float32)

    def run():
        y, mean, variance, inverse_std, affine = kernels.batch_norm.compiled(
            x, weight, bias, EPS, residual, "relu"
        )
        gradients = kernels.batch_norm_backward.compiled(
            g, x, y, weight, mean, inverse_std, affine, "relu", True
        )
        others = kernels.affine_act_backward.compiled(g, x, y, weight, True, True)
        return [y, mean, variance, inverse_std, affine, *gradients, *others]

    assert_thread_invariant(run, (1, 2, 3, 7))


@pytest.mark.parametrize("form", ["reference", "compiled"])
@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("channels", [1, 5, 64])
def test_donated_gradient_gives_the_same_results(form, activation, with_residual, channels):
    shape = (2, channels, 9, 7)
    x, g, residual = (
        kernels.channels_last(rng.standard_normal(shape).astype(np.float32)) for _ in range(3)
    )
    weight, bias = (rng.standard_normal(channels).astype(np.float32) for _ in range(2))
    added = residual if with_residual else None
    y, mean, _, inverse_std, affine = kernels.batch_norm.compiled(
        x, weight, bias, EPS, added, activation
    )
    backward = getattr(kernels.batch_norm_backward, form)
    others = (
        x,
        y if activation == "relu" else residual,
        weight,
        mean,
        inverse_std,
        affine,
        activation,
        with_residual,
    )
    given = g.copy(order="K")
    expected = backward(given, *others)
    np.testing.assert_array_equal(given, g)
    results = backward(given, *others, True)
    for actual, wanted in zip(results, expected, strict=True):
        if wanted is None:
            assert actual is None
        else:
            np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)
    if form == "compiled":
        assert np.shares_memory(given, results[3] if with_residual else results[0])
    if with_residual:
        assert not np.shares_memory(results[0], results[3])


def test_foreign_layouts(foreign):
    shape = (2, 3, 4, 5)
    x, g, residual = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    weight, bias = (rng.standard_normal(3).astype(np.float32) for _ in range(2))
    expected = kernels.batch_norm.compiled(x, weight, bias, EPS, residual, "relu")
    results = kernels.batch_norm.compiled(
        foreign(x), foreign(weight), foreign(bias), EPS, foreign(residual), "relu"
    )
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
        assert actual.dtype == np.float32
    y, mean, _, inverse_std, affine = expected
    arrays = (g, x, y, weight, mean, inverse_std, affine)
    expected = kernels.batch_norm_backward.compiled(*arrays, "relu", True)
    results = kernels.batch_norm_backward.compiled(*map(foreign, arrays), "relu", True)
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    arrays = (g, x, y, weight)
    expected = kernels.affine_act_backward.compiled(*arrays, True, True)
    results = kernels.affine_act_backward.compiled(*map(foreign, arrays), True, True)
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_other_dtypes_are_rejected():
    x = np.zeros((1, 1, 2, 2), np.int32)
    with pytest.raises(TypeError, match="float32 or float64, got int32"):
        kernels.batch_norm.compiled(x, None, None, EPS, None, None)
