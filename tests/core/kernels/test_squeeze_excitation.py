"""Squeeze-and-excitation and channel means, compiled against reference and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(0)

FORMS = ["reference", "compiled"]

images = st.tuples(st.integers(0, 6), st.integers(0, 200), st.integers(1, 13), st.integers(1, 13))
names = st.sampled_from((None, *kernels.ACTIVATIONS))


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def layers(channels, hidden, with_bias=True, activations=("relu", "hardsigmoid")):
    shapes = ((hidden, channels), (channels, hidden))
    return [
        (draw(*shape), draw(shape[0]) if with_bias else None, name)
        for shape, name in zip(shapes, activations, strict=True)
    ]


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_channel_means(self, form):
        x = np.float32([[[[1, 2], [3, 6]], [[0, 0], [0, 1]]]])
        np.testing.assert_array_equal(getattr(kernels.channel_means, form)(x), [[3, 0.25]])

    def test_channel_means_backward(self, form):
        backward = getattr(kernels.channel_means_backward, form)
        g, onto = np.float32([[4, 8]]), np.float32([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])
        gx = backward(g, (1, 2, 2, 2))
        np.testing.assert_array_equal(gx, np.broadcast_to([[[[1]], [[2]]]], (1, 2, 2, 2)))
        np.testing.assert_array_equal(backward(g, (1, 2, 2, 2), onto), onto + gx)

    def test_scale_channels(self, form):
        x, factors = np.float32([[[[1, 3]], [[2, 4]]]]), np.float32([[10, -1]])
        y = getattr(kernels.scale_channels, form)(x, factors)
        np.testing.assert_array_equal(y, [[[[10, 30]], [[-2, -4]]]])
        g = np.float32([[[[1, 2]], [[3, 4]]]])
        gx, gfactors = getattr(kernels.scale_channels_backward, form)(g, x, factors)
        np.testing.assert_array_equal(gx, [[[[10, 20]], [[-3, -4]]]])
        np.testing.assert_array_equal(gfactors, [[7, 22]])

    def test_squeeze_excitation(self, form):
        x = np.float32([[[[1, 3]], [[2, 4]]]])  # means 2 and 3
        first = (np.float32([[1, 1], [1, -1]]), np.float32([0, 0.5]), "relu")  # 5, 0
        second = (np.float32([[1, 7], [0.5, 7]]), None, None)
        y = getattr(kernels.squeeze_excitation, form)(x, first, second)
        np.testing.assert_array_equal(y, x * np.float32([5, 2.5]).reshape(1, 2, 1, 1))

    def test_mean_of_many_float32_is_exact_enough(self, form):
        x = kernels.channels_last(np.full((1, 8, 400, 400), 0.1, np.float32))
        y = getattr(kernels.channel_means, form)(x)
        np.testing.assert_allclose(y, 0.1, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(shape=images, double=st.booleans())
def test_compiled_means_match_reference(shape, double):
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-6)
    x = draw(*shape).astype(dtype)
    y = kernels.channel_means.compiled(x)
    assert (y.shape, y.dtype) == (shape[:2], dtype)
    np.testing.assert_allclose(y, kernels.channel_means.reference(x), atol=tolerance)


@settings(max_examples=80, deadline=None)
@given(shape=images, double=st.booleans(), accumulates=st.booleans())
def test_compiled_gradients_match_reference(shape, double, accumulates):
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-5)
    x, g = draw(*shape).astype(dtype), draw(*shape).astype(dtype)
    factors = draw(*shape[:2]).astype(dtype)
    onto = draw(*shape).astype(dtype) if accumulates else None
    before = None if onto is None else onto.copy()
    scale = max(1, shape[2] * shape[3]) ** 0.5
    for kernel, arguments in (
        (kernels.scale_channels, (x, factors)),
        (kernels.scale_channels_backward, (g, x, factors)),
        (kernels.channel_means_backward, (factors, shape, onto)),
    ):
        results, expected = kernel.compiled(*arguments), kernel.reference(*arguments)
        if not isinstance(results, tuple):
            results, expected = (results,), (expected,)
        for result, exact in zip(results, expected, strict=True):
            assert (result.shape, result.dtype) == (exact.shape, dtype)
            np.testing.assert_allclose(result, exact, rtol=tolerance, atol=tolerance * scale)
        assert kernels.is_channels_last(results[0])
    if onto is not None:
        np.testing.assert_array_equal(onto, before)


@settings(max_examples=80, deadline=None)
@given(
    shape=images,
    hidden=st.integers(1, 70),
    with_bias=st.booleans(),
    activations=st.tuples(names, names),
    double=st.booleans(),
)
def test_compiled_matches_reference(shape, hidden, with_bias, activations, double):
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 2e-5)
    x = draw(*shape).astype(dtype)
    given_ = [
        (weight.astype(dtype), None if bias is None else bias.astype(dtype), name)
        for weight, bias, name in layers(shape[1], hidden, with_bias, activations)
    ]
    y = kernels.squeeze_excitation.compiled(x, *given_)
    expected = kernels.squeeze_excitation.reference(x, *given_)
    assert (y.shape, y.dtype) == (shape, dtype)
    np.testing.assert_allclose(y, expected, atol=tolerance * np.abs(expected).max(initial=1))


@pytest.mark.parametrize("shape", [(1, 96, 56, 56), (5, 672, 14, 14)])
def test_layers_of_real_networks(shape):
    x, parameters = draw(*shape), layers(shape[1], 40)
    y = kernels.squeeze_excitation.compiled(x, *parameters)
    assert kernels.is_channels_last(y)
    expected = kernels.squeeze_excitation.reference(x, *parameters)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


def test_foreign_layouts(foreign):
    x, parameters = draw(2, 24, 5, 6), layers(24, 7)
    others = [(foreign(weight), foreign(bias), name) for weight, bias, name in parameters]
    y = kernels.squeeze_excitation.compiled(foreign(x), *others)
    assert y.dtype == np.float32
    expected = kernels.squeeze_excitation.reference(x, *parameters)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    means = kernels.channel_means.compiled(foreign(x))
    np.testing.assert_allclose(means, kernels.channel_means.reference(x), atol=1e-6)
    gx = kernels.channel_means_backward.compiled(foreign(means), x.shape, foreign(x))
    expected = kernels.channel_means_backward.reference(means, x.shape, x)
    np.testing.assert_allclose(gx, expected, atol=1e-6)
    gradients = kernels.scale_channels_backward.compiled(foreign(x), foreign(x), foreign(means))
    expected = kernels.scale_channels_backward.reference(x, x, means)
    for result, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(result, exact, atol=1e-5)


def test_parameters_of_another_dtype():
    x, parameters = draw(1, 5, 3, 3), layers(5, 2)
    wide = [(weight.astype(np.float64), bias, name) for weight, bias, name in parameters]
    y = kernels.squeeze_excitation.compiled(x, *wide)
    expected = kernels.squeeze_excitation.reference(x, *wide)
    assert y.dtype == expected.dtype == np.float64
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("channels", [5, 130])
def test_nan_of_the_means_stays_in_its_channel(channels):
    x = draw(2, channels, 9, 9)
    finite = kernels.channel_means.compiled(x)
    x[1, 3, 8, 8], x[0, 4, 0, 0] = np.nan, np.inf
    means = kernels.channel_means.compiled(x)
    assert np.isnan(means[1, 3])
    assert means[0, 4] == np.inf
    means[1, 3], means[0, 4] = finite[1, 3], finite[0, 4]
    np.testing.assert_array_equal(means, finite)


def test_nan_stays_in_its_image():
    """All factors of an image depend on all of its channels."""
    x, parameters = draw(2, 20, 4, 4), layers(20, 6, activations=("silu", "sigmoid"))
    finite = kernels.squeeze_excitation.compiled(x, *parameters)
    x[1, 3, 2, 2] = np.nan
    y = kernels.squeeze_excitation.compiled(x, *parameters)
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[0], finite[0])


def test_threads_do_not_change_results(assert_thread_invariant):
    x, parameters = draw(3, 200, 56, 56), layers(200, 60, activations=("silu", "sigmoid"))
    assert_thread_invariant(
        lambda: [
            kernels.channel_means.compiled(x),
            kernels.squeeze_excitation.compiled(x, *parameters),
            *kernels.scale_channels_backward.compiled(x, x, np.ones((3, 200), np.float32)),
        ]
    )
